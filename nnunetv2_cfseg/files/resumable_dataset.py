"""A dataset's folder while it is written: one run at a time, nothing half-written, and a record of what was begun.

A dataset is begun once a case of it is there. A record alone, of a run that was refused or killed before its first
case, binds nobody.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from nnunetv2_cfseg.files.folder_lock import lock_folder

#: In the dataset's folder: what is being written.
UNFINISHED = ".unfinished"


@contextmanager
def writing(folder: Path, record: str) -> Iterator[None]:
    """Work in a dataset's folder, alone.

    What a killed run left half-written is removed before, what this one leaves after. Where no case was finished, the
    record goes as well, and so does the folder where it was not there before.

    Args:
        folder: made if it is not there.
        record: name of the file that says what the dataset was begun with.

    Raises:
        ValueError: another run works in the folder.
        OSError: it cannot be written to.
    """
    with lock_folder(folder):
        _clean(folder)
        try:
            yield
        finally:
            _clean(folder)
            if not is_begun(folder, record):
                _remove(folder, record)


def is_begun(folder: Path, record: str) -> bool:
    """Whether a folder holds more than the record; hidden files are none of the dataset's."""
    return any(file.is_file() for name in others(folder, record) for file in _with_parts(folder / name))


def others(folder: Path, record: str) -> list[str]:
    """Names in the folder, but for the record and hidden ones, sorted."""
    return sorted(path.name for path in folder.glob("[!.]*") if path.name != record)


def _with_parts(path: Path) -> Iterator[Path]:
    yield path
    yield from path.rglob("*")


def _clean(folder: Path) -> None:
    shutil.rmtree(folder / UNFINISHED, ignore_errors=True)
    for place in (folder, *(path for path in folder.glob("[!.]*") if path.is_dir() and not path.is_symlink())):
        for file in place.glob(".*.tmp"):  # of atomic_write, which a kill interrupted
            file.unlink(missing_ok=True)


def _remove(folder: Path, record: str) -> None:
    with suppress(OSError):
        for name in others(folder, record):
            (folder / name).rmdir()  # empty: there is no file
        (folder / record).unlink(missing_ok=True)
