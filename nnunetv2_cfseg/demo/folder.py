"""The demo's folder: its lock and the records of its steps."""

from __future__ import annotations

import fcntl
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType

from nnunetv2_cfseg.demo.steps import Step
from nnunetv2_cfseg.files.atomic_files import write_bytes
from nnunetv2_cfseg.files.json_text import to_json
from nnunetv2_cfseg.files.text_files import read_json

#: File that marks a demo's folder and is locked while a demo works in it.
LOCK = ".cfseg-demo"


@dataclass(frozen=True)
class Record:
    """The record of a step.

    Attributes:
        seconds: time of all its runs together.
        runs: how often it was started; more than once if it was stopped or failed.
        done: whether it has finished.
    """

    seconds: float = 0.0
    runs: int = 0
    done: bool = False


class DemoFolder:
    """A folder that one demo at a time can work in, as a context manager.

    Args:
        path: the folder; created if it does not exist.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        #: File descriptor of the lock. Processes that inherit it hold the lock until they end.
        self.lock: int | None = None

    def __enter__(self) -> DemoFolder:
        """Create and lock the folder.

        Raises:
            ValueError: it holds something else, or another demo works in it.
        """
        if self.path.exists() and not self.path.is_dir():
            raise ValueError(f"-o must name a folder, got a file: {self.path}")
        lock = self.path / LOCK
        if self.path.is_dir() and any(self.path.iterdir()) and not lock.exists():
            raise ValueError(f"-o must name a new or empty folder or one of an earlier demo, got: {self.path}")
        self.path.mkdir(parents=True, exist_ok=True)
        self.lock = os.open(lock, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(self.lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self.lock)
            raise ValueError(f"another demo, or a process that it left, is working in: {self.path}"
                             ) from None  # fmt: skip
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Release the lock."""
        if self.lock is not None:
            os.close(self.lock)

    def check(self, steps: list[Step]) -> None:
        """Check that earlier runs of the steps used the same commands.

        Raises:
            ValueError: a step was started with other commands.
        """
        for step in steps:
            marker = self._read(step)
            if marker is not None and marker["commands"] != _lines(step):
                was, now = _difference(marker["commands"], _lines(step))
                raise ValueError(
                    f"{step.title.lower()} was started with «{was}» and would now be «{now}», but a demo must "
                    f"continue with the settings it was started with; take another -o or remove {self.path}"
                )

    def record(self, step: Step) -> Record:
        """The record of a step; an empty one if it was never started."""
        marker = self._read(step)
        return Record() if marker is None else Record(marker["seconds"], marker["runs"], marker["done"])

    def keep(self, step: Step, record: Record) -> None:
        """Save the record of a step, with its commands."""
        marker = {"commands": _lines(step), **asdict(record)}
        self.write_text(str(self._marker(step).relative_to(self.path)), to_json(marker))

    def write_text(self, name: str, text: str) -> Path:
        """Write a file in the folder atomically and return its path."""
        return self.write_bytes(name, text.encode())

    def write_bytes(self, name: str, content: bytes) -> Path:
        """Write a file in the folder atomically and return its path."""
        file = self.path / name
        file.parent.mkdir(exist_ok=True)
        write_bytes(file, content)
        return file

    def _marker(self, step: Step) -> Path:
        return self.path / "steps" / f"{step.key}.json"

    def _read(self, step: Step) -> dict | None:
        file = self._marker(step)
        if not file.is_file():
            return None
        try:
            marker = read_json(file)
            return {key: marker[key] for key in ("commands", "seconds", "runs", "done")}
        except (ValueError, KeyError, TypeError):
            raise ValueError(f"the record of a step cannot be read, remove it to repeat the step: {file}") from None


def _lines(step: Step) -> list[str]:
    return [str(command) for command in step.commands]


def _difference(was: list[str], now: list[str]) -> tuple[str, str]:
    """The first difference between the commands: the variable or flag with its values, before and now."""
    a, b = next(((a, b) for a, b in zip(was, now, strict=False) if a != b), ("; ".join(was), "; ".join(now)))
    first, second = a.split(), b.split()
    start = next((i for i, (x, y) in enumerate(zip(first, second, strict=False)) if x != y), 0)
    while start and not first[start].startswith("-"):
        start -= 1
    return _flag_at(first, start), _flag_at(second, start)


def _flag_at(arguments: list[str], start: int) -> str:
    end = next(
        (i for i in range(start + 1, len(arguments)) if arguments[i].startswith("-") or not start), len(arguments)
    )
    return " ".join(arguments[start:end])
