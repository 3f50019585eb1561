"""Files that are written whole or not at all."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from nnunetv2_cfseg.files.json_text import to_json
from nnunetv2_cfseg.processes.lifetime import process_exists

#: Name of a folder, or its first part, for files that are not whole yet.
UNFINISHED = ".unfinished"
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


def remove_leftovers(folder: Path, *, in_subfolders: bool = False) -> None:
    """Remove what killed runs left in a folder that no other run writes to.

    That is folders of unfinished files, and what :func:`atomic_write` did not come to rename. Names of processes that
    still run stay, but for this process's own: it must not be writing there.

    Args:
        in_subfolders: look for files in the folders within it as well, but for links.
    """
    for place in folder.glob(f"{UNFINISHED}*"):
        shutil.rmtree(place, ignore_errors=True)
    below = [path for path in folder.glob("*") if path.is_dir() and not path.is_symlink()] if in_subfolders else []
    for file in (file for place in (folder, *below) for file in place.glob(".*.tmp")):
        match = re.fullmatch(r"\..+\.(\d+)\.tmp", file.name)
        if match and (int(match[1]) == os.getpid() or not process_exists(int(match[1]))):
            file.unlink(missing_ok=True)


def write_bytes(file: Path, content: bytes) -> None:
    """A file that appears whole or not at all."""
    with atomic_write(str(file)) as temporary:
        Path(temporary).write_bytes(content)


def write_text(file: Path, text: str) -> None:
    """A file in UTF-8 that appears whole or not at all."""
    write_bytes(file, text.encode("utf-8"))


def write_json(file: Path, content: Any) -> None:
    """A JSON file, in which NaN is null, that appears whole or not at all."""
    write_text(file, to_json(content) + "\n")
