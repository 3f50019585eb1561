"""Read a training from nnU-Net's text logs, epoch by epoch.

Checkpoints hold the same numbers, but reading one can run code that it contains; a log is only text.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from math import isfinite, nan
from pathlib import Path

import numpy as np

_LOG = re.compile(r"training_log_\d+(_\d+)*\.txt")
_FOLD = re.compile(r"fold_(\d+|all)")
#: Each line begins with date and time.
_LINE = re.compile(r"^\d+-\d+-\d+ [\d:.]+: (.*?)\s*$")
_EPOCH = re.compile(r"Epoch (\d+)")
_RATE = re.compile(r"Current learning rate: (\S+)")
_LOSS = re.compile(r"(train|val)_loss (\S+)")
_DICE = re.compile(r"Pseudo dice \[(.*)\]")
_SECONDS = re.compile(r"Epoch time: (\S+) s")
#: ``np.float32(0.5)``, ``0.5`` and ``nan``: what numpy prints depends on its version.
_NUMBER = re.compile(r"(?:np\.float\d+\()?([-+\w.]+)\)?")


@dataclass(frozen=True)
class Epoch:
    """One epoch of a log; numbers that the log lacks are NaN.

    Attributes:
        number: counted from 0.
        train_loss: mean over the epoch's training batches.
        val_loss: mean over the epoch's validation batches.
        dice: nnU-Net's pseudo Dice of each foreground class.
        learning_rate: when the epoch began.
        seconds: duration, validation included.
    """

    number: int
    train_loss: float
    val_loss: float
    dice: tuple[float, ...]
    learning_rate: float
    seconds: float

    @property
    def mean_dice(self) -> float:
        """The mean over the classes that have a pseudo Dice; NaN if none has."""
        known = [value for value in self.dice if isfinite(value)]
        return float(np.mean(known)) if known else nan


@dataclass(frozen=True)
class Training:
    """The finished epochs of a fold, in order; ``done`` if its last log says that training ended."""

    fold: str
    epochs: tuple[Epoch, ...]
    done: bool


def read_trainings(model: Path) -> list[Training]:
    """Read the training of each fold of a trained model.

    Args:
        model: nnU-Net's folder ``TRAINER__PLANS__CONFIGURATION``.

    Raises:
        ValueError: the folder has no log with a finished epoch.
    """
    folds = sorted(
        (folder for folder in model.glob("fold_*") if _FOLD.fullmatch(folder.name)),
        key=lambda folder: (len(folder.name), folder.name),
    )
    trainings = [read_training(fold) for fold in folds]
    trainings = [training for training in trainings if training.epochs]
    if not trainings:
        raise ValueError(f"there is no fold_X/training_log_*.txt with a finished epoch in the model's folder: {model}")
    return trainings


def read_training(fold: Path) -> Training:
    """Read all logs of one fold.

    A training that was stopped and continued has several. Each begins at the last checkpoint: epochs of earlier logs
    from its first epoch on were trained again, and are left out.
    """
    epochs: dict[int, Epoch] = {}
    done = False
    logs = (file for file in fold.glob("training_log_*.txt") if _LOG.fullmatch(file.name))
    for log in sorted(logs, key=_time):
        text = log.read_text(encoding="utf-8", errors="replace")
        logged = parse_log(text)
        if logged:
            epochs = {number: epoch for number, epoch in epochs.items() if number < logged[0].number}
            epochs.update((epoch.number, epoch) for epoch in logged)
            done = False
        done = done or ": Training done." in text
    ordered = tuple(epoch for _, epoch in sorted(epochs.items()))
    return Training(fold=fold.name.removeprefix("fold_"), epochs=ordered, done=done)


def parse_log(text: str) -> list[Epoch]:
    """The finished epochs of one log, in order; an epoch is finished once its duration is logged.

    Source: ``nnUNetTrainer.on_train_epoch_start`` and ``on_epoch_end`` of nnU-Net 2.8.
    """
    epochs = []
    numbers: dict[str, float] = {}
    dice: tuple[float, ...] = ()
    for message in _messages(text.splitlines()):
        if match := _EPOCH.fullmatch(message):
            numbers, dice = {"number": float(match[1])}, ()
        elif match := _RATE.fullmatch(message):
            numbers["rate"] = _float(match[1])
        elif match := _LOSS.fullmatch(message):
            numbers[match[1]] = _float(match[2])
        elif match := _DICE.fullmatch(message):
            dice = tuple(_float(number) for number in _NUMBER.findall(match[1]))
        elif (match := _SECONDS.fullmatch(message)) and "number" in numbers:
            epochs.append(_epoch(numbers, dice, _float(match[1])))
            numbers, dice = {}, ()
    return epochs


def _messages(lines: Iterable[str]) -> Iterable[str]:
    return (match[1] for line in lines if (match := _LINE.match(line)))


def _epoch(numbers: dict[str, float], dice: tuple[float, ...], seconds: float) -> Epoch:
    return Epoch(
        number=int(numbers["number"]),
        train_loss=numbers.get("train", nan),
        val_loss=numbers.get("val", nan),
        dice=dice,
        learning_rate=numbers.get("rate", nan),
        seconds=seconds,
    )


def _float(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return nan


def _time(log: Path) -> list[int]:
    """Year to second as numbers, because nnU-Net writes January as 1, which sorts wrongly as text."""
    return [int(number) for number in re.findall(r"\d+", log.stem)]
