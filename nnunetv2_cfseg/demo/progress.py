"""Progress bars of the demo's steps, by seconds of training or files written."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from math import inf, isfinite
from pathlib import Path
from typing import Protocol

from tqdm import tqdm

from nnunetv2_cfseg.demo.settings import VALIDATION_CASES

_PREDICTING = ": predicting "
#: Number of epochs that a timed training is divided into.
EPOCHS = 10


class Watcher(Protocol):
    """Watches the progress of a step; ``total`` is counted in ``unit``."""

    total: float
    unit: str

    def position(self) -> float:
        """How much of ``total`` is done."""

    def note(self) -> str:
        """A short text shown after the bar."""


class Files:
    """Counts the files that a step writes.

    Args:
        folder: folder in which they appear.
        patterns: globs of the files below the folder.
        total: expected number of files.
    """

    unit = "scans"

    def __init__(self, folder: Path, *patterns: str, total: int) -> None:
        self.folder, self.patterns = folder, patterns
        self.total: float = total

    def position(self) -> float:
        """The number of files written so far."""
        return min(self.total, sum(1 for pattern in self.patterns for _ in self.folder.glob(pattern)))

    def note(self) -> str:
        """No text."""
        return ""


class TrainingLog:
    """Follows nnU-Net's newest log of a timed training.

    Args:
        fold: nnU-Net's folder of the fold.
        budget_s: seconds of training.
    """

    unit = "s"

    def __init__(self, fold: Path, budget_s: float) -> None:
        self.fold, self.total = fold, budget_s
        self.started = time.time() - 1  # files' times are coarser than the clock
        self._epoch, self._epoch_seen = -1, 0.0

    def position(self) -> float:
        """Seconds of the budget spent, by the log and, within an epoch, by the clock."""
        text = self._text()
        if "Training done." in text or _PREDICTING in text:
            return self.total
        epochs = re.findall(r": Epoch (\d+)", text)
        if not epochs:
            return 0.0
        if int(epochs[-1]) != self._epoch:
            self._epoch, self._epoch_seen = int(epochs[-1]), time.monotonic()
        slice_s = self.total / EPOCHS
        return self._epoch * slice_s + min(slice_s, time.monotonic() - self._epoch_seen)

    def note(self) -> str:
        """nnU-Net's last pseudo Dice, averaged over classes, or the number of the case being validated."""
        text = self._text()
        validated = text.count(_PREDICTING)
        if validated:
            return f"validating {validated}/{VALIDATION_CASES}"
        dice = pseudo_dice(text)
        return "" if dice is None else f"pseudo Dice {dice:.3f}"

    def _text(self) -> str:
        logs = [(log.stat().st_mtime, log) for log in self.fold.glob("training_log_*.txt")]
        new = [entry for entry in logs if entry[0] >= self.started]  # leaves out logs of an interrupted training
        return max(new)[1].read_text(errors="replace") if new else ""


def pseudo_dice(log: str) -> float | None:
    """The mean of the last epoch's pseudo Dice over the classes that were seen; None if there is none yet."""
    lines = re.findall(r": Pseudo dice \[(.*)\]", log)
    if not lines:
        return None
    # numpy 2 writes np.float32(0.5) where numpy 1 writes 0.5; a class that was not seen is nan
    values = [float(text) for text in re.sub(r"np\.float\d+\(|\)", "", lines[-1]).split(",")]
    seen = [value for value in values if isfinite(value)]
    return sum(seen) / len(seen) if seen else None


class Bar:
    """A tqdm bar that follows a watcher."""

    def __init__(self, watcher: Watcher) -> None:
        self.watcher = watcher
        #: Update rarely in a file, in which every update adds a line.
        self.every_s = 0.5 if sys.stderr.isatty() else 10.0
        self._shown = -inf
        self.bar = tqdm(
            total=watcher.total,
            unit=watcher.unit,
            bar_format="{l_bar}{bar}| {n:.0f}/{total:.0f} {unit} [{elapsed}<{remaining}{postfix}]",
        )

    def update(self, pid: int | None = None) -> None:
        """Show the present state of the step. ``pid`` is ignored."""
        if time.monotonic() < self._shown + self.every_s:
            return
        self._shown = time.monotonic()
        self.bar.set_postfix_str(self.watcher.note(), refresh=False)
        self.bar.update(max(0.0, self.watcher.position() - self.bar.n))
        self.bar.refresh()

    def finish(self) -> None:
        """Fill the bar to its end."""
        self.bar.update(self.watcher.total - self.bar.n)


@contextmanager
def bar(watcher: Watcher | None) -> Iterator[Bar | None]:
    """Show a bar while the step runs; yields None if there is no watcher."""
    if watcher is None:
        yield None
        return
    shown = Bar(watcher)
    try:
        yield shown
        shown.finish()
    finally:
        shown.bar.close()
