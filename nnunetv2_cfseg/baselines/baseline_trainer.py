"""What all baselines share: nnU-Net's trainer around a network of another library."""

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

    A subclass defines :meth:`make_network`; nnU-Net's commands find it by name once a module of ``nnunet_ext`` imports
    it. Import the library in :meth:`make_network`, since nnU-Net imports every trainer to find one.
    """

    #: Modules that :meth:`make_network` imports, so that ``cfseg benchmark`` can say beforehand what is not installed.
    libraries: ClassVar[tuple[str, ...]] = ()
    #: Input sizes must be multiples of this many voxels along each axis; crops are padded to it.
    multiple: ClassVar[int] = 1
    #: AdamW's learning rate; None for nnU-Net's own SGD.
    adamw_lr: ClassVar[float | None] = None
    adamw_weight_decay: ClassVar[float] = 1e-5

    def __init__(self, plans: dict, configuration: str, fold: int, dataset_json: dict,
                 device: torch.device = torch.device("cuda")) -> None:  # fmt: skip
        super().__init__(plans, configuration, fold, dataset_json, device)
        self.enable_deep_supervision = False

    @staticmethod
    @abstractmethod
    def make_network(input_channels: int, heads: int, crop: tuple[int, int, int]) -> nn.Module:
        """Make the network.

        Args:
            input_channels: channels of an image.
            heads: logits per voxel.
            crop: size of its input in voxels along z, y, x, multiples of ``multiple``.

        Returns:
            A network from (B, input_channels, *crop) to logits (B, heads, *crop), without a softmax.
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
        """Make the network, padded to ``multiple``, for training and for nnU-Net's prediction.

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
        """nnU-Net's SGD, or AdamW with nnU-Net's schedule if ``adamw_lr`` is set, as in the network's own paper."""
        if self.adamw_lr is None:
            return super().configure_optimizers()
        self.initial_lr, self.weight_decay = self.adamw_lr, self.adamw_weight_decay
        optimizer = torch.optim.AdamW(self.network.parameters(), self.initial_lr, weight_decay=self.weight_decay)
        return optimizer, PolyLRScheduler(optimizer, self.initial_lr, self.num_epochs)

    def set_deep_supervision_enabled(self, enabled: bool) -> None:
        """Do nothing, as the networks have a single output."""


class Padded(nn.Module):
    """Makes a network accept crops of any size, by padding with zeros to a multiple and cropping the output.

    Args:
        network: from (B, C, Z, Y, X) to (B, P, Z, Y, X).
        multiple: that Z, Y and X are padded to.
    """

    def __init__(self, network: nn.Module, multiple: int) -> None:
        super().__init__()
        self.network, self.multiple = network, multiple

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, Z, Y, X) to logits (B, P, Z, Y, X)."""
        z, y, x_size = x.shape[2:]
        missing = [-size % self.multiple for size in (x_size, y, z)]
        padded = F.pad(x, [part for size in missing for part in (0, size)])
        return self.network(padded)[..., :z, :y, :x_size]
