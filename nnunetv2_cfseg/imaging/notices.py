"""What a user should know of a file that is read all the same."""

from __future__ import annotations

import sys

_SAID: set[str] = set()


def say(text: str) -> None:
    """Print a warning on stderr, once in a process."""
    if text not in _SAID:
        _SAID.add(text)
        print(f"warning: {text}", file=sys.stderr)


def forget() -> None:
    """Say everything again; for tests."""
    _SAID.clear()
