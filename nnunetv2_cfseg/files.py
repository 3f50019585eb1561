"""Files that are written whole or not at all, and JSON, read with a word on what is wrong."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from nnunetv2_cfseg.processes import process_exists


@contextmanager
def whole_or_not_at_all(file: str) -> Iterator[str]:
    """A hidden name to write to, renamed to ``file`` at the end and removed after an error."""
    place = Path(file)
    temporary = str(place.with_name(f".{place.name}.{os.getpid()}.tmp"))
    try:
        yield temporary
        os.replace(temporary, file)
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


def read_json(file: Path) -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        ValueError: there is no such file, or something else in it.
    """
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ValueError(f"{file.name} must be a file, and there is none: {file}") from error
    except ValueError as error:
        raise ValueError(f"{file.name} must be JSON ({error}): {file}") from error
    if not isinstance(content, dict):
        raise ValueError(f"{file.name} must hold a JSON object, got a {type(content).__name__}: {file}")
    return content
