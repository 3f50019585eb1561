"""The demo's folder: whose it is, who works in it, and which steps are done."""

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

#: Tells a demo's folder from any other, and is locked while a demo works in it.
LOCK = ".cfseg-demo"


@dataclass(frozen=True)
class Record:
    """What is known of a step.

    Attributes:
        seconds: spent on it, in all its runs.
        runs: how often it was begun; more than one if it was stopped or failed.
        done: whether it came to its end.
    """

    seconds: float = 0.0
    runs: int = 0
    done: bool = False


class DemoFolder:
    """A folder that is a demo's alone, while it is entered.

    Args:
        path: the folder; made if it is not there.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        #: File descriptor of the lock. Processes that inherit it hold the lock until they end.
        self.lock: int | None = None

    def __enter__(self) -> DemoFolder:
        """Make and lock it.

        Raises:
            ValueError: it holds something else, or another demo works in it.
        """
        if self.path.exists() and not self.path.is_dir():
            raise ValueError(f"-o must name a folder, got a file: {self.path}")
        lock = self.path / LOCK
        if self.path.is_dir() and any(self.path.iterdir()) and not lock.exists():
            raise ValueError(f"-o must name a new folder, an empty one or one of an earlier demo, got: {self.path}")
        self.path.mkdir(parents=True, exist_ok=True)
        self.lock = os.open(lock, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(self.lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self.lock)
            raise ValueError(f"only one demo can work in a folder, and processes of one still do in: {self.path}"
                             ) from None  # fmt: skip
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Let others in."""
        if self.lock is not None:
            os.close(self.lock)

    def check(self, steps: list[Step]) -> None:
        """Look whether what was begun here was begun with the same commands.

        Raises:
            ValueError: a step was not.
        """
        for step in steps:
            marker = self._read(step)
            if marker is not None and marker["commands"] != _lines(step):
                was, now = _difference(marker["commands"], _lines(step))
                raise ValueError(
                    f"a demo goes on with the settings it was begun with, and {step.title.lower()} was begun with "
                    f"«{was}» and would now be «{now}»; take another -o or remove {self.path}"
                )

    def record(self, step: Step) -> Record:
        """What is known of a step."""
        marker = self._read(step)
        return Record() if marker is None else Record(marker["seconds"], marker["runs"], marker["done"])

    def keep(self, step: Step, record: Record) -> None:
        """Write down what is known of a step, with its commands."""
        marker = {"commands": _lines(step), **asdict(record)}
        self.write_text(str(self._marker(step).relative_to(self.path)), to_json(marker))

    def write_text(self, name: str, text: str) -> Path:
        """Write a file of the folder, whole or not at all; returns it."""
        return self.write_bytes(name, text.encode())

    def write_bytes(self, name: str, content: bytes) -> Path:
        """Write a file of the folder, whole or not at all; returns it."""
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
            raise ValueError(f"what a step left must be readable, remove this file to repeat it: {file}") from None


def _lines(step: Step) -> list[str]:
    return [str(command) for command in step.commands]


def _difference(was: list[str], now: list[str]) -> tuple[str, str]:
    """Where the first commands that differ do so: the variable or flag with its values."""
    a, b = next(((a, b) for a, b in zip(was, now, strict=False) if a != b), ("; ".join(was), "; ".join(now)))
    first, second = a.split(), b.split()
    place = next((i for i, (x, y) in enumerate(zip(first, second, strict=False)) if x != y), 0)
    while place and not first[place].startswith("-"):
        place -= 1
    return _flag_at(first, place), _flag_at(second, place)


def _flag_at(words: list[str], place: int) -> str:
    end = next((i for i in range(place + 1, len(words)) if words[i].startswith("-") or not place), len(words))
    return " ".join(words[place:end])
