"""Names that become part of a path: a stranger's must not lead out of a folder."""

from __future__ import annotations

import re
from typing import Any

#: Of a file's name, in most file systems.
LONGEST_NAME = 255
FORBIDDEN = re.compile(r"[/\\\x00-\x1f\x7f]")
#: What names consist of that this package gives: on every disk and in every shell the same.
NEW_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")
ENDING = re.compile(r"(\.[0-9A-Za-z]+){1,3}")
FOLD = re.compile(r"all|[0-9]{1,4}")


def plain_name(name: Any, what: str) -> str:
    """A name that stays in its folder: no separator, no control character, not ``.`` or ``..``, and not hidden.

    Args:
        what: it is the name of, as the message has it: ``-p`` or ``plans_name``.

    Raises:
        ValueError: another.
    """
    if not isinstance(name, str) or not name or name.startswith(".") or FORBIDDEN.search(name):
        raise ValueError(f"{what} must be a plain name, without a path and not hidden, got {name!r}")
    if len(name.encode("utf-8", "surrogateescape")) > LONGEST_NAME:
        raise ValueError(f"{what} must be a name of at most {LONGEST_NAME} bytes, got {name[:40]!r} and more")
    return name


def new_name(name: str, what: str) -> str:
    """A name for something new, which is stricter than what may be there already.

    Raises:
        ValueError: other characters than letters, digits, _, - and dots, a dot or a dash first, or over 100 of them.
    """
    if not NEW_NAME.fullmatch(name):
        raise ValueError(f"{what} must be a plain name of letters, digits, _, - and dots, got {name!r}")
    return name


def file_ending(ending: Any, what: str = "file_ending") -> str:
    """The ending of image files, such as ``.nii.gz``.

    Raises:
        ValueError: something else.
    """
    if not isinstance(ending, str) or len(ending) > 20 or not ENDING.fullmatch(ending):
        raise ValueError(f"{what} must be an ending such as .nii.gz, got {ending!r}")
    return ending


def fold_name(fold: Any, what: str = "-f") -> str:
    """A fold, as nnU-Net names it: a number or ``all``.

    Raises:
        ValueError: something else.
    """
    text = str(fold) if isinstance(fold, (str, int)) and not isinstance(fold, bool) else ""
    if not FOLD.fullmatch(text):
        raise ValueError(f"{what} must be a fold's number or all, got {fold!r}")
    return text
