"""The recipe that makes a few minutes count, for any network that nnU-Net trains.

Beside nnU-Net's own training: an optimiser with a warm-up, CT augmented in HU, mirrors only where anatomy allows them,
bfloat16 on a CPU that multiplies it natively, seeds that repeat a training, steps without a finite gradient skipped.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import numpy as np
import torch
from batchgeneratorsv2.transforms.base.basic_transform import BasicTransform
from batchgeneratorsv2.transforms.utils.compose import ComposeTransforms
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from torch import Tensor

from nnunetv2_cfseg.nnunet.cfseg_section import CFSegSection
from nnunetv2_cfseg.trainers.guarded import GuardedTrainer
from nnunetv2_cfseg.trainers.hounsfield_transform import HounsfieldJitter, without_unitless_intensity
from nnunetv2_cfseg.trainers.one_sentence import one_sentence
from nnunetv2_cfseg.trainers.optimization import WarmupPolyLR
from nnunetv2_cfseg.trainers.seed import disable_blur_autotuning, read_seed, seed_everything


class RecipeTrainer(GuardedTrainer):
    """Trains with the recipe; name it before the trainer it is mixed into.

    A subclass says how its network is updated (:meth:`build_optimizer`), which axes are mirrored
    (:meth:`mirror_axes`), through which windows each channel is seen (:meth:`window_channels`) and what the loss of a
    batch is (:meth:`loss_of`).
    """

    #: The ``cfseg`` section of the plans; None for plans without one.
    section: CFSegSection | None
    peak_lr = 1e-3
    recipe_weight_decay = 1e-2
    warmup_share = 0.03
    max_gradient_norm = 1.0

    def __init__(self, plans: dict, configuration: str, fold: int, dataset_json: dict,
                 device: torch.device = torch.device("cuda")) -> None:  # fmt: skip
        with one_sentence():
            self._seed = read_seed()
        super().__init__(plans, configuration, fold, dataset_json, device)
        self.initial_lr = self.peak_lr
        self.weight_decay = self.recipe_weight_decay
        self.save_every = 10
        self._iteration = self._skipped_steps = 0

    def build_optimizer(self) -> torch.optim.Optimizer:
        """Return the optimiser of the network's weights."""
        raise NotImplementedError

    def mirror_axes(self) -> tuple[int, ...] | None:
        """Axes along which training mirrors and prediction may; None for nnU-Net's own choice."""
        raise NotImplementedError

    def window_channels(self) -> Sequence[dict[str, Any] | None] | None:
        """The windows of each channel, None for one that is not CT; None if there are no windows at all."""
        raise NotImplementedError

    def hounsfield_statistics(self) -> list[tuple[float, float]] | None:
        """For each channel the mean and std in HU that undo its normalisation.

        None, to leave nnU-Net's intensities, unless all channels have windows and the plans let HU be changed.
        """
        channels = self.window_channels()
        if channels is None or not all(channels) or self.section is None or not self.section.hounsfield_jitter:
            return None
        return [(channel["mean"], channel["std"]) for channel in channels if channel]

    def loss_of(self, batch: dict) -> Tensor:
        """The loss of a batch, with a gradient."""
        raise NotImplementedError

    def initialize(self) -> None:
        """Set the seed, if there is one, then do nnU-Net's initialisation."""
        if self._seed is not None:
            seed_everything(self._seed)
        super().initialize()

    def configure_optimizers(self, stage: str = "") -> tuple[torch.optim.Optimizer, WarmupPolyLR]:
        """The optimiser, with a warm-up before nnU-Net's schedule; ``stage`` is Primus' and means nothing here."""
        optimizer = self.build_optimizer()
        return optimizer, WarmupPolyLR(optimizer, self.initial_lr, self.num_epochs, warmup_share=self.warmup_share)

    def configure_rotation_dummyDA_mirroring_and_inital_patch_size(self) -> tuple[Any, bool, Any, tuple[int, ...]]:
        """nnU-Net's settings, with mirroring only along the axes that are allowed."""
        rotation, dummy_2d, initial_crop, stock = super().configure_rotation_dummyDA_mirroring_and_inital_patch_size()
        axes = self.mirror_axes()
        if axes is None:
            return rotation, dummy_2d, initial_crop, stock
        # nnU-Net's predictor takes None, not an empty tuple, for no mirroring at test time.
        self.inference_allowed_mirroring_axes = axes or None
        return rotation, dummy_2d, initial_crop, axes

    def get_training_transforms(self, *args: Any, **kwargs: Any) -> BasicTransform:
        """nnU-Net's augmentation of a crop, with intensity changed in HU."""
        augmentation = cast(ComposeTransforms, nnUNetTrainer.get_training_transforms(*args, **kwargs))
        if self._seed is not None:
            disable_blur_autotuning(augmentation.transforms)
        if statistics := self.hounsfield_statistics():
            means, stds = zip(*statistics, strict=True)
            augmentation.transforms = without_unitless_intensity(augmentation.transforms)
            augmentation.transforms.append(HounsfieldJitter(means, stds))
        return augmentation

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
        """One optimiser step.

        Raises:
            ValueError: the batch holds a label that the dataset does not have.
        """
        for labels in self.labels_of(batch):
            self._check_labels(labels)
        self.lr_scheduler.step(self.schedule_position())
        self._iteration += 1

        self.optimizer.zero_grad(set_to_none=True)
        loss = self.loss_of(batch)
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
        target = batch["target"]
        return [target[0] if isinstance(target, list) else target]

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

    def _check_labels(self, target: Tensor) -> None:
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
