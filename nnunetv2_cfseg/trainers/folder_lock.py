"""One training at a time in an output folder."""

from __future__ import annotations

import fcntl
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

LOCK = ".lock"


@contextmanager
def only_process_in(folder: Path) -> Iterator[None]:
    """Keep other processes that ask for the same out of a folder.

    The lock is the kernel's and ends with this process, however that ends; a file that is left by then locks nothing.
    It is one of the process, not of the file's descriptor: workers that are forked do not hold it on. File systems
    that know no locks are passed over.

    Raises:
        ValueError: another process is in the folder.
    """
    folder.mkdir(parents=True, exist_ok=True)
    descriptor = _open_locked(folder / LOCK)
    try:
        yield
    finally:
        if descriptor is not None:
            (folder / LOCK).unlink(missing_ok=True)
            os.close(descriptor)


def _open_locked(file: Path) -> int | None:
    """Descriptor of the locked file; None where there are no locks."""
    while True:
        descriptor = os.open(file, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError) as error:  # which of the two differs between systems
            owner = os.read(descriptor, 200).decode(errors="replace")
            os.close(descriptor)
            raise ValueError(
                f"another training writes to this folder ({owner or 'starting'}): {file.parent}"
            ) from error
        except OSError:
            os.close(descriptor)
            file.unlink(missing_ok=True)
            return None
        with suppress(FileNotFoundError):
            # One that ended meanwhile has removed the file that was just locked.
            if os.path.samestat(os.fstat(descriptor), file.stat()):
                os.truncate(descriptor, 0)
                os.pwrite(descriptor, f"process {os.getpid()} on {socket.gethostname()}".encode(), 0)
                return descriptor
        os.close(descriptor)
