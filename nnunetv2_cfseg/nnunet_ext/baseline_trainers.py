"""The baselines, re-exported for ``nnUNet_extTrainer``; see ``cfseg_trainers`` for the reason."""

from nnunetv2_cfseg.baselines.compact import (
    nnUNetTrainerCompact_Primus_S_timed,
    nnUNetTrainerCompact_ResidualUNet3D_timed,
    nnUNetTrainerCompact_SwinUNETR_timed,
    nnUNetTrainerCompact_UNet3D_timed,
    nnUNetTrainerCompact_UNetPlusPlus_timed,
    nnUNetTrainerCompact_UNETR_timed,
)
from nnunetv2_cfseg.baselines.monai_networks import (
    nnUNetTrainer_SwinUNETR,
    nnUNetTrainer_SwinUNETR_timed,
    nnUNetTrainer_UNetPlusPlus,
    nnUNetTrainer_UNetPlusPlus_timed,
    nnUNetTrainer_UNETR,
    nnUNetTrainer_UNETR_timed,
)
from nnunetv2_cfseg.baselines.primus import nnUNetTrainer_Primus_S_timed
from nnunetv2_cfseg.baselines.pytorch3dunet_networks import (
    nnUNetTrainer_ResidualUNet3D,
    nnUNetTrainer_ResidualUNet3D_timed,
    nnUNetTrainer_UNet3D,
    nnUNetTrainer_UNet3D_timed,
)
from nnunetv2_cfseg.baselines.stock_recipe import nnUNetTrainer_CFSegNetwork_timed

__all__ = [
    "nnUNetTrainerCompact_Primus_S_timed",
    "nnUNetTrainerCompact_ResidualUNet3D_timed",
    "nnUNetTrainerCompact_SwinUNETR_timed",
    "nnUNetTrainerCompact_UNETR_timed",
    "nnUNetTrainerCompact_UNet3D_timed",
    "nnUNetTrainerCompact_UNetPlusPlus_timed",
    "nnUNetTrainer_CFSegNetwork_timed",
    "nnUNetTrainer_Primus_S_timed",
    "nnUNetTrainer_ResidualUNet3D",
    "nnUNetTrainer_ResidualUNet3D_timed",
    "nnUNetTrainer_SwinUNETR",
    "nnUNetTrainer_SwinUNETR_timed",
    "nnUNetTrainer_UNETR",
    "nnUNetTrainer_UNETR_timed",
    "nnUNetTrainer_UNet3D",
    "nnUNetTrainer_UNet3D_timed",
    "nnUNetTrainer_UNetPlusPlus",
    "nnUNetTrainer_UNetPlusPlus_timed",
]
