"""Names of cases: which of them files can be called by, and that no two inputs share one."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from pathlib import Path

from nnunetv2_cfseg.errors.printable import is_unprintable, printable

#: Of a file's name; most disks take 255, and what is being written has a longer name for a while.
LONGEST_BYTES = 240


def check_case_name(name: str, source: Path, *, ending: str = "") -> None:
    """Refuse a name that files cannot have on every disk, or that does not print as what it is.

    Args:
        name: of a case.
        source: the file or folder that it comes from.
        ending: of the files that will be named after the case.

    Raises:
        ValueError: an empty name, one that begins with a dot (such files are hidden, and passed over) or has a slash,
            one that is not UTF-8, has control characters or is too long.
    """
    wrong = None
    if any(is_unprintable(sign) for sign in name):
        wrong = "must be printable UTF-8"
    elif not name.strip(". ") or name.startswith("."):
        wrong = "must not be empty or begin with a dot"
    elif "/" in name or "\\" in name:
        wrong = "must be a name and no path"
    elif len((name + ending).encode()) > LONGEST_BYTES:
        wrong = f"must be at most {LONGEST_BYTES} bytes long with {ending or 'its ending'}"
    if wrong is not None:
        raise ValueError(f"a case's name {wrong}, got '{printable(name)}': {printable(source)}")


def check_utf8(path: Path) -> None:
    """Refuse a path that libraries of images cannot open.

    Raises:
        ValueError: a byte of it is not UTF-8.
    """
    try:
        str(path).encode()
    except UnicodeEncodeError:
        raise ValueError(f"names of files and folders must be UTF-8, and this one is not: {printable(path)}") from None


def one_name_each(named: Iterable[tuple[str, Path]]) -> dict[str, Path]:
    """Files by the name of their case.

    Raises:
        ValueError: two files have one name; the message has both.
    """
    files: dict[str, Path] = {}
    for name, file in named:
        if name in files:
            raise ValueError(
                f"each case must have a name of its own, and {printable(name)} is {printable(files[name])} and "
                f"{printable(file)}"
            )
        files[name] = file
    return files


def check_distinct(named: Iterable[tuple[str, Path]]) -> None:
    """Refuse names that some disks take for one: they differ in case, in how accents are coded, in dots at the end.

    Raises:
        ValueError: two names are alike; the message has both files.
    """
    seen: dict[str, tuple[str, Path]] = {}
    for name, file in named:
        key = unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold()).rstrip(". ")
        if key in seen:
            other, other_file = seen[key]
            raise ValueError(
                f"names of cases must differ on every disk, also where upper case is lower case, and "
                f"'{printable(other)}' and '{printable(name)}' do not: {printable(other_file)} and {printable(file)}"
            )
        seen[key] = name, file
