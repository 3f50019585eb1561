"""Reads text and JSON of unknown origin, after a look at what kind of file it is."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import Any

#: Kinds of files that cannot be opened, or on which reading would block or never end.
KINDS = {
    stat.S_IFDIR: "folder",
    stat.S_IFIFO: "pipe",
    stat.S_IFSOCK: "socket",
    stat.S_IFCHR: "device",
    stat.S_IFBLK: "device",
}
#: Largest JSON file. ``dataset.json`` may list all files of a dataset.
JSON_LIMIT_BYTES = 64 * 2**20
#: Largest table of patients or scans.
TABLE_LIMIT_BYTES = 64 * 2**20


def require_regular_file(file: str | Path, *, limit_bytes: int | None = None) -> None:
    """Refuse anything but a regular file: opening a pipe blocks, and a device has no end. Links are followed.

    Args:
        limit_bytes: largest size that is allowed; None for any size.

    Raises:
        ValueError: the file does not exist, is something else or too large, or links form a circle.
    """
    try:
        status = os.stat(file)
    except FileNotFoundError:
        raise ValueError(f"{Path(file).name} must be a file, and there is none: {file}") from None
    except OSError as error:  # a circle of links, a file as a part of the path, or a name that is too long
        raise ValueError(f"the file cannot be read ({error.strerror}): {file}") from error
    except ValueError as error:
        raise ValueError(f"the file's name cannot be one ({error}): {file!r}") from error
    kind = stat.S_IFMT(status.st_mode)
    if kind != stat.S_IFREG:
        raise ValueError(f"a {KINDS.get(kind, 'special file')} is where a file must be: {file}")
    if limit_bytes is not None and status.st_size > limit_bytes:
        raise ValueError(f"the file is too large, {status.st_size} bytes of at most {limit_bytes}: {file}")


def read_text(file: Path, *, limit_bytes: int) -> str:
    """Read a small UTF-8 file, with or without a byte order mark.

    Raises:
        ValueError: it is no regular file, too large, or not in UTF-8.
        OSError: it cannot be read.
    """
    require_regular_file(file, limit_bytes=limit_bytes)
    try:
        return file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{file.name} must be in UTF-8, and byte {error.start} is not: {file}") from error


def read_json(file: Path, *, limit_bytes: int = JSON_LIMIT_BYTES) -> dict[str, Any]:
    """Read a JSON object; its entries are not checked, see :func:`nnunetv2_cfseg.files.schema.read_document`.

    Raises:
        ValueError: there is no such file, or it holds something else.
    """
    content = read_any_json(file, limit_bytes=limit_bytes)
    if not isinstance(content, dict):
        raise ValueError(f"{file.name} must hold a JSON object, got a {type(content).__name__}: {file}")
    return content


def read_any_json(file: Path, *, limit_bytes: int = JSON_LIMIT_BYTES) -> Any:
    """Read JSON of any kind.

    Raises:
        ValueError: it is no regular file, too large, no JSON or nested too deeply, or an object has a key twice.
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
    """The first name that repeats an earlier one; None if all differ."""
    seen: set[str] = set()
    for name in names:
        if name in seen:
            return name
        seen.add(name)
    return None
