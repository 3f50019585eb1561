"""Files that are written whole or not at all, and files that are looked at before they are opened."""

from __future__ import annotations

import hashlib
import json
import os
import re
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from nnunetv2_cfseg.processes import process_exists

#: Kinds of files that opening or reading would wait for, or that have no end.
KINDS = {
    stat.S_IFDIR: "folder",
    stat.S_IFIFO: "pipe",
    stat.S_IFSOCK: "socket",
    stat.S_IFCHR: "device",
    stat.S_IFBLK: "device",
}
#: Of a JSON file. ``dataset.json`` may list all files of a dataset.
JSON_LIMIT_BYTES = 64 * 2**20
#: Of a table of patients or scans.
TABLE_LIMIT_BYTES = 64 * 2**20
#: Bytes of a name that fit into that of its temporary file.
LONGEST = 200


@contextmanager
def whole_or_not_at_all(file: str) -> Iterator[str]:
    """A hidden name to write to, renamed to ``file`` at the end and removed after an error.

    Raises:
        OSError: the disk is full or cannot be written to; it names the file.
    """
    place = Path(file)
    name = os.fsencode(place.name)
    short = place.name if len(name) <= LONGEST else hashlib.sha256(name).hexdigest()
    temporary = str(place.with_name(f".{short}.{os.getpid()}.tmp"))
    try:
        yield temporary
        os.replace(temporary, file)
    except OSError as error:
        if error.errno is not None and error.filename is None:  # of a write, as on a full disk
            error.filename = file
        raise
    finally:
        Path(temporary).unlink(missing_ok=True)


def remove_leftovers(folder: Path) -> None:
    """Remove what :func:`whole_or_not_at_all` left in a folder when a process was killed while it wrote.

    Names of processes that still run stay, but for this process's own: it must not be writing there.
    """
    for file in folder.glob(".*.tmp"):
        match = re.fullmatch(r"\..+\.(\d+)\.tmp", file.name)
        if match and (int(match[1]) == os.getpid() or not process_exists(int(match[1]))):
            file.unlink(missing_ok=True)


def write_json(file: Path, content: Any) -> None:
    """A file that appears whole or not at all."""
    with whole_or_not_at_all(str(file)) as temporary:
        Path(temporary).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def require_regular_file(file: str | Path, *, limit_bytes: int | None = None) -> None:
    """Refuse what is not a file: opening a pipe waits for ever, and a device has no end. Links are followed.

    Args:
        limit_bytes: the most that the file may have; None for any size.

    Raises:
        ValueError: there is none, it is something else or too large, or links go round in a circle.
    """
    try:
        status = os.stat(file)
    except FileNotFoundError:
        raise ValueError(f"{Path(file).name} must be a file, and there is none: {file}") from None
    except OSError as error:  # a circle of links, a part of the path that is a file, a name that is too long
        raise ValueError(f"the file cannot be read ({error.strerror}): {file}") from error
    except ValueError as error:
        raise ValueError(f"the file's name cannot be one ({error}): {file!r}") from error
    kind = stat.S_IFMT(status.st_mode)
    if kind != stat.S_IFREG:
        raise ValueError(f"a {KINDS.get(kind, 'special file')} is where a file must be: {file}")
    if limit_bytes is not None and status.st_size > limit_bytes:
        raise ValueError(f"the file is too large, {status.st_size} bytes of at most {limit_bytes}: {file}")


def require_new_folder(folder: Path) -> None:
    """Refuse to write over what is there.

    Raises:
        ValueError: something has the folder's name.
    """
    if os.path.lexists(folder):
        raise ValueError(f"-o must name a new folder, and this one is there: {folder}")


def read_text(file: Path, *, limit_bytes: int) -> str:
    """The text of a small file, in UTF-8, with or without a byte order mark.

    Raises:
        ValueError: no regular file, a larger one, or one that is not in UTF-8.
        OSError: it cannot be read.
    """
    require_regular_file(file, limit_bytes=limit_bytes)
    try:
        return file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{file.name} must be in UTF-8, and byte {error.start} is not: {file}") from error


def read_json(file: Path, *, limit_bytes: int = JSON_LIMIT_BYTES) -> dict[str, Any]:
    """Read a JSON object. What it holds is looked at by :func:`nnunetv2_cfseg.schema.read_document`.

    Raises:
        ValueError: there is no such file, or something else in it.
    """
    content = read_any_json(file, limit_bytes=limit_bytes)
    if not isinstance(content, dict):
        raise ValueError(f"{file.name} must hold a JSON object, got a {type(content).__name__}: {file}")
    return content


def read_any_json(file: Path, *, limit_bytes: int = JSON_LIMIT_BYTES) -> Any:
    """Read JSON of any kind.

    Raises:
        ValueError: no regular file, a larger one, no JSON, a key that an object has twice, or too deep a nesting.
    """
    text = read_text(file, limit_bytes=limit_bytes)
    try:
        return json.loads(text, object_pairs_hook=_without_repeats)
    except RecursionError:
        raise ValueError(f"{file.name} is nested too deeply: {file}") from None
    except ValueError as error:
        raise ValueError(f"{file.name} must be JSON ({error}): {file}") from error


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) < len(pairs):
        raise ValueError(f"an object has the key {first_repeated(name for name, _ in pairs)!r} twice")
    return content


def first_repeated(names: Iterable[str]) -> str | None:
    """The first name that was there before; None if all differ."""
    seen: set[str] = set()
    for name in names:
        if name in seen:
            return name
        seen.add(name)
    return None
