"""Running a command into a log file, and leaving no process behind."""

from __future__ import annotations

import ctypes
import os
import shlex
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
#: Seconds that stopped processes have to end by themselves.
GRACE_S = 5.0


class Runner:
    """Runs commands in one folder with one environment.

    Args:
        folder: where they run; log files are relative to it.
        environment: added to the environment of this process.
        inherited: a file descriptor that all of them keep open, if any.
    """

    def __init__(self, folder: Path, environment: Mapping[str, str], *, inherited: int | None = None) -> None:
        self.folder, self.environment = folder, dict(environment)
        self.inherited = () if inherited is None else (inherited,)

    def run(
        self,
        arguments: Sequence[str],
        *,
        environment: Mapping[str, str],
        log: Path,
        watch: Callable[[int], None] = lambda pid: None,
        every_s: float = 0.5,
    ) -> None:
        """Run one command; whatever way this ends, its processes have ended.

        Args:
            arguments: the command; ``python`` and scripts are taken from beside this Python.
            environment: for this command alone.
            log: file, relative to the folder, that gets what the command prints.
            watch: called with the process every ``every_s`` seconds and once after the end.
            every_s: seconds between two calls of ``watch``.

        Raises:
            ValueError: the command is not installed or failed.
        """
        file = self.folder / log
        file.parent.mkdir(parents=True, exist_ok=True)
        line = shlex.join(arguments)
        with file.open("ab") as output:
            output.write(f"$ {line}\n".encode())
            output.flush()
            process = subprocess.Popen(
                [*_executable(arguments[0]), *arguments[1:]],
                cwd=self.folder,
                env={**os.environ, **self.environment, **environment},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # one group, which can be ended as a whole
                pass_fds=self.inherited,
            )
            try:
                status = _wait(process, watch, every_s)
            finally:
                end_group(process)
        if status:
            raise ValueError(f"{_short(line)} ended with status {status}, see {file}, which ends: {last_line(file)}")


def _executable(name: str) -> list[str]:
    """What starts a command: scripts beside this Python count before those on PATH.

    Raises:
        ValueError: there is none.
    """
    if name == "python":
        return [sys.executable]
    beside = str(Path(sys.executable).parent)
    script = shutil.which(name, path=os.pathsep.join([beside, os.environ.get("PATH", os.defpath)]))
    if script is None:
        raise ValueError(f"the command {name} must be installed beside {sys.executable} and is not")
    return [script]


def _wait(process: subprocess.Popen, watch: Callable[[int], None], every_s: float) -> int:
    while True:
        try:
            status = process.wait(every_s)
        except subprocess.TimeoutExpired:
            watch(process.pid)
        else:
            watch(process.pid)
            return status


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


@contextmanager
def stopped_by_signals() -> Iterator[None]:
    """Let Ctrl-C, kill and a closed terminal raise KeyboardInterrupt, once: what cleans up is not interrupted."""

    def stop(*_: object) -> None:
        for number in handled:
            signal.signal(number, signal.SIG_IGN)
        raise KeyboardInterrupt

    # One that is ignored, as under nohup, stays ignored.
    handled = {number: signal.getsignal(number) for number in STOP_SIGNALS}
    handled = {number: handler for number, handler in handled.items() if handler is not signal.SIG_IGN}
    for number in handled:
        signal.signal(number, stop)
    try:
        yield
    finally:
        for number, handler in handled.items():
            signal.signal(number, handler)


def end_with_parent(parent: int) -> None:
    """Let this process end as soon as another one has ended, whatever ended that: ``kill -9`` runs no clean-up.

    Call it first thing in the process that is to end. On Linux the kernel sees to it, where ``parent`` is the parent;
    elsewhere a thread looks every second.

    Args:
        parent: process id of the one that started this one.
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
    while process_exists(parent):
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


def last_line(file: Path) -> str:
    """The last line of a log that says something; progress bars are rewritten lines, of which the last counts."""
    text = file.read_bytes().decode(errors="replace").replace("\r", "\n")
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "(empty)"


def _short(line: str, width: int = 200) -> str:
    """A command without what would make a sentence of many lines."""
    line = line.split("\n")[0].strip()
    return line if len(line) <= width else f"{line[:width]} ..."
