"""``nnUNetTrainerCFSegThinThick``: thin slices learn from the annotations of thick ones.

Gang 2025 (arXiv 2502.05396), section 3.6. A crop of thin slices is augmented in the plane, its average over slabs is
the thick scan, and the network sees blocks of both. The labels are those of the thick slices. The terms of the
loss are explained in :mod:`nnunetv2_cfseg.losses.thin_thick`.

Shapes: B crops, r thin slices in a thick one, K classes or regions, R channels of the target, E features; blocks of a
crop are counted as in :class:`~nnunetv2_cfseg.trainers.sample_slab_blocks.SlabBlocks`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from batchgeneratorsv2.transforms.base.basic_transform import BasicTransform
from nnunetv2.configuration import default_num_processes
from nnunetv2.training.data_augmentation.compute_initial_patch_size import get_patch_size
from torch import Tensor

from nnunetv2_cfseg.losses import LabelSpace, ThinThickLoss
from nnunetv2_cfseg.losses.thin_thick import ThinThickSettings
from nnunetv2_cfseg.nnunet.cfseg_section import CFSegSection
from nnunetv2_cfseg.nnunet.plans import resolve
from nnunetv2_cfseg.trainers.cfseg import nnUNetTrainerCFSeg
from nnunetv2_cfseg.trainers.export_thick_model import write_thick_model
from nnunetv2_cfseg.trainers.one_sentence import one_sentence
from nnunetv2_cfseg.trainers.optimization import mixed_precision
from nnunetv2_cfseg.trainers.plans import block_sampling
from nnunetv2_cfseg.trainers.sample_slab_blocks import SampleSlabBlocks, SlabBlocks, SlabTargets
from nnunetv2_cfseg.trainers.thin_thick_plans import count_blocks, thin_thick_section
from nnunetv2_cfseg.trainers.thin_validation import validate_on_thin


class nnUNetTrainerCFSegThinThick(nnUNetTrainerCFSeg):
    """Trains from plans made by ``ThinThickPlanner``, and ends with a model for thin and one for thick slices."""

    #: Largest rotation in the plane, in radians to either side; nnU-Net's augmentation of slices uses any angle.
    rotation = np.pi / 6

    def __init__(self, plans: dict, configuration: str, fold: int, dataset_json: dict,
                 device: torch.device = torch.device("cuda")) -> None:  # fmt: skip
        with one_sentence():
            planned = resolve(plans, configuration, "the plans")
            section = thin_thick_section(planned, trainer=type(self).__name__)
            self.loss_settings = ThinThickSettings.from_plans(section.loss)
            blocks_per_crop = block_sampling(CFSegSection.from_plans(planned)).blocks_per_crop
            self.blocks = count_blocks(blocks_per_crop, section, self.loss_settings)
        super().__init__(plans, configuration, fold, dataset_json, device)
        self.factor: int = section.factor
        self.threshold: float = section.threshold
        self._terms: dict[str, list[Tensor]] = defaultdict(list)
        self._loss_state: dict[str, Tensor] | None = None

    def on_train_start(self) -> None:
        """Start nnU-Net's training, then make the thin-thick loss; validation keeps using nnU-Net's loss."""
        super().on_train_start()
        self.thin_thick_loss = ThinThickLoss(
            self.loss_settings,
            factor=self.factor,
            threshold=self.threshold,
            labels=LabelSpace(self.label_manager.has_regions, self.label_manager.ignore_label),
            batch_dice=self.configuration_manager.batch_dice,
            class_counts=self._class_counts() if self.loss_settings.balance != "none" else None,
        ).to(self.device)
        if self._loss_state is not None:
            self._load_loss(self._loss_state)

    def training_state(self) -> dict[str, Any]:
        """The state plus the loss's own, under ``loss``; in a distributed training that of the first process."""
        state = {name: value.cpu() for name, value in self.thin_thick_loss.state_dict().items()}
        return {**super().training_state(), "loss": state}

    def load_training_state(self, state: dict[str, Any]) -> None:
        """Restore the state; the loss's own part is loaded once training starts and the loss exists."""
        super().load_training_state(state)
        self._loss_state = state.get("loss", {})

    def _load_loss(self, state: dict[str, Tensor]) -> None:
        left = self.thin_thick_loss.load_state_dict(state, strict=False)
        if left.missing_keys:
            self.print_to_log_file(f"WARNING: the checkpoint has no {', '.join(left.missing_keys)}: begins anew")
        if left.unexpected_keys:
            self.print_to_log_file(
                f"WARNING: the checkpoint's {', '.join(left.unexpected_keys)} are ignored: this loss has none"
            )

    def _class_counts(self) -> list[int] | list[list[int]]:
        """Voxels of each class, background first, or those outside and inside each region, in the training cases."""
        dataset, _ = self.get_tr_and_val_datasets()
        segmentations = (np.asarray(dataset.load_case(case)[1][:]) for case in dataset.identifiers)
        if not self.label_manager.has_regions:
            return count_classes(segmentations, self.label_manager.all_labels)
        everything, *inside = count_classes(
            segmentations, [self.label_manager.all_labels, *self.label_manager.foreground_regions]
        )
        return [[everything - voxels, voxels] for voxels in inside]

    def configure_rotation_dummyDA_mirroring_and_inital_patch_size(self) -> tuple[Any, bool, Any, tuple[int, ...]]:
        """Restrict augmentation to the plane, so that a slice never leaves its slab."""
        _, _, _, axes = super().configure_rotation_dummyDA_mirroring_and_inital_patch_size()
        rotation = (-self.rotation, self.rotation)
        crop = self.configuration_manager.patch_size
        initial_crop = get_patch_size(crop, rotation, (0, 0), (0, 0), (0.85, 1.25))
        initial_crop[0] = crop[0]
        return rotation, True, initial_crop, axes

    def crop_factor(self) -> int:
        """Slices in a slab: crops start at a slab's first slice."""
        return self.factor

    def sample_blocks(self) -> BasicTransform:
        """Return the last step of the augmentation, which turns a crop into thick and thin blocks."""
        network = self.block_center_network()
        return SampleSlabBlocks(
            block_sampling(self.section),
            blocks=self.blocks,
            block_size=network.block_size,
            center_size=network.center_size,
            factor=self.factor,
            ignore_label=self.label_manager.ignore_label,
            foreground_range=self.foreground_range(),
            beyond_scan=network.beyond_scan,
        )

    def labels_of(self, batch: dict) -> list[Tensor]:
        """Label tensors of thick blocks and of the slabs of thin blocks."""
        targets = SlabTargets(*batch["target"])
        return [targets.thick, targets.slabs]

    def loss_on_centers(self, batch: dict) -> Tensor:
        """The loss of a batch from :class:`~nnunetv2_cfseg.trainers.sample_slab_blocks.SampleSlabBlocks`.

        Args:
            batch: ``data`` (B, blocks, C, *block_size) and ``target``, the list of a
                :class:`~nnunetv2_cfseg.trainers.sample_slab_blocks.SlabTargets` of all crops.
        """
        data = batch["data"].to(self.device, non_blocking=True)
        targets = SlabTargets(*(x.to(self.device, non_blocking=True).flatten(0, 1) for x in batch["target"]))
        with mixed_precision(self.device):
            logits, features = self.network(data.flatten(0, 1), centers_only=True, with_features=True)
        # Within a crop, the kinds of blocks follow one another.
        logits, features = (values.float().unflatten(0, data.shape[:2]) for values in (logits, features))
        terms = self.loss_terms(logits, features, targets)
        total = self.thin_thick_loss.total(terms)
        for name, value in {**terms, "total": total}.items():
            self._terms[name].append(value.detach())
        return total

    def loss_terms(self, logits: Tensor, features: Tensor, targets: SlabTargets) -> dict[str, Tensor]:
        """The unweighted terms of the loss.

        Args:
            logits: (B, blocks, K, c_z, c_y, c_x).
            features: (B, blocks, E, d, y, x).
            targets: labels of all crops, one after another along the first axis.
        """
        loss, first_thin = self.thin_thick_loss, self.blocks.columns + self.blocks.thick
        thick_logits, thin_logits = logits[:, :first_thin].flatten(0, 1), logits[:, first_thin:].flatten(0, 1)
        thick_features, thin_features = column_features(features, self.blocks, self.factor)
        progress = min(1.0, self.schedule_position() / self.num_epochs)
        return {
            **loss.thick_terms(thick_logits, targets.thick),
            **loss.feature_terms(thick=thick_features, thin=thin_features),
            **loss.thin_terms(thin_logits, targets.slabs, offset=targets.offset, progress=progress),
        }

    def on_train_epoch_end(self, train_outputs: list[dict]) -> None:
        """End nnU-Net's epoch and log each term's mean."""
        super().on_train_epoch_end(train_outputs)
        means = {name: float(torch.stack(values).mean()) for name, values in self._terms.items()}
        self._terms.clear()
        self.print_to_log_file(*(f"{name} {mean:.4f}" for name, mean in means.items()))

    def validate(self, save_probabilities: bool) -> None:
        """Do nnU-Net's validation against the thick labels, then against thin labels if the raw dataset has any."""
        super().validate(save_probabilities)
        if self.local_rank != 0:
            return
        metrics = validate_on_thin(
            self.plans_manager.dataset_name,
            Path(self.output_folder, "validation"),
            reader_writer=self.plans_manager.image_reader_writer_class(),
            file_ending=self.dataset_json["file_ending"],
            labels=self.label_manager,
            num_processes=default_num_processes,
        )
        if metrics:
            self.print_to_log_file("Mean Validation Dice against thin labels: ", metrics["foreground_mean"]["Dice"])

    def on_train_end(self) -> None:
        """End nnU-Net's training, then write the same weights as a model for thick slices."""
        super().on_train_end()
        if self.local_rank == 0:
            thick = write_thick_model(self.output_folder)
            self.print_to_log_file(f"The model for thick slices is {thick}")


def count_classes(segmentations: Iterable[np.ndarray], classes: Sequence[int | Sequence[int]]) -> list[int]:
    """Voxels of each label, or of each region, over all segmentations."""
    counts = np.zeros(len(classes), dtype=np.int64)
    for segmentation in segmentations:
        counts += [int(np.isin(segmentation, values).sum()) for values in classes]
    return counts.tolist()


def column_features(features: Tensor, blocks: SlabBlocks, factor: int) -> tuple[Tensor, Tensor]:
    """Features of the columns' thick blocks, and of their thin blocks stacked along z.

    Args:
        features: (B, blocks, E, d, y, x).
        blocks: how many blocks of each kind.
        factor: r.

    Returns:
        Thick (B columns, E, d, y, x) and thin (B columns, E, r d, y, x).
    """
    thick = blocks.columns + blocks.thick
    thin = features[:, thick : thick + blocks.columns * factor].unflatten(1, (blocks.columns, factor))
    stacked = thin.transpose(2, 3).flatten(3, 4)  # (B, columns, r, E, d, ...) -> (B, columns, E, r d, ...)
    return features[:, : blocks.columns].flatten(0, 1), stacked.flatten(0, 1)
