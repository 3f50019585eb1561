"""What every baseline shares: nnU-Net's trainer around a network of another library."""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar

import torch
import torch.nn.functional as F
from nnunetv2.training.lr_scheduler.polylr import PolyLRScheduler
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from nnunetv2.utilities.plans_handling.plans_handler import ConfigurationManager, PlansManager
from torch import Tensor, nn

from nnunetv2_cfseg.trainers.guarded import GuardedTrainer


class BaselineTrainer(GuardedTrainer, nnUNetTrainer):
    """nnU-Net's trainer with another network; crop, batch size, augmentation and loss are those of the plans.

    A subclass says what :meth:`make_network` makes; nnU-Net's commands find it by name once a module of
    ``nnunet_ext`` imports it. Libraries are imported when a network is made: nnU-Net imports every trainer to find one.
    """

    #: Whole steps of the network along each axis, in voxels: what it sees is padded to a multiple of it.
    multiple: ClassVar[int] = 1
    #: Of AdamW; None for nnU-Net's own SGD.
    adamw_lr: ClassVar[float | None] = None
    adamw_weight_decay: ClassVar[float] = 1e-5

    def __init__(self, plans: dict, configuration: str, fold: int, dataset_json: dict,
                 device: torch.device = torch.device("cuda")) -> None:  # fmt: skip
        super().__init__(plans, configuration, fold, dataset_json, device)
        self.enable_deep_supervision = False

    @staticmethod
    @abstractmethod
    def make_network(input_channels: int, heads: int, crop: tuple[int, int, int]) -> nn.Module:
        """The network.

        Args:
            input_channels: of an image.
            heads: logits of a voxel.
            crop: voxels along z, y, x that it will see, multiples of ``multiple``.

        Returns:
            One that takes (B, input_channels, *crop) and gives logits (B, heads, *crop), without a softmax.
        """

    @classmethod
    def build_network_architecture(
        cls,
        plans_manager: PlansManager,
        configuration_manager: ConfigurationManager,
        num_input_channels: int,
        num_output_channels: int,
        enable_deep_supervision: bool = True,
    ) -> nn.Module:
        """Training and prediction both come through here.

        Raises:
            ValueError: the library is not installed.
        """
        crop = configuration_manager.patch_size
        z, y, x = (-(-size // cls.multiple) * cls.multiple for size in crop)
        try:
            network = cls.make_network(num_input_channels, num_output_channels, (z, y, x))
        except ModuleNotFoundError as error:
            raise ValueError(f"{cls.__name__} needs {error.name}: pip install nnunetv2_cfseg[benchmark]") from error
        return Padded(network, cls.multiple)

    def configure_optimizers(self) -> tuple[torch.optim.Optimizer, PolyLRScheduler]:
        """AdamW where the network's own paper has it, with nnU-Net's schedule; nnU-Net's SGD elsewhere."""
        if self.adamw_lr is None:
            return super().configure_optimizers()
        self.initial_lr, self.weight_decay = self.adamw_lr, self.adamw_weight_decay
        optimizer = torch.optim.AdamW(self.network.parameters(), self.initial_lr, weight_decay=self.weight_decay)
        return optimizer, PolyLRScheduler(optimizer, self.initial_lr, self.num_epochs)

    def set_deep_supervision_enabled(self, enabled: bool) -> None:
        """There is one output."""


class Padded(nn.Module):
    """A network that takes crops of any size: padded with zeros to a multiple, and cut back.

    Args:
        network: from (B, C, Z, Y, X) to (B, P, Z, Y, X).
        multiple: of Z, Y and X.
    """

    def __init__(self, network: nn.Module, multiple: int) -> None:
        super().__init__()
        self.network, self.multiple = network, multiple

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, Z, Y, X) to (B, P, Z, Y, X)."""
        z, y, x_size = x.shape[2:]
        missing = [-size % self.multiple for size in (x_size, y, z)]
        padded = F.pad(x, [part for size in missing for part in (0, size)])
        return self.network(padded)[..., :z, :y, :x_size]
