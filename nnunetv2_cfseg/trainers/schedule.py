"""The learning rate: a linear warm-up, then nnU-Net's poly decay."""

from __future__ import annotations

import torch
from nnunetv2.training.lr_scheduler.polylr import PolyLRScheduler


class WarmupPolyLR(PolyLRScheduler):
    """Rises linearly to ``initial_lr``, then falls as nnU-Net's schedule does, both by position.

    A position is a count of epochs and may be a fraction of one, so the schedule does not care how long epochs are.

    Args:
        max_steps: length of the schedule in epochs.
        warmup_share: share of the schedule spent rising, in [0, 1).
    """

    def __init__(
        self, optimizer: torch.optim.Optimizer, initial_lr: float, max_steps: int, *, warmup_share: float
    ) -> None:
        self.warmup_share = warmup_share
        super().__init__(optimizer, initial_lr, max_steps)

    def step(self, current_step: float | None = None) -> None:
        """Set the learning rate for a position in [0, max_steps]."""
        super().step(current_step)
        warmup = self.warmup_share * self.max_steps
        if current_step is not None and 0 <= current_step < warmup:
            for group in self.optimizer.param_groups:
                # Never zero: a step that changes nothing is a step lost.
                group["lr"] *= max(current_step / warmup, 0.01)
        self._last_lr = [group["lr"] for group in self.optimizer.param_groups]
