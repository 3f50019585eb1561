"""Paths in pages and records that go to other people: they do not reveal a machine's folders or its user."""

from __future__ import annotations

import getpass
import os
from contextlib import suppress
from pathlib import Path


def seen_from(file: Path, folder: Path) -> str | None:
    """The path of a file or folder relative to a folder, so that pages do not reveal how a machine is set up.

    None if the relative path would reveal it too: if the two share nothing but the root, or if the path leads up and
    through a folder with the user's name.
    """
    path, depth = _relative(file, folder)
    down = [part for part in path.parts if part != os.pardir]
    climbs = len(path.parts) - len(down)
    if down and climbs >= depth:
        return None
    return None if climbs and _user_names() & set(down) else path.as_posix()


def told(file: Path, folder: Path) -> str:
    """The file's path relative to the folder, for a record there; its bare name if the path reveals too much."""
    return seen_from(file, folder) or file.name


def _relative(file: Path, folder: Path) -> tuple[Path, int]:
    """The relative path, and the folder's depth; links are kept as typed if that leads to the file, else resolved."""
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
