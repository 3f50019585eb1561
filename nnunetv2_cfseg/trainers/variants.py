"""The usual lengths of training, and one ended by the clock."""

from __future__ import annotations

import torch

from nnunetv2_cfseg.trainers.cfseg import nnUNetTrainerCFSeg
from nnunetv2_cfseg.trainers.thin_thick import nnUNetTrainerCFSegThinThick
from nnunetv2_cfseg.trainers.timed import WallClockBudgetMixin


class _FixedEpochs(nnUNetTrainerCFSeg):
    epochs: int

    def __init__(self, plans: dict, configuration: str, fold: int, dataset_json: dict,
                 device: torch.device = torch.device("cuda")) -> None:  # fmt: skip
        super().__init__(plans, configuration, fold, dataset_json, device)
        self.num_epochs = self.epochs


class nnUNetTrainerCFSeg_5epochs(_FixedEpochs):
    """Five epochs, for trying things out."""

    epochs = 5


class nnUNetTrainerCFSeg_20epochs(_FixedEpochs):
    """20 epochs."""

    epochs = 20


class nnUNetTrainerCFSeg_100epochs(_FixedEpochs):
    """100 epochs."""

    epochs = 100


class nnUNetTrainerCFSeg_250epochs(_FixedEpochs):
    """250 epochs."""

    epochs = 250


class nnUNetTrainerCFSeg_timed(WallClockBudgetMixin, nnUNetTrainerCFSeg):
    """Stopped by the clock."""


class nnUNetTrainerCFSegThinThick_timed(WallClockBudgetMixin, nnUNetTrainerCFSegThinThick):
    """Thin-thick training stopped by the clock."""
