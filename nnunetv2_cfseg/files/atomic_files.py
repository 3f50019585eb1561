"""Writes files whole or not at all."""

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

#: Name, or start of the name, of a folder for unfinished files.
UNFINISHED = ".unfinished"
#: Longest name, in bytes, that fits into the name of its temporary file.
LONGEST = 200


@contextmanager
def atomic_write(file: str) -> Iterator[str]:
    """Yield a hidden file name to write to; it is renamed to ``file`` at the end and removed after an error.

    Raises:
        OSError: the disk is full or cannot be written to; the error names the file.
    """
    target = Path(file)
    name = os.fsencode(target.name)
    short = target.name if len(name) <= LONGEST else hashlib.sha256(name).hexdigest()
    temporary = str(target.with_name(f".{short}.{os.getpid()}.tmp"))
    try:
        yield temporary
        os.replace(temporary, file)
    except OSError as error:
        if error.errno is not None and error.filename is None:  # raised by a write, as on a full disk
            error.filename = file
        raise
    finally:
        Path(temporary).unlink(missing_ok=True)


def remove_leftovers(folder: Path, *, in_subfolders: bool = False) -> None:
    """Remove what killed runs left in a folder that no other run writes to.

    These are folders of unfinished files and temporary files of :func:`atomic_write`. Temporary files of other
    processes that are still running stay. This process must not be writing there.

    Args:
        in_subfolders: also look for temporary files in the folder's subfolders, except links.
    """
    for unfinished in folder.glob(f"{UNFINISHED}*"):
        shutil.rmtree(unfinished, ignore_errors=True)
    below = [path for path in folder.glob("*") if path.is_dir() and not path.is_symlink()] if in_subfolders else []
    for file in (file for parent in (folder, *below) for file in parent.glob(".*.tmp")):
        match = re.fullmatch(r"\..+\.(\d+)\.tmp", file.name)
        if match and (int(match[1]) == os.getpid() or not process_exists(int(match[1]))):
            file.unlink(missing_ok=True)


def write_bytes(file: Path, content: bytes) -> None:
    """Write a file that appears whole or not at all."""
    with atomic_write(str(file)) as temporary:
        Path(temporary).write_bytes(content)


def write_text(file: Path, text: str) -> None:
    """Write a UTF-8 file that appears whole or not at all."""
    write_bytes(file, text.encode("utf-8"))


def write_json(file: Path, content: Any) -> None:
    """Write a JSON file that appears whole or not at all; NaN becomes null."""
    write_text(file, to_json(content) + "\n")
