"""Warnings about files that are read all the same."""

from __future__ import annotations

import sys

_SAID: set[str] = set()


def say(text: str) -> None:
    """Print a warning on stderr; the same text only once in a process."""
    if text not in _SAID:
        _SAID.add(text)
        print(f"warning: {text}", file=sys.stderr)


def forget() -> None:
    """Print all warnings again, as in a new process; for tests."""
    _SAID.clear()
