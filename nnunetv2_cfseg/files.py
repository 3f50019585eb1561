"""Files that are written whole or not at all, and JSON, read with a word on what is wrong."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

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
