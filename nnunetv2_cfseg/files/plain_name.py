"""Names that become part of a path: names from untrusted files must not lead out of a folder."""

from __future__ import annotations

import re
from typing import Any

#: Longest file name in most file systems, in bytes.
LONGEST_NAME = 255
FORBIDDEN = re.compile(r"[/\\\x00-\x1f\x7f]")
#: Names that this package gives; they work on every disk and in every shell.
NEW_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")
ENDING = re.compile(r"(\.[0-9A-Za-z]+){1,3}")
FOLD = re.compile(r"all|[0-9]{1,4}")


def plain_name(name: Any, what: str) -> str:
    """Return a name if it stays in its folder: no separator, no control character, not ``.`` or ``..``, not hidden.

    Args:
        what: what it names, for the message, such as ``-p`` or ``plans_name``.

    Raises:
        ValueError: any other name.
    """
    if not isinstance(name, str) or not name or name.startswith(".") or FORBIDDEN.search(name):
        raise ValueError(f"{what} must be a plain name, without a path and not hidden, got {name!r}")
    if len(name.encode("utf-8", "surrogateescape")) > LONGEST_NAME:
        raise ValueError(f"{what} must be a name of at most {LONGEST_NAME} bytes, got {name[:40]!r} and more")
    return name


def new_name(name: str, what: str) -> str:
    """Return a name for something new; the rules are stricter than those for existing names.

    Raises:
        ValueError: it has other characters than letters, digits, _, - and dots, does not begin with a letter or digit,
            or has over 100 characters.
    """
    if not NEW_NAME.fullmatch(name):
        raise ValueError(f"{what} must be a plain name of letters, digits, _, - and dots, got {name!r}")
    return name


def file_ending(ending: Any, what: str = "file_ending") -> str:
    """Return the ending of image files if it is one, such as ``.nii.gz``.

    Raises:
        ValueError: it is no file ending.
    """
    if not isinstance(ending, str) or len(ending) > 20 or not ENDING.fullmatch(ending):
        raise ValueError(f"{what} must be an ending such as .nii.gz, got {ending!r}")
    return ending


def fold_name(fold: Any, what: str = "-f") -> str:
    """A fold as text, as nnU-Net names it: a number or ``all``.

    Raises:
        ValueError: it is no fold.
    """
    text = str(fold) if isinstance(fold, (str, int)) and not isinstance(fold, bool) else ""
    if not FOLD.fullmatch(text):
        raise ValueError(f"{what} must be a fold's number or all, got {fold!r}")
    return text
