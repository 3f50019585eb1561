"""Networks of pytorch-3dunet (MIT), trained by nnU-Net's SGD."""

from __future__ import annotations

from torch import nn

from nnunetv2_cfseg.baselines.baseline_trainer import BaselineTrainer
from nnunetv2_cfseg.trainers.timed import nnUNetTrainer_timed


class nnUNetTrainer_UNet3D(BaselineTrainer):
    """3D U-Net (Cicek et al., MICCAI 2016)."""

    libraries = ("pytorch3dunet",)
    multiple = 8

    @staticmethod
    def make_network(input_channels: int, heads: int, crop: tuple[int, int, int]) -> nn.Module:
        """Make it with 32 features, as in its paper; the library's 64 make it four times as slow."""
        from pytorch3dunet.unet3d.model import UNet3D

        return UNet3D(input_channels, heads, f_maps=32, is_segmentation=False)


class nnUNetTrainer_ResidualUNet3D(BaselineTrainer):
    """Residual symmetric 3D U-Net (Lee et al. 2017, arXiv 1706.00120)."""

    libraries = ("pytorch3dunet",)
    multiple = 16

    @staticmethod
    def make_network(input_channels: int, heads: int, crop: tuple[int, int, int]) -> nn.Module:
        """Make it with 28 features in the first level, as in its paper."""
        from pytorch3dunet.unet3d.model import ResidualUNet3D

        return ResidualUNet3D(input_channels, heads, f_maps=(28, 36, 48, 64, 80), num_groups=4, is_segmentation=False)


class nnUNetTrainer_UNet3D_timed(nnUNetTrainer_timed, nnUNetTrainer_UNet3D):
    """3D U-Net, stopped by the clock."""


class nnUNetTrainer_ResidualUNet3D_timed(nnUNetTrainer_timed, nnUNetTrainer_ResidualUNet3D):
    """Residual 3D U-Net, stopped by the clock."""
