"""``nnUNetTrainerCFSeg``: nnU-Net's trainer for the block-centre transformer.

It differs from nnU-Net's own trainer: every crop becomes a few blocks and the loss is computed on their centres; Muon
and AdamW with a warm-up; no deep supervision; mirroring only where anatomy allows it; atomic checkpoints;
torch.compile only on request.
"""

from __future__ import annotations

import os
from typing import Any, cast

import numpy as np
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
from nnunetv2_cfseg.trainers.crop_loader import crop_loaders
from nnunetv2_cfseg.trainers.guarded import GuardedTrainer
from nnunetv2_cfseg.trainers.hounsfield_transform import HounsfieldJitter, without_unitless_intensity
from nnunetv2_cfseg.trainers.one_sentence import one_sentence
from nnunetv2_cfseg.trainers.optimization import WarmupPolyLR, build_optimizer, mixed_precision
from nnunetv2_cfseg.trainers.plans import (
    block_sampling,
    check_batch_size,
    check_plans,
    foreground_range,
    foreground_statistics,
)
from nnunetv2_cfseg.trainers.sample_blocks import SampleBlocks
from nnunetv2_cfseg.trainers.seed import disable_blur_autotuning, read_seed, seed_everything
from nnunetv2_cfseg.trainers.storage_order import warn_of_other_orders


class nnUNetTrainerCFSeg(GuardedTrainer, nnUNetTrainer):
    """Trains :class:`~nnunetv2_cfseg.networks.BlockCenterTransformer` from plans made by ``CFSegPlanner``."""

    warmup_share = 0.03
    max_gradient_norm = 1.0

    def __init__(self, plans: dict, configuration: str, fold: int, dataset_json: dict,
                 device: torch.device = torch.device("cuda")) -> None:  # fmt: skip
        # Bad input is refused before nnU-Net's constructor makes a folder and a log.
        with one_sentence():
            self._seed = read_seed()
            planned = resolve(plans, configuration, "the plans")
            check_plans(planned, trainer=type(self).__name__)
            check_batch_size(planned)
            self.section = CFSegSection.from_plans(planned)
            block_sampling(self.section)
        super().__init__(plans, configuration, fold, dataset_json, device)
        self.enable_deep_supervision = False
        self.initial_lr = 2e-3
        self.weight_decay = 1e-2
        self.save_every = 10
        self._iteration = self._skipped_steps = 0

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

    def initialize(self) -> None:
        """Set the seed, if there is one, then do nnU-Net's initialisation."""
        if self._seed is not None:
            seed_everything(self._seed)
        super().initialize()

    def _do_i_compile(self) -> bool:
        """Compile only if ``nnUNet_compile`` asks for it; nnU-Net compiles on every GPU unless the variable forbids it.

        Two compiled trainings on a GPU never finished. The problem does not show on a CPU, where nnU-Net never
        compiles: there inductor takes a minute (58 to 65 s for the smallest network, 73 s for the largest, one core),
        nothing is recompiled after the first step, and a step then takes 15 % less time. The gain on a GPU has not been
        measured: of a step's 28 ms there, Muon, which is not compiled, takes 13.
        """
        return "nnUNet_compile" in os.environ and bool(super()._do_i_compile())

    def configure_optimizers(self) -> tuple[torch.optim.Optimizer, WarmupPolyLR]:
        """Muon and AdamW, with a warm-up before nnU-Net's schedule."""
        optimizer = build_optimizer(self.block_center_network(), lr=self.initial_lr, weight_decay=self.weight_decay)
        return optimizer, WarmupPolyLR(optimizer, self.initial_lr, self.num_epochs, warmup_share=self.warmup_share)

    def configure_rotation_dummyDA_mirroring_and_inital_patch_size(self) -> tuple[Any, bool, Any, tuple[int, ...]]:
        """nnU-Net's settings, with mirroring only along the axes that the plans allow."""
        rotation, dummy_2d, initial_crop, _ = super().configure_rotation_dummyDA_mirroring_and_inital_patch_size()
        axes = self.section.mirror_axes
        # nnU-Net's predictor takes None, not an empty tuple, for no mirroring at test time.
        self.inference_allowed_mirroring_axes = axes or None
        return rotation, dummy_2d, initial_crop, axes

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
        """nnU-Net's augmentation of a crop, then blocks drawn from it."""
        augmentation = cast(ComposeTransforms, nnUNetTrainer.get_training_transforms(*args, **kwargs))
        if self._seed is not None:
            disable_blur_autotuning(augmentation.transforms)
        network = self.block_center_network()
        if network.beyond_scan.mode != "mean":
            augmentation.transforms = continue_in_augmentation(augmentation.transforms)
        ct = [channel for channel in network.windows.channels if channel]
        if self.section.hounsfield_jitter and len(ct) == network.input_channels:
            augmentation.transforms = without_unitless_intensity(augmentation.transforms)
            augmentation.transforms.append(HounsfieldJitter([c["mean"] for c in ct], [c["std"] for c in ct]))
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

    def on_train_epoch_start(self) -> None:
        """Start nnU-Net's epoch; a seeded run reseeds every epoch, so ``--c`` repeats the epochs it continues with."""
        if self._seed is not None:
            seed_everything(self._seed + 1000 * (self.current_epoch + 1) + self.local_rank)
        super().on_train_epoch_start()
        self._iteration = self._skipped_steps = 0

    def schedule_position(self) -> float:
        """Position in the learning-rate schedule, in epochs."""
        return self.current_epoch + self._iteration / self.num_iterations_per_epoch

    def train_step(self, batch: dict) -> dict:
        """One optimiser step on the centres of the batch's blocks.

        Raises:
            ValueError: the batch holds a label that the dataset does not have.
        """
        for labels in self.labels_of(batch):
            self._check_labels(labels)
        self.lr_scheduler.step(self.schedule_position())
        self._iteration += 1

        self.optimizer.zero_grad(set_to_none=True)
        loss = self.loss_on_centers(batch)
        if self.grad_scaler is None:
            loss.backward()
            if bool(self._clip_gradients().isfinite()):
                self.optimizer.step()
            else:
                self._skipped_steps += 1
        else:
            self.grad_scaler.scale(loss).backward()
            self.grad_scaler.unscale_(self.optimizer)
            self._clip_gradients()
            self.grad_scaler.step(self.optimizer)
            self.grad_scaler.update()
        return {"loss": loss.detach().cpu().numpy()}

    def labels_of(self, batch: dict) -> list[Tensor]:
        """All label tensors in a batch."""
        return [batch["target"]]

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

    def on_train_epoch_end(self, train_outputs: list[dict]) -> None:
        """End nnU-Net's epoch and log how many steps were skipped (only without a gradient scaler, which is silent)."""
        super().on_train_epoch_end(train_outputs)
        if self._skipped_steps:
            self.print_to_log_file(
                f"WARNING: {self._skipped_steps} steps of this epoch were skipped: their gradients were not finite"
            )

    def _clip_gradients(self) -> Tensor:
        """Clip the gradients; returns their norm before clipping."""
        return torch.nn.utils.clip_grad_norm_(self.network.parameters(), self.max_gradient_norm)

    def _check_labels(self, target: torch.Tensor) -> None:
        """Check labels while they are on the CPU: on a GPU a wrong label ends in a device assert."""
        if self.label_manager.has_regions or not target.numel():
            return
        known = [int(label) for label in self.label_manager.all_labels]
        if self.label_manager.ignore_label is not None:
            known.append(int(self.label_manager.ignore_label))
        if int(target.min()) < 0 or int(target.max()) > max(known):
            raise ValueError(
                f"unknown labels {np.setdiff1d(target.numpy(), known).tolist()} in the preprocessed data of "
                f"{self.plans_manager.dataset_name}; labels must be those of dataset.json, {known}"
            )
