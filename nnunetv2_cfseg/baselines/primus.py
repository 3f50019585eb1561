"""Primus, the transformer that comes with nnU-Net (Wald et al. 2025, arXiv 2503.01835), stopped by the clock."""

from __future__ import annotations

import torch
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from nnunetv2.training.nnUNetTrainer.primus.primus_trainers import nnUNet_Primus_S_Trainer

from nnunetv2_cfseg.trainers.optimization import WarmupPolyLR
from nnunetv2_cfseg.trainers.timed import nnUNetTrainer_timed


class UnstagedPrimus_S(nnUNet_Primus_S_Trainer):
    """Primus S with its own optimiser and one schedule for warm-up and decay, which the clock can follow.

    5 % of the schedule is warm-up, like Primus' 50 of 1000 epochs.
    """

    warmup_share = 0.05

    def configure_optimizers(self, stage: str = "") -> tuple[torch.optim.Optimizer, WarmupPolyLR]:
        """Return AdamW as in Primus' trainer, and one schedule for warm-up and decay."""
        optimizer = torch.optim.AdamW(
            self.network.parameters(), self.initial_lr, weight_decay=self.weight_decay, betas=(0.9, 0.98)
        )
        return optimizer, WarmupPolyLR(optimizer, self.initial_lr, self.num_epochs, warmup_share=self.warmup_share)

    def on_train_epoch_start(self) -> None:
        """Start nnU-Net's epoch, not Primus', which would replace the schedule after 50 epochs."""
        nnUNetTrainer.on_train_epoch_start(self)

    def load_checkpoint(self, filename_or_checkpoint: dict | str) -> None:
        """Load a checkpoint as nnU-Net does, not as Primus does, which would replace the schedule too."""
        nnUNetTrainer.load_checkpoint(self, filename_or_checkpoint)


class nnUNetTrainer_Primus_S_timed(nnUNetTrainer_timed, UnstagedPrimus_S):
    """Primus S with its own optimiser, stopped by the clock."""
