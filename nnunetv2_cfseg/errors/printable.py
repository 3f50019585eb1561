"""Makes text from file names and headers safe to print and to write."""

from __future__ import annotations

import unicodedata
from pathlib import Path

#: Unicode categories of control characters, lone surrogates and line separators.
UNPRINTABLE = ("Cc", "Cs", "Zl", "Zp")
#: Characters that change the direction of the text after them, so that one name can look like another.
TURNING = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def printable(text: Path | str, *, keep_lines: bool = False) -> str:
    """Escape control characters and bytes that are not UTF-8.

    Args:
        text: text or a path.
        keep_lines: leave line breaks as they are.
    """
    return "".join(
        char if not is_unprintable(char) or (keep_lines and char == "\n") else _escaped(char) for char in str(text)
    )


def is_unprintable(char: str) -> bool:
    """Whether a character controls the terminal or cannot be shown."""
    return unicodedata.category(char) in UNPRINTABLE or char in TURNING


def _escaped(char: str) -> str:
    return char.encode("unicode_escape").decode("ascii")
