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

#: Seconds that stopped processes have to end by themselves.
GRACE_S = 5.0


class Family:
    """Processes that are ended when this one dies, even if it is killed with SIGKILL.

    A member is what has ``environment`` in its environment, and all that it starts. While the family is entered, a
    small process in a session of its own watches this one (:mod:`nnunetv2_cfseg.processes.process_guard`).
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
        """Send the guard away; members that still run are left alone."""
        if self._guard is not None:
            self._guard.kill()
            self._guard.wait()

    def end(self) -> None:
        """End all members now, but for the one that keeps account of multiprocessing's resources for this process."""
        tracker = getattr(resource_tracker, "_resource_tracker", None)
        end_family(self.name, grace_s=GRACE_S, spare={getattr(tracker, "_pid", None) or 0})


@contextmanager
def children_end_with_this_process() -> Iterator[None]:
    """All processes that are started meanwhile end with this one, and at once where an error leaves the context.

    For libraries that start processes by themselves. Forked processes are no members, spawned ones are.
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
    """End this process when the other end is closed, as it is by the death of the process that holds it."""
    threading.Thread(target=_wait_and_exit, args=(other_end,), daemon=True).start()


def _wait_and_exit(other_end: Connection) -> None:
    other_end.poll(None)
    os._exit(1)


def end_group(process: subprocess.Popen) -> None:
    """End a process and all that it started; it must lead a group of its own."""
    for number, patience_s in ((signal.SIGTERM, GRACE_S), (signal.SIGKILL, 1.0)):
        with suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        deadline = time.monotonic() + patience_s
        while time.monotonic() < deadline:
            process.poll()  # a dead child stays in its group until it is asked for
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
    """Let this process end as soon as another one has ended, whatever ended that: ``kill -9`` runs no clean-up.

    Call it first thing in the process that is to end. On Linux the kernel sees to it, where ``parent`` is the parent;
    elsewhere a thread looks every second.

    Args:
        parent: process id of the one that started this one, its parent.
    """
    if os.getppid() == parent and _killed_by_the_kernel_with_parent() and os.getppid() == parent:
        return
    threading.Thread(target=_end_after, args=(parent,), daemon=True).start()


def _killed_by_the_kernel_with_parent() -> bool:
    """Ask Linux to kill this process when its parent ends; whether it will."""
    set_parent_death_signal = 1  # PR_SET_PDEATHSIG of <linux/prctl.h>
    prctl = getattr(ctypes.CDLL(None), "prctl", None) if sys.platform == "linux" else None
    return prctl is not None and prctl(set_parent_death_signal, signal.SIGKILL) == 0


def _end_after(parent: int) -> None:
    while os.getppid() == parent:  # a dead one that nobody has asked for still exists, but is a parent no more
        time.sleep(1.0)
    os._exit(1)


def process_exists(pid: int) -> bool:
    """Whether a process of this machine has that id."""
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:  # somebody else's
        return True
    return True
