"""Runs commands that print to a log file and end with the process that runs them."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from nnunetv2_cfseg.errors.failure_reason import failure_reason
from nnunetv2_cfseg.processes.lifetime import Family, end_group

#: Bytes at the end of a log that are searched for the reason of a failure.
LOG_TAIL = 1 << 18


class CommandError(ValueError):
    """A command failed.

    Attributes:
        reason: why, in one sentence.
        log: file with everything that the command printed.
    """

    def __init__(self, reason: str, command: str, status: int, log: Path) -> None:
        super().__init__(f"{reason} ({command} ended with status {status}; log: {log})")
        self.reason, self.log = reason, log


class CommandRunner:
    """Runs commands in one folder with one environment.

    Args:
        folder: where they run; log files are relative to it.
        environment: added to the environment of this process.
        inherited: a file descriptor that all commands keep open, if any.
        stop: ends the running command when another thread sets it.
    """

    def __init__(
        self,
        folder: Path,
        environment: Mapping[str, str],
        *,
        inherited: int | None = None,
        stop: threading.Event | None = None,
    ) -> None:
        self.folder, self.environment = folder, dict(environment)
        self.inherited = () if inherited is None else (inherited,)
        self.stop = stop or threading.Event()

    def run(
        self,
        arguments: Sequence[str],
        *,
        environment: Mapping[str, str],
        log: Path,
        watch: Callable[[int], None] = lambda pid: None,
        every_s: float = 0.5,
    ) -> None:
        """Run one command; when this returns or raises, all processes of the command have ended.

        They also end, within seconds, when this process is killed.

        Args:
            arguments: the command; ``python`` is this Python, and scripts beside it come before those on PATH.
            environment: for this command alone.
            log: file, relative to the folder, to which the command's output is appended.
            watch: called with the process id every ``every_s`` seconds and once after the end.
            every_s: seconds between two calls of ``watch``.

        Raises:
            CommandError: the command failed.
            ValueError: it is not installed.
            InterruptedError: ``stop`` was set.
        """
        file = self.folder / log
        file.parent.mkdir(parents=True, exist_ok=True)
        line = shlex.join(arguments)
        with file.open("ab") as output, Family() as family:
            output.write(f"$ {line}\n".encode(errors="surrogateescape"))
            output.flush()
            begin = output.tell()
            process = subprocess.Popen(
                [*_executable(arguments[0]), *arguments[1:]],
                cwd=self.folder,
                env={**os.environ, **self.environment, **environment, **family.environment},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # one group, which can be ended as a whole
                pass_fds=self.inherited,
            )
            try:
                status = self._wait(process, watch, every_s)
            finally:
                family.end()  # also processes that left the group
                end_group(process)
        if status:
            raise CommandError(failure_reason(_read_from(file, begin), status), _short(line), status, file)

    def _wait(self, process: subprocess.Popen, watch: Callable[[int], None], every_s: float) -> int:
        while True:
            if self.stop.is_set():
                raise InterruptedError("stopped")
            try:
                status = process.wait(every_s)
            except subprocess.TimeoutExpired:
                watch(process.pid)
            else:
                watch(process.pid)
                return status


def _executable(name: str) -> list[str]:
    """The program that runs a command: a script beside this Python if there is one, otherwise from PATH.

    Raises:
        ValueError: it is not installed.
    """
    if name == "python":
        return [sys.executable]
    beside = str(Path(sys.executable).parent)
    script = shutil.which(name, path=os.pathsep.join([beside, os.environ.get("PATH", os.defpath)]))
    if script is None:
        raise ValueError(f"the command {name} is not installed; it must be beside {sys.executable} or on PATH")
    return [script]


def _read_from(file: Path, begin: int) -> str:
    """What was written to a log from an offset on, or only the end of it if it is long."""
    with file.open("rb") as stream:
        size = stream.seek(0, os.SEEK_END)
        stream.seek(max(begin, size - LOG_TAIL))
        return stream.read().decode(errors="replace")


def _short(line: str, width: int = 200) -> str:
    """The first line of a command, cut to the width."""
    line = line.split("\n")[0].strip()
    return line if len(line) <= width else f"{line[:width]} ..."
