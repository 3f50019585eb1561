"""Processes that never outlive the one that started them."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection
from types import TracebackType
from uuid import uuid4

from nnunetv2_cfseg.processes import process_guard
from nnunetv2_cfseg.processes.process_guard import FAMILY_VARIABLE, end_family

#: Seconds that processes have to exit after SIGTERM.
GRACE_S = 5.0


class Family:
    """Processes that are ended when this one dies, even if it is killed with SIGKILL.

    Members are the processes that are started with ``environment`` in their environment, and all their descendants.
    Inside the ``with`` block, a small process in its own session watches this one
    (:mod:`nnunetv2_cfseg.processes.process_guard`).
    """

    def __init__(self) -> None:
        self.name = uuid4().hex
        others = os.environ.get(FAMILY_VARIABLE, "").split()
        self.environment = {FAMILY_VARIABLE: " ".join([*others, self.name])}
        self._guard: subprocess.Popen | None = None

    def __enter__(self) -> Family:
        """Start the guard."""
        self._guard = subprocess.Popen(
            [sys.executable, "-I", "-S", process_guard.__file__, str(os.getpid()), self.name],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={name: value for name, value in os.environ.items() if name != FAMILY_VARIABLE},  # it is no member
            start_new_session=True,
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop the guard; members that are still running are left alone."""
        if self._guard is not None:
            self._guard.kill()
            self._guard.wait()

    def end(self) -> None:
        """End all members now, except multiprocessing's resource tracker of this process."""
        tracker = getattr(resource_tracker, "_resource_tracker", None)
        end_family(self.name, grace_s=GRACE_S, spare={getattr(tracker, "_pid", None) or 0})


@contextmanager
def children_end_with_this_process() -> Iterator[None]:
    """End all processes started in this context together with this one, and at once if the context ends in an error.

    This is for libraries that start processes themselves. It covers spawned processes, but not forked ones.
    """
    with Family() as family:
        before = os.environ.get(FAMILY_VARIABLE)
        os.environ.update(family.environment)
        try:
            yield
        except BaseException:
            family.end()
            raise
        finally:
            if before is None:
                os.environ.pop(FAMILY_VARIABLE, None)
            else:
                os.environ[FAMILY_VARIABLE] = before


def end_with(other_end: Connection) -> None:
    """End this process when the other end of the pipe is closed, which happens when the process that holds it dies."""
    threading.Thread(target=_wait_and_exit, args=(other_end,), daemon=True).start()


def _wait_and_exit(other_end: Connection) -> None:
    other_end.poll(None)
    os._exit(1)


def end_group(process: subprocess.Popen) -> None:
    """End a process and all processes that it started; it must lead its own process group."""
    for number, patience_s in ((signal.SIGTERM, GRACE_S), (signal.SIGKILL, 1.0)):
        with suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        deadline = time.monotonic() + patience_s
        while time.monotonic() < deadline:
            process.poll()  # a dead child stays in its group until it is waited for
            if not _group_exists(process.pid):
                return
            time.sleep(0.05)


def _group_exists(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def end_with_parent(parent: int) -> None:
    """End this process as soon as its parent has ended, even if the parent was killed with ``kill -9``.

    Call it first in the child process. On Linux the kernel does this if ``parent`` is the parent; otherwise a thread
    checks every second.

    Args:
        parent: id of the process that started this one.
    """
    if os.getppid() == parent and _killed_by_the_kernel_with_parent() and os.getppid() == parent:
        return
    threading.Thread(target=_end_after, args=(parent,), daemon=True).start()


def _killed_by_the_kernel_with_parent() -> bool:
    """Ask Linux to kill this process when its parent ends, and return whether it will."""
    set_parent_death_signal = 1  # PR_SET_PDEATHSIG of <linux/prctl.h>
    prctl = getattr(ctypes.CDLL(None), "prctl", None) if sys.platform == "linux" else None
    return prctl is not None and prctl(set_parent_death_signal, signal.SIGKILL) == 0


def _end_after(parent: int) -> None:
    while os.getppid() == parent:  # a zombie still exists, but is no longer the parent
        time.sleep(1.0)
    os._exit(1)


def process_exists(pid: int) -> bool:
    """Whether a process with this id exists on this machine."""
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:  # it belongs to another user
        return True
    return True
