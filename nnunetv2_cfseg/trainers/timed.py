"""Training for a number of seconds instead of a number of epochs.

Networks of different cost can only be compared fairly at equal time. The budget counts everything from the first
epoch on (training, online validation, checkpoints, plots); the learning rate follows the fraction of the budget spent.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from time import monotonic
from typing import Any

import torch
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from torch import distributed as dist

from nnunetv2_cfseg.nnunet.environment import BUDGET_VARIABLE
from nnunetv2_cfseg.trainers.guarded import GuardedTrainer
from nnunetv2_cfseg.trainers.one_sentence import one_sentence

#: A training of fewer steps mostly finds nothing.
FEW_STEPS = 100


def read_time_budget_s() -> float:
    """Return the wall-clock budget in seconds from the environment.

    Raises:
        ValueError: the variable is missing or is not a positive number.
    """
    text = os.environ.get(BUDGET_VARIABLE)
    if text is None:
        raise ValueError(f"{BUDGET_VARIABLE} is not set; a timed trainer needs it, the training budget in seconds")
    try:
        budget_s = float(text)
    except ValueError:
        budget_s = math.nan
    if not (math.isfinite(budget_s) and budget_s > 0):
        raise ValueError(f"{BUDGET_VARIABLE} must be a positive number of seconds, got {text!r}")
    return budget_s


class WallClockBudgetMixin(GuardedTrainer):
    """Ends a training when its budget is spent; name it before the trainer it is mixed into.

    The run is cut into ``num_epochs`` equal slices of time, so nnU-Net's log, plots and checkpoints keep their
    meaning. The clock is monotonic. Checkpoints hold the seconds spent, and ``--c`` continues from there; time spent
    after the last checkpoint, at least that of its epoch's plots, is not counted.
    """

    #: Online validation takes at most this fraction of a slice, but always at least one batch.
    validation_share = 0.05

    def __init__(self, plans: dict, configuration: str, fold: int, dataset_json: dict,
                 device: torch.device = torch.device("cuda")) -> None:  # fmt: skip
        with one_sentence():
            self.time_budget_s = read_time_budget_s()
        self._spent_before_s: float | None = None
        self._session_start: float | None = None
        super().__init__(plans, configuration, fold, dataset_json, device)
        self.num_epochs = 10
        self.save_every = 1

    def spent_s(self) -> float:
        """Seconds of the budget spent, in earlier sessions and in this one.

        In a distributed training the first process's clock counts: with their own clocks, processes would differ in
        learning rate and stop at different steps. All processes must therefore call this equally often.
        """
        if not self.is_ddp:
            return self._own_spent_s()
        shared = torch.tensor(self._own_spent_s(), dtype=torch.float64, device=self.device)
        dist.broadcast(shared, src=0)
        return float(shared)

    def _own_spent_s(self) -> float:
        session_s = monotonic() - self._session_start if self._session_start is not None else 0.0
        return (self._spent_before_s or 0.0) + session_s

    def training_state(self) -> dict[str, Any]:
        """The state plus the seconds spent, under ``spent_s``."""
        return {**super().training_state(), "spent_s": self._own_spent_s()}

    def load_training_state(self, state: dict[str, Any]) -> None:
        """Restore the state and the seconds spent."""
        super().load_training_state(state)
        spent_s = state.get("spent_s")
        if isinstance(spent_s, int | float) and 0 <= spent_s < math.inf:
            self._spent_before_s = float(spent_s)

    def fraction_spent(self) -> float:
        """Fraction of the budget spent, in [0, 1]."""
        return min(1.0, self.spent_s() / self.time_budget_s)

    def train(self) -> None:
        """Run nnU-Net's loop, but let the clock end every epoch and the training, not a count of batches."""
        self.on_train_start()
        self._start_clock()
        steps = 0
        while self.current_epoch < self.num_epochs and self.spent_s() < self.time_budget_s:
            self.on_epoch_start()
            slice_s = self.time_budget_s / self.num_epochs
            slice_end_s = slice_s * (self.current_epoch + 1)
            validation_s = self.validation_share * slice_s

            self.on_train_epoch_start()
            outputs = [self.train_step(next(self.dataloader_train))
                       for _ in self._until(slice_end_s - validation_s)]  # fmt: skip
            self.on_train_epoch_end(outputs)
            self.print_to_log_file(f"Training steps in this epoch: {len(outputs)}")
            steps += len(outputs)

            with torch.no_grad():
                self.on_validation_epoch_start()
                outputs = [self.validation_step(next(self.dataloader_val))
                           for _ in self._until(slice_end_s)]  # fmt: skip
                self.on_validation_epoch_end(outputs)

            self.on_epoch_end()
        self.on_train_end()
        self.print_to_log_file(f"Training steps in this session: {steps}")
        if steps < FEW_STEPS:
            self.print_to_log_file(
                f"WARNING: a network learns little in so few steps; raise {BUDGET_VARIABLE}, which is "
                f"{self.time_budget_s:g} s"
            )

    def schedule_position(self) -> float:
        """Position in the learning-rate schedule, in epochs: the fraction of the budget spent times all epochs."""
        # At the very end of the schedule the rate is zero; a step that begins before the end should still learn.
        return min(self.fraction_spent(), 0.999) * self.num_epochs

    def _start_clock(self) -> None:
        if self._spent_before_s is None:
            self._spent_before_s = self._logged_s()
        self._session_start = monotonic()

    def _logged_s(self) -> float:
        """Seconds of earlier sessions from nnU-Net's log, for old checkpoints that do not hold them."""
        starts = self.logger.get_value("epoch_start_timestamps", step=None)
        ends = self.logger.get_value("epoch_end_timestamps", step=None)
        return sum(max(0.0, end - start) for start, end in zip(starts, ends, strict=False))

    def _until(self, deadline_s: float) -> Iterator[None]:
        """Yield once, then again until ``deadline_s`` seconds of the budget are spent."""
        yield
        while self.spent_s() < deadline_s:
            yield


class nnUNetTrainer_timed(WallClockBudgetMixin, nnUNetTrainer):
    """Stock nnU-Net, stopped by the clock."""

    def train_step(self, batch: dict) -> dict:
        """Do nnU-Net's step with the learning rate for the fraction of the budget spent."""
        self.lr_scheduler.step(self.schedule_position())
        return super().train_step(batch)
