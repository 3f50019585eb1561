"""Trainers with fixed numbers of epochs, and trainers stopped by the clock."""

from __future__ import annotations

import torch

from nnunetv2_cfseg.trainers.cfseg import nnUNetTrainerCFSeg
from nnunetv2_cfseg.trainers.compact import nnUNetTrainerCompact
from nnunetv2_cfseg.trainers.thin_thick import nnUNetTrainerCFSegThinThick
from nnunetv2_cfseg.trainers.timed import WallClockBudgetMixin


class _FixedEpochs(nnUNetTrainerCFSeg):
    epochs: int

    def __init__(self, plans: dict, configuration: str, fold: int, dataset_json: dict,
                 device: torch.device = torch.device("cuda")) -> None:  # fmt: skip
        super().__init__(plans, configuration, fold, dataset_json, device)
        self.num_epochs = self.epochs


class nnUNetTrainerCFSeg_5epochs(_FixedEpochs):
    """CFSeg training for five epochs, to try things out."""

    epochs = 5


class nnUNetTrainerCFSeg_20epochs(_FixedEpochs):
    """CFSeg training for 20 epochs."""

    epochs = 20


class nnUNetTrainerCFSeg_100epochs(_FixedEpochs):
    """CFSeg training for 100 epochs."""

    epochs = 100


class nnUNetTrainerCFSeg_250epochs(_FixedEpochs):
    """CFSeg training for 250 epochs."""

    epochs = 250


class nnUNetTrainerCFSeg_timed(WallClockBudgetMixin, nnUNetTrainerCFSeg):
    """CFSeg training stopped by the clock."""


class nnUNetTrainerCFSegThinThick_timed(WallClockBudgetMixin, nnUNetTrainerCFSegThinThick):
    """Thin-thick training stopped by the clock."""


class nnUNetTrainerCompact_timed(WallClockBudgetMixin, nnUNetTrainerCompact):
    """The recipe for nnU-Net's own networks, stopped by the clock."""
