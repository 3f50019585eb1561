"""Checkpoints that a kill cannot break."""

from __future__ import annotations

from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

from nnunetv2_cfseg.files import whole_or_not_at_all


class AtomicCheckpointMixin(nnUNetTrainer):
    """Writes checkpoints beside their place and renames them; name it before the trainer it is mixed into."""

    def save_checkpoint(self, filename: str) -> None:
        """nnU-Net's checkpoint, whole or not at all."""
        if self.local_rank != 0 or self.disable_checkpointing:
            super().save_checkpoint(filename)
            return
        with whole_or_not_at_all(filename) as temporary:
            super().save_checkpoint(temporary)
