"""Allows one run at a time in an output folder.

The lock is the operating system's (flock) on a hidden file, so it ends with the process, whatever kills it: a file that
is left behind locks nothing, and the next run takes it over. Disks without such locks (some network file systems) are
written to without one; over NFS, locks hold between machines from Linux 2.6.12 on.

A flock lives as long as any process has the file open, and forked workers inherit open files: the workers of a killed
training would keep its folder locked until they end. So workers close the file as soon as they are forked, which leaves
the lock with its owner. POSIX locks (lockf) are not inherited, but a process that asks for the same lock twice gets it
twice, and loses both as soon as it closes the file anywhere.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from nnunetv2_cfseg.errors.printable import printable
from nnunetv2_cfseg.files.case_names import check_utf8

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

LOCK = ".lock"
#: Error message of a second run; the id of the process that holds the lock follows.
HELD = "another run is at work in the output folder"

#: Open files of the locks that this process holds.
_descriptors: set[int] = set()


def _leave_to_parent() -> None:
    """In a forked process: close the inherited lock files, without unlocking them."""
    while _descriptors:
        with suppress(OSError):
            os.close(_descriptors.pop())


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_leave_to_parent)


@contextmanager
def lock_folder(folder: Path, *, part: str | None = None, held: str = HELD) -> Iterator[None]:
    """Keep other runs out of a folder; it is created if needed, and removed again if nothing was written.

    Args:
        folder: of outputs.
        part: name of this run if several runs share the folder; two runs of the same name cannot. None: not shared.
        held: error message for when another process holds the lock.

    Raises:
        ValueError: another run is at work there, or the folder's name is not UTF-8.
        OSError: the folder cannot be made or written to.
    """
    check_utf8(folder)
    created = _make(folder)
    try:
        with ExitStack() as stack:
            stack.enter_context(lock_file(folder / LOCK, folder, shared=part is not None, held=held))
            if part is None:
                for leftover in folder.glob(f"{LOCK}_*"):  # from killed runs: no other run is here
                    leftover.unlink(missing_ok=True)
            else:
                stack.enter_context(lock_file(folder / f"{LOCK}_{part}", folder, held=held))
            yield
    finally:
        with suppress(OSError):  # not empty
            for path in created:
                path.rmdir()


@contextmanager
def lock_file(file: Path, what: Path, *, shared: bool = False, held: str = HELD) -> Iterator[None]:
    """Hold a lock.

    Args:
        file: of the lock; its last holder removes it.
        what: is locked, for the message.
        shared: allow others that share it, too.
        held: error message for when another process holds it.

    Raises:
        ValueError: another process holds it.
    """
    descriptor = None if fcntl is None else _acquire(file, what, fcntl.LOCK_SH if shared else fcntl.LOCK_EX, held)
    if descriptor is None:
        yield
        return
    _descriptors.add(descriptor)
    try:
        yield
    finally:
        if descriptor in _descriptors:  # not in a forked process
            _descriptors.discard(descriptor)
            with suppress(OSError):  # others share it, and the last one removes it
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                file.unlink()
            os.close(descriptor)


def _acquire(file: Path, what: Path, kind: int, held: str) -> int | None:
    """Lock the file and return its descriptor; None on a disk that has no locks."""
    while True:
        descriptor = os.open(file, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(descriptor, 200, 0).decode("utf-8", "replace").strip() or "whose number is not known"
            os.close(descriptor)
            raise ValueError(f"{held} (process {holder}): {printable(what)}") from None
        except OSError:
            os.close(descriptor)
            file.unlink(missing_ok=True)
            return None
        if _is_at(descriptor, file):
            with suppress(OSError):  # a full disk; the holder's id is only for messages
                os.ftruncate(descriptor, 0)
                os.pwrite(descriptor, f"{os.getpid()} on {socket.gethostname()}\n".encode(), 0)
            return descriptor
        os.close(descriptor)  # its last holder removed the file a moment ago


def _is_at(descriptor: int, file: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), file.stat())
    except FileNotFoundError:
        return False


def _make(folder: Path) -> list[Path]:
    """Create the folder and its parents, and return those that were missing, innermost first."""
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    return missing
