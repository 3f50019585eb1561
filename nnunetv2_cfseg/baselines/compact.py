"""Every baseline trained by our recipe, so that networks can be compared on equal terms."""

from __future__ import annotations

from nnunetv2_cfseg.baselines.monai_networks import (
    nnUNetTrainer_SwinUNETR,
    nnUNetTrainer_UNetPlusPlus,
    nnUNetTrainer_UNETR,
)
from nnunetv2_cfseg.baselines.primus import UnstagedPrimus_S
from nnunetv2_cfseg.baselines.pytorch3dunet_networks import nnUNetTrainer_ResidualUNet3D, nnUNetTrainer_UNet3D
from nnunetv2_cfseg.trainers.compact import CompactRecipe
from nnunetv2_cfseg.trainers.timed import WallClockBudgetMixin


class nnUNetTrainerCompact_UNETR_timed(WallClockBudgetMixin, CompactRecipe, nnUNetTrainer_UNETR):
    """UNETR with our recipe, stopped by the clock."""


class nnUNetTrainerCompact_SwinUNETR_timed(WallClockBudgetMixin, CompactRecipe, nnUNetTrainer_SwinUNETR):
    """Swin UNETR with our recipe, stopped by the clock."""


class nnUNetTrainerCompact_UNetPlusPlus_timed(WallClockBudgetMixin, CompactRecipe, nnUNetTrainer_UNetPlusPlus):
    """U-Net++ with our recipe, stopped by the clock."""


class nnUNetTrainerCompact_UNet3D_timed(WallClockBudgetMixin, CompactRecipe, nnUNetTrainer_UNet3D):
    """3D U-Net with our recipe, stopped by the clock."""


class nnUNetTrainerCompact_ResidualUNet3D_timed(WallClockBudgetMixin, CompactRecipe, nnUNetTrainer_ResidualUNet3D):
    """Residual 3D U-Net with our recipe, stopped by the clock."""


class nnUNetTrainerCompact_Primus_S_timed(WallClockBudgetMixin, CompactRecipe, UnstagedPrimus_S):
    """Primus S with our recipe, stopped by the clock."""
