"""Files that are written whole or not at all."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from nnunetv2_cfseg.processes.lifetime import process_exists

#: Bytes of a name that fit into that of its temporary file.
LONGEST = 200


@contextmanager
def atomic_write(file: str) -> Iterator[str]:
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
    """Remove what :func:`atomic_write` left in a folder when a process was killed while it wrote.

    Names of processes that still run stay, but for this process's own: it must not be writing there.
    """
    for file in folder.glob(".*.tmp"):
        match = re.fullmatch(r"\..+\.(\d+)\.tmp", file.name)
        if match and (int(match[1]) == os.getpid() or not process_exists(int(match[1]))):
            file.unlink(missing_ok=True)


def write_json(file: Path, content: Any) -> None:
    """A file that appears whole or not at all."""
    with atomic_write(str(file)) as temporary:
        Path(temporary).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
