"""``nnUNetTrainerCFSeg``: nnU-Net's trainer for the block-centre transformer.

It differs from nnU-Net's own trainer by the recipe, and in that every crop becomes a few blocks, on whose centres the
loss is computed, without deep supervision.
"""

from __future__ import annotations

from typing import Any, cast

import torch
from batchgeneratorsv2.transforms.base.basic_transform import BasicTransform
from batchgeneratorsv2.transforms.utils.compose import ComposeTransforms
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from nnunetv2.utilities.plans_handling.plans_handler import ConfigurationManager, PlansManager
from torch import Tensor, nn

from nnunetv2_cfseg.networks import BlockCenterTransformer
from nnunetv2_cfseg.nnunet.cfseg_section import CFSegSection
from nnunetv2_cfseg.nnunet.plans import resolve
from nnunetv2_cfseg.trainers.beyond_scan import ContinueLabels, SetAsideBeyondScan, continue_in_augmentation
from nnunetv2_cfseg.trainers.compile_on_request import CompileOnRequestMixin
from nnunetv2_cfseg.trainers.crop_loader import crop_loaders
from nnunetv2_cfseg.trainers.one_sentence import one_sentence
from nnunetv2_cfseg.trainers.optimization import MuonAdamW, build_optimizer, mixed_precision
from nnunetv2_cfseg.trainers.plans import (
    block_sampling,
    check_batch_size,
    check_plans,
    foreground_range,
    foreground_statistics,
)
from nnunetv2_cfseg.trainers.recipe import RecipeTrainer
from nnunetv2_cfseg.trainers.sample_blocks import SampleBlocks
from nnunetv2_cfseg.trainers.storage_order import warn_of_other_orders


class nnUNetTrainerCFSeg(CompileOnRequestMixin, RecipeTrainer, nnUNetTrainer):
    """Trains :class:`~nnunetv2_cfseg.networks.BlockCenterTransformer` from plans made by ``CFSegPlanner``."""

    section: CFSegSection
    peak_lr = 2e-3

    def __init__(self, plans: dict, configuration: str, fold: int, dataset_json: dict,
                 device: torch.device = torch.device("cuda")) -> None:  # fmt: skip
        # Bad input is refused before nnU-Net's constructor makes a folder and a log.
        with one_sentence():
            planned = resolve(plans, configuration, "the plans")
            check_plans(planned, trainer=type(self).__name__)
            check_batch_size(planned)
            self.section = CFSegSection.from_plans(planned)
            block_sampling(self.section)
        super().__init__(plans, configuration, fold, dataset_json, device)
        self.enable_deep_supervision = False

    @staticmethod
    def build_network_architecture(
        plans_manager: PlansManager,
        configuration_manager: ConfigurationManager,
        num_input_channels: int,
        num_output_channels: int,
        enable_deep_supervision: bool = True,
    ) -> nn.Module:
        """Build the network the plans describe, for training and for nnU-Net's prediction.

        Raises:
            ValueError: the plans describe another network.
        """
        with one_sentence():
            check_plans(configuration_manager.configuration, trainer="nnUNetTrainerCFSeg")
            warn_of_other_orders(plans_manager.plans, configuration_manager.configuration)
            try:
                return nnUNetTrainer.build_network_architecture(
                    plans_manager, configuration_manager, num_input_channels, num_output_channels, False
                )
            except TypeError as error:
                raise ValueError(f"the plans describe a network that this version does not know ({error})") from error

    def build_optimizer(self) -> MuonAdamW:
        """Muon and AdamW."""
        return build_optimizer(self.block_center_network(), lr=self.initial_lr, weight_decay=self.weight_decay)

    def mirror_axes(self) -> tuple[int, ...]:
        """The axes that the plans allow."""
        return self.section.mirror_axes

    def window_channels(self) -> list[dict[str, Any] | None]:
        """The network's windows."""
        return self.block_center_network().windows.channels

    def crop_factor(self) -> int:
        """Slices in a unit: crops start at a multiple of this along z."""
        return 1

    def get_dataloaders(self) -> tuple[Any, Any]:
        """nnU-Net's loaders, with crops continued beyond the scan as the plans say."""
        with crop_loaders(self.block_center_network().beyond_scan, factor=self.crop_factor()):
            return super().get_dataloaders()

    def get_validation_transforms(self, *args: Any, **kwargs: Any) -> BasicTransform:
        """nnU-Net's transforms, with labels continued beyond the scan in the same way as the image."""
        transforms = cast(ComposeTransforms, nnUNetTrainer.get_validation_transforms(*args, **kwargs))
        beyond_scan = self.block_center_network().beyond_scan
        if beyond_scan.mode != "mean":
            transforms.transforms = [SetAsideBeyondScan(), ContinueLabels(beyond_scan), *transforms.transforms]
        return transforms

    def get_training_transforms(self, *args: Any, **kwargs: Any) -> BasicTransform:
        """The recipe's augmentation of a crop, then blocks drawn from it."""
        augmentation = cast(ComposeTransforms, super().get_training_transforms(*args, **kwargs))
        if self.block_center_network().beyond_scan.mode != "mean":
            augmentation.transforms = continue_in_augmentation(augmentation.transforms)
        augmentation.transforms.append(self.sample_blocks())
        return augmentation

    def sample_blocks(self) -> BasicTransform:
        """Return the last step of the augmentation, which turns a crop into blocks."""
        network = self.block_center_network()
        return SampleBlocks(
            block_sampling(self.section),
            block_size=network.block_size,
            center_size=network.center_size,
            ignore_label=self.label_manager.ignore_label,
            foreground_range=self.foreground_range(),
            beyond_scan=network.beyond_scan,
        )

    def foreground_range(self) -> tuple[float, float] | None:
        """Lower and upper normalised value of foreground; None if the plans do not say."""
        return foreground_range(self.section, *foreground_statistics(self.plans_manager.plans))

    def block_center_network(self) -> BlockCenterTransformer:
        """The network itself, without the wrappers of DDP and torch.compile."""
        return cast(BlockCenterTransformer, self.bare_network())

    def loss_of(self, batch: dict) -> Tensor:
        """The loss on the centres of the batch's blocks."""
        return self.loss_on_centers(batch)

    def loss_on_centers(self, batch: dict) -> Tensor:
        """The loss of a batch.

        Args:
            batch: ``data`` (B, M, C, *block_size) and ``target`` (B, M, 1 or R, *center_size).
        """
        blocks = batch["data"].flatten(0, 1).to(self.device, non_blocking=True)
        target = batch["target"].flatten(0, 1).to(self.device, non_blocking=True)
        with mixed_precision(self.device):
            logits = self.network(blocks, centers_only=True)
        # The loss sums over thousands of voxels, and nnU-Net's does so in the precision of its input.
        return self.loss(logits.float(), target)
