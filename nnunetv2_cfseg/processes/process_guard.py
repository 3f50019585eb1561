"""A small process that waits for another one to end, however it ends, and then ends the processes it left behind.

    python process_guard.py PID FAMILY

The processes of a family have its name in their environment variable ``CFSEG_FAMILY``. Their children inherit it, so
they are found even in other sessions and process groups, and after their parents have died. This needs ``/proc``
(Linux). It imports only the standard library, because it is started with every command.
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
#: Seconds that processes have to notice that their parent died, and to clean up after SIGTERM.
PATIENCE_S, GRACE_S = 0.5, 2.0
KILL_S = 2.0


def main() -> None:
    """Wait for the process to end, then end the processes it left behind."""
    pid, family = int(sys.argv[1]), sys.argv[2]
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    while os.getppid() == pid:  # an orphan gets another parent
        time.sleep(POLL_S)
    if not wait_for_end(family, PATIENCE_S):
        end_family(family, grace_s=GRACE_S)


def end_family(family: str, *, grace_s: float, spare: Collection[int] = ()) -> None:
    """End all processes of a family: send SIGTERM, and kill those that are still there after ``grace_s`` seconds.

    Args:
        spare: ids of processes to leave alone, besides this one.
    """
    for pid in members(family, spare):
        send(pid, signal.SIGTERM)
    if wait_for_end(family, grace_s, spare):
        return
    deadline = time.monotonic() + KILL_S
    while time.monotonic() < deadline and (left := members(family, spare)):
        for pid in left:  # including those that were started in the meantime
            send(pid, signal.SIGKILL)
        time.sleep(0.02)


def members(family: str, spare: Collection[int] = ()) -> list[int]:
    """Ids of the running processes of a family; zombies have no environment and are left out."""
    own = os.getpid()
    with suppress(OSError):
        ids = [int(name) for name in os.listdir("/proc") if name.isdecimal()]
        return [pid for pid in ids if pid != own and pid not in spare and family in families(pid)]
    return []


def families(pid: int) -> list[str]:
    """Names of a process's families; empty if it has ended or belongs to another user."""
    start = f"{FAMILY_VARIABLE}=".encode()
    try:
        with open(f"/proc/{pid}/environ", "rb") as stream:
            variables = stream.read().split(b"\0")
    except OSError:
        return []
    values = [variable.removeprefix(start) for variable in variables if variable.startswith(start)]
    return [name for value in values for name in value.decode(errors="replace").split()]


def wait_for_end(family: str, timeout_s: float, spare: Collection[int] = ()) -> bool:
    """Wait for all processes of a family to end, and return whether they did within ``timeout_s`` seconds."""
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
