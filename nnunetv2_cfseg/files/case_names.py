"""Names of cases: they must be usable as file names, and no two inputs may share one."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from pathlib import Path

from nnunetv2_cfseg.errors.printable import is_unprintable, printable

#: Longest file name. Most disks take 255 bytes, and a file has a longer name while it is being written.
LONGEST_BYTES = 240


def check_case_name(name: str, source: Path, *, ending: str = "") -> None:
    """Refuse a case name that is no valid file name on every disk, or that a terminal cannot show.

    Args:
        name: of a case.
        source: the file or folder that it comes from.
        ending: of the files that will be named after the case.

    Raises:
        ValueError: the name is empty, begins with a dot (such files are hidden and skipped), has a slash or control
            characters, is not UTF-8 or is too long.
    """
    rule = None
    if any(is_unprintable(char) for char in name):
        rule = "must be printable UTF-8"
    elif not name.strip(". ") or name.startswith("."):
        rule = "must not be empty or begin with a dot"
    elif "/" in name or "\\" in name:
        rule = "must be a name and no path"
    elif len((name + ending).encode()) > LONGEST_BYTES:
        rule = f"must be at most {LONGEST_BYTES} bytes long with {ending or 'its ending'}"
    if rule is not None:
        raise ValueError(f"a case's name {rule}, got '{printable(name)}': {printable(source)}")


def check_utf8(path: Path) -> None:
    """Refuse a path that image libraries cannot open.

    Raises:
        ValueError: the path is not UTF-8.
    """
    try:
        str(path).encode()
    except UnicodeEncodeError:
        raise ValueError(f"names of files and folders must be UTF-8, and this one is not: {printable(path)}") from None


def one_name_each(named: Iterable[tuple[str, Path]]) -> dict[str, Path]:
    """Map the name of each case to its file.

    Raises:
        ValueError: two files have the same case name; the message has both.
    """
    files: dict[str, Path] = {}
    for name, file in named:
        if name in files:
            raise ValueError(
                f"two files are named {printable(name)}, {printable(files[name])} and {printable(file)}; each case "
                f"must have a name of its own"
            )
        files[name] = file
    return files


def check_distinct(named: Iterable[tuple[str, Path]]) -> None:
    """Refuse names that are the same on some disks: they differ only in case, in the coding of accents or in end dots.

    Raises:
        ValueError: two names are alike; the message has both files.
    """
    seen: dict[str, tuple[str, Path]] = {}
    for name, file in named:
        key = unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold()).rstrip(". ")
        if key in seen:
            other, other_file = seen[key]
            raise ValueError(
                f"names of cases must differ on every disk, even one that ignores upper case, and '{printable(other)}' "
                f"and '{printable(name)}' do not: {printable(other_file)} and {printable(file)}"
            )
        seen[key] = name, file
