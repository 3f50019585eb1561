"""Text as a terminal can show it and a file can hold it, whatever was in a file's name or a header."""

from __future__ import annotations

import unicodedata
from pathlib import Path

#: Unicode categories of characters that end a line, move what is printed, or are no text.
UNPRINTABLE = ("Cc", "Cs", "Zl", "Zp")
#: They reverse the text that follows, so that a name looks like another.
TURNING = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def printable(text: Path | str, *, keep_lines: bool = False) -> str:
    """Text in which controls, and bytes that are not UTF-8, are escaped.

    Args:
        text: or a path.
        keep_lines: leave the ends of lines as they are.
    """
    return "".join(
        char if not is_unprintable(char) or (keep_lines and char == "\n") else _escaped(char) for char in str(text)
    )


def is_unprintable(char: str) -> bool:
    """Whether a terminal would obey a character or cannot show it."""
    return unicodedata.category(char) in UNPRINTABLE or char in TURNING


def _escaped(char: str) -> str:
    return char.encode("unicode_escape").decode("ascii")
