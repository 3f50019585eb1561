"""A small process that waits for another one to end, however it ends, and then ends the processes it left behind.

    python process_guard.py PID FAMILY

The processes of a family have its name in their environment variable ``CFSEG_FAMILY``, which all that they start
inherit, so they are found wherever they are: in other sessions and process groups, and when their parents have died.
Needs ``/proc`` (Linux); it imports the standard library alone, for it starts beside every command.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Collection
from contextlib import suppress

#: Names of the families that a process belongs to, separated by spaces.
FAMILY_VARIABLE = "CFSEG_FAMILY"
POLL_S = 0.2
#: Seconds that processes have to notice by themselves that their parent died, and to clean up after SIGTERM.
PATIENCE_S, GRACE_S = 0.5, 2.0
KILL_S = 2.0


def main() -> None:
    """Wait for the process, then end what it left."""
    pid, family = int(sys.argv[1]), sys.argv[2]
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    while os.getppid() == pid:  # the parent of an orphan is another
        time.sleep(POLL_S)
    if not wait_for_end(family, PATIENCE_S):
        end_family(family, grace_s=GRACE_S)


def end_family(family: str, *, grace_s: float, spare: Collection[int] = ()) -> None:
    """End all processes of a family: ask them, and kill those that are still there after ``grace_s`` seconds.

    Args:
        spare: ids of processes that are left alone, as this one is.
    """
    for pid in members(family, spare):
        send(pid, signal.SIGTERM)
    if wait_for_end(family, grace_s, spare):
        return
    deadline = time.monotonic() + KILL_S
    while time.monotonic() < deadline and (left := members(family, spare)):
        for pid in left:  # those that were started since, too
            send(pid, signal.SIGKILL)
        time.sleep(0.02)


def members(family: str, spare: Collection[int] = ()) -> list[int]:
    """Ids of the processes of a family that are running; zombies have no environment and are none."""
    own = os.getpid()
    with suppress(OSError):
        ids = [int(name) for name in os.listdir("/proc") if name.isdecimal()]
        return [pid for pid in ids if pid != own and pid not in spare and family in families(pid)]
    return []


def families(pid: int) -> list[str]:
    """The families of a process; none where it has ended or is somebody else's."""
    start = f"{FAMILY_VARIABLE}=".encode()
    try:
        with open(f"/proc/{pid}/environ", "rb") as stream:
            variables = stream.read().split(b"\0")
    except OSError:
        return []
    found = [line.removeprefix(start) for line in variables if line.startswith(start)]
    return [name for line in found for name in line.decode(errors="replace").split()]


def wait_for_end(family: str, timeout_s: float, spare: Collection[int] = ()) -> bool:
    """Whether all processes of a family end within some seconds."""
    deadline = time.monotonic() + timeout_s
    while members(family, spare):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def send(pid: int, number: signal.Signals) -> None:
    """Send a signal to a process that may have ended."""
    with suppress(ProcessLookupError, PermissionError):
        os.kill(pid, number)


if __name__ == "__main__":
    main()
