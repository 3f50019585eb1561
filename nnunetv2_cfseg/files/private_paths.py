"""Paths in pages and records, which go to other people: they do not tell how a machine is set up, nor who uses it."""

from __future__ import annotations

import getpass
import os
from contextlib import suppress
from pathlib import Path


def seen_from(file: Path, folder: Path) -> str | None:
    """The path of a file or folder as it leads from a folder, so that pages do not tell how a machine is set up.

    None if that would tell it all the same: if both have nothing but the root in common, or if the path leads through
    a folder that is called as the user is.
    """
    path, depth = _relative(file, folder)
    down = [part for part in path.parts if part != os.pardir]
    climbs = len(path.parts) - len(down)
    if down and climbs >= depth:
        return None
    return None if climbs and _user_names() & set(down) else path.as_posix()


def told(file: Path, folder: Path) -> str:
    """What a record in the folder says of a file: its path from there, or its name alone where that tells too much."""
    return seen_from(file, folder) or file.name


def _relative(file: Path, folder: Path) -> tuple[Path, int]:
    """Through links as they were typed, where that leads to the file, else without links; and the folder's depth."""
    typed_folder = Path(os.path.abspath(folder))
    typed = Path(os.path.relpath(os.path.abspath(file), typed_folder))
    if (folder.resolve() / typed).resolve() == file.resolve():
        return typed, len(typed_folder.parts) - 1
    return Path(os.path.relpath(file.resolve(), folder.resolve())), len(folder.resolve().parts) - 1


def _user_names() -> set[str]:
    names = set()
    for find in (getpass.getuser, lambda: Path.home().name):
        with suppress(KeyError, OSError, RuntimeError, ImportError):  # a container's user may have no name
            names.add(find())
    return names
