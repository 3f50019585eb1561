"""Networks of MONAI (Apache 2.0)."""

from __future__ import annotations

from torch import Tensor, nn

from nnunetv2_cfseg.baselines.baseline_trainer import BaselineTrainer
from nnunetv2_cfseg.trainers.timed import nnUNetTrainer_timed


class nnUNetTrainer_UNETR(BaselineTrainer):
    """UNETR: a vision transformer with a convolutional decoder (Hatamizadeh et al., WACV 2022).

    Its paper uses AdamW with a learning rate of 1e-4.
    """

    libraries = ("monai", "einops")
    multiple = 16
    adamw_lr = 1e-4

    @staticmethod
    def make_network(input_channels: int, heads: int, crop: tuple[int, int, int]) -> nn.Module:
        """Make UNETR in the paper's size."""
        from monai.networks.nets import UNETR

        return UNETR(input_channels, heads, img_size=crop)


class nnUNetTrainer_SwinUNETR(BaselineTrainer):
    """Swin UNETR: shifted windows with a convolutional decoder (Hatamizadeh et al., BrainLes 2021).

    Its paper uses AdamW with a learning rate of 8e-4, and 48 features.
    """

    libraries = ("monai", "einops")
    multiple = 32
    adamw_lr = 8e-4

    @staticmethod
    def make_network(input_channels: int, heads: int, crop: tuple[int, int, int]) -> nn.Module:
        """Make Swin UNETR in the paper's size."""
        from monai.networks.nets import SwinUNETR

        return SwinUNETR(input_channels, heads, feature_size=48)


class nnUNetTrainer_UNetPlusPlus(BaselineTrainer):
    """U-Net++: a U-Net with nested skip connections (Zhou et al., DLMIA 2018), without deep supervision.

    Its paper uses Adam with a learning rate of 3e-4.
    """

    libraries = ("monai",)
    multiple = 16
    adamw_lr = 3e-4
    adamw_weight_decay = 0.0

    @staticmethod
    def make_network(input_channels: int, heads: int, crop: tuple[int, int, int]) -> nn.Module:
        """Make U-Net++ in the library's size."""
        from monai.networks.nets import BasicUNetPlusPlus

        return FirstOutput(BasicUNetPlusPlus(3, input_channels, heads))


class FirstOutput(nn.Module):
    """Wraps a network that returns a list of outputs, and returns only the first."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        """Pass ``x`` to the network and return its first output."""
        return self.network(x)[0]


class nnUNetTrainer_UNETR_timed(nnUNetTrainer_timed, nnUNetTrainer_UNETR):
    """UNETR, stopped by the clock."""


class nnUNetTrainer_SwinUNETR_timed(nnUNetTrainer_timed, nnUNetTrainer_SwinUNETR):
    """Swin UNETR, stopped by the clock."""


class nnUNetTrainer_UNetPlusPlus_timed(nnUNetTrainer_timed, nnUNetTrainer_UNetPlusPlus):
    """U-Net++, stopped by the clock."""
