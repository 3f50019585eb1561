"""``CFSegPlanner``: plans for the block-centre transformer, named ``nnUNetCFSegPlans``."""

from __future__ import annotations

import os
import shutil
from contextlib import redirect_stdout
from dataclasses import dataclass
from functools import cached_property
from io import StringIO
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from nnunetv2.experiment_planning.experiment_planners.default_experiment_planner import ExperimentPlanner
from nnunetv2.paths import nnUNet_preprocessed
from nnunetv2.preprocessing.resampling.resample_torch import resample_torch_fornnunet

from nnunetv2_cfseg.networks.patches import Size3, as_size3
from nnunetv2_cfseg.networks.presets import preset
from nnunetv2_cfseg.networks.windows import WINDOWS_HU
from nnunetv2_cfseg.nnunet.cfseg_section import SECTION, CFSegSection
from nnunetv2_cfseg.nnunet.plans import NETWORK_CLASS
from nnunetv2_cfseg.planners.geometry import choose_crop, choose_patch_size
from nnunetv2_cfseg.planners.memory import estimate_step_bytes
from nnunetv2_cfseg.planners.sides import describe_sides, sided_names
from nnunetv2_cfseg.planners.storage_order import storage_order

PLANS_NAME = "nnUNetCFSegPlans"
#: CT scanners store -1024 to 3071 HU (12 bit); real files also hold rescaled metal far above.
CT_RANGE_HU = (-1024.0, 3071.0)
#: Tokens of a 3 x 3 x 3 block; work is counted in tokens, since larger blocks cost more.
TOKENS_A_BLOCK = 27
FEWEST_TOKENS = 32 * TOKENS_A_BLOCK
#: Voxels of nnU-Net's own 3d_fullres crop at its default memory target.
NNUNET_CROP_VOXELS = 128**3


@dataclass(frozen=True)
class Size:
    """A size of network and the work of a step: ``blocks`` blocks of 3 x 3 x 3 patches, or as many tokens."""

    at_least_gb: float
    embed_dim: int
    depth: int
    num_heads: int
    blocks: int
    crop_voxels: int


#: Sizes to choose from by the memory target, largest first. Only the last was tuned, on two CPU cores.
SIZES = (
    Size(16, 384, 8, 12, 1024, 128**3),
    Size(6, 256, 6, 8, 512, 112**3),
    Size(2, 192, 4, 6, 256, 96**3),
    Size(0, 128, 3, 4, 96, 48**3),
)


class CFSegPlanner(ExperimentPlanner):
    """Chooses patch, block, network, crop and batch from nnU-Net's fingerprint and a memory target.

    Args:
        preset_name: of :mod:`nnunetv2_cfseg.networks.presets`.

    Raises:
        ValueError: the preset is unknown, or the memory target is not above 0.
    """

    preset_name = "default"
    patch_voxels = 216
    batch_size = 2

    def __init__(
        self,
        dataset_name_or_id: str | int,
        gpu_memory_target_in_gb: float = 8,
        preprocessor_name: str = "DefaultPreprocessor",
        plans_name: str = PLANS_NAME,
        overwrite_target_spacing: list[float] | tuple[float, ...] | None = None,
        suppress_transpose: bool = False,
    ) -> None:
        self.preset = preset(self.preset_name)
        if not gpu_memory_target_in_gb > 0:
            raise ValueError(f"-gpu_memory_target must be > 0 GB, got {gpu_memory_target_in_gb:g} GB")
        super().__init__(
            dataset_name_or_id,
            gpu_memory_target_in_gb,
            preprocessor_name,
            plans_name,
            overwrite_target_spacing,
            suppress_transpose,
        )
        # nnU-Net adds a lower resolution if its crop covers less than a quarter of a scan. Our crops are smaller, and
        # what a block sees does not depend on them: scale the threshold so that the same scans get one.
        crop_voxels = next(size.crop_voxels for size in SIZES if gpu_memory_target_in_gb >= size.at_least_gb)
        self.lowres_creation_threshold *= crop_voxels / NNUNET_CROP_VOXELS

    def plan_experiment(self) -> dict[str, Any]:
        """nnU-Net's planning without its 2D and cascade configurations.

        Raises:
            ValueError: the scans are single slices, or no network fits the memory target.
        """
        # nnU-Net prints a 2D configuration, which does not exist here.
        with redirect_stdout(StringIO()):
            plans = super().plan_experiment()
        for name, configuration in plans["configurations"].items():
            if configuration.get("architecture", {}).get("network_class_name") == NETWORK_CLASS:
                print(_describe(name, configuration))
        print(describe_sides(self.dataset_json["labels"]))
        return plans

    def get_plans_for_configuration(
        self,
        spacing: np.ndarray,
        median_shape: np.ndarray,
        data_identifier: str,
        approximate_n_voxels_dataset: float,
        _cache: dict,
    ) -> dict[str, Any]:
        """Plan one configuration, with nnU-Net's signature; a 2D one is empty, and `save_plans` drops it."""
        if len(spacing) == 2:
            return {}
        patch = self.choose_patch(spacing)
        arch_kwargs, size, blocks = self._choose_network(patch)
        center = _times(as_size3(arch_kwargs["center_patches"], "center_patches"), patch)
        block = _times(as_size3(arch_kwargs["block_patches"], "block_patches"), patch)
        crop = self.choose_crop(
            spacing, median_shape, center_size=center, block_size=block, max_voxels=size.crop_voxels
        )
        data, data_kwargs, seg, seg_kwargs = self.determine_resampling()
        probabilities, probabilities_kwargs = self.determine_segmentation_softmax_export_fn()
        schemes, use_mask = self.determine_normalization_scheme_and_whether_mask_is_used_for_norm()
        return {
            "data_identifier": data_identifier,
            "preprocessor_name": self.preprocessor_name,
            "batch_size": self.batch_size,
            "patch_size": list(crop),
            "median_image_size_in_voxels": median_shape,
            "spacing": spacing,
            "normalization_schemes": schemes,
            "use_mask_for_norm": use_mask,
            "resampling_fn_data": data.__name__,
            "resampling_fn_seg": seg.__name__,
            "resampling_fn_data_kwargs": data_kwargs,
            "resampling_fn_seg_kwargs": seg_kwargs,
            "resampling_fn_probabilities": probabilities.__name__,
            "resampling_fn_probabilities_kwargs": probabilities_kwargs,
            "architecture": {
                "network_class_name": NETWORK_CLASS,
                "arch_kwargs": arch_kwargs,
                "_kw_requires_import": [],
            },
            SECTION: self.training_section(arch_kwargs, blocks).to_plans(),
        }

    def choose_patch(self, spacing_mm: np.ndarray) -> Size3:
        """Choose w, voxels of a patch along z, y, x."""
        if "patch_size" in self.preset:
            return as_size3(self.preset["patch_size"], "patch_size")
        return choose_patch_size(spacing_mm, self.patch_voxels)

    def choose_crop(
        self,
        spacing_mm: np.ndarray,
        median_shape: np.ndarray,
        *,
        center_size: Size3,
        block_size: Size3,
        max_voxels: int,
    ) -> Size3:
        """Choose the voxels of a crop along z, y, x; sizes are in voxels."""
        return choose_crop(
            spacing_mm, median_shape, center_size=center_size, block_size=block_size, max_voxels=max_voxels
        )

    def training_section(self, arch_kwargs: dict[str, Any], blocks: int) -> CFSegSection:
        """The ``cfseg`` section, which the trainer reads besides nnU-Net's own keys."""
        return CFSegSection.planned(
            preset=self.preset_name,
            blocks_per_crop=blocks // self.batch_size,
            foreground_hu=self._foreground_hu(),
            mirror_axes=self.determine_mirror_axes(),
            storage_order=self.storage_order,
            hounsfield_jitter=arch_kwargs["windows"] is not None and all(self._ct_channels()),
        )

    def _foreground_hu(self) -> list[float] | None:
        """Lower and upper HU of nearly all foreground; None if the first channel is not CT."""
        if not self._ct_channels()[0]:
            return None
        properties = self.dataset_fingerprint["foreground_intensity_properties_per_channel"]["0"]
        return [properties["percentile_00_5"], properties["percentile_99_5"]]

    @cached_property
    def storage_order(self) -> str:
        """Order in which the training images store their axes, such as ``LPS``.

        Raises:
            ValueError: the images have several orders.
        """
        files = [file for case in self.dataset.values() for file in case["images"]]
        return storage_order(files, reader=self.determine_reader_writer().__name__, dataset=self.dataset_name)

    def determine_resampling(self, *args: Any, **kwargs: Any) -> tuple:
        """nnU-Net's resampling with torch, far faster than its default (nnU-Net issue 2912)."""
        return (
            resample_torch_fornnunet,
            {"is_seg": False, "force_separate_z": None, "memefficient_seg_resampling": False},
            resample_torch_fornnunet,
            {"is_seg": True, "force_separate_z": None, "memefficient_seg_resampling": False},
        )

    def determine_segmentation_softmax_export_fn(self, *args: Any, **kwargs: Any) -> tuple:
        """Torch's resampling for probabilities as well."""
        return self.determine_resampling()[:2]

    def determine_mirror_axes(self) -> list[int]:
        """Axes along which a mirrored scan could be another patient's.

        No axis if a label names a side: a mirrored left kidney is a right one, and a network trained to call it left
        can no longer tell the sides apart. For CT only the left-right axis: orientation is known, and position helps
        to identify organs. For other scans all axes, as in nnU-Net.
        """
        if sided_names(self.dataset_json["labels"]):
            return []
        if all(self._ct_channels()):
            forward, _ = self.determine_transpose()
            return [list(forward).index(2)]
        return [0, 1, 2]

    def save_plans(self, plans: dict[str, Any]) -> None:
        """Save nnU-Net's plans without 2D and cascade, and with a wider clip range for CT.

        Raises:
            ValueError: the scans are single slices.
        """
        configurations = plans["configurations"]
        if "3d_fullres" not in configurations:
            raise ValueError(f"the scans of {self.dataset_name} are single slices; CFSegPlanner needs 3D scans")
        for name in ("2d", "3d_cascade_fullres"):
            configurations.pop(name, None)
        for configuration in configurations.values():
            configuration.pop("next_stage", None)
            # The loss is computed on many small centres; Dice only makes sense over all of them together.
            configuration["batch_dice"] = True
        if self.preset["window_names"]:
            plans["foreground_intensity_properties_per_channel"] = {
                channel: {**properties, "percentile_00_5": CT_RANGE_HU[0], "percentile_99_5": CT_RANGE_HU[1]}
                if is_ct
                else properties
                for (channel, properties), is_ct in zip(
                    self.dataset_fingerprint["foreground_intensity_properties_per_channel"].items(),
                    self._ct_channels(),
                    strict=True,
                )
            }
        self._write_plans(plans)

    def _write_plans(self, plans: dict[str, Any]) -> None:
        """Write nnU-Net's file, merged with existing plans, under a hidden name until it is complete."""
        folder, name = Path(str(nnUNet_preprocessed)) / self.dataset_name, str(self.plans_identifier)  # type: ignore[has-type]
        file, hidden = folder / f"{name}.json", folder / f".{name}.{os.getpid()}.json"
        try:
            if file.is_file():
                shutil.copyfile(file, hidden)
            self.plans_identifier = hidden.stem
            super().save_plans(plans)
            os.replace(hidden, file)
        finally:
            self.plans_identifier = name
            hidden.unlink(missing_ok=True)

    def _choose_network(self, patch: Size3) -> tuple[dict[str, Any], Size, int]:
        """Network arguments, size and blocks per step of the largest size whose step fits the memory target."""
        channels, classes = len(self._ct_channels()), len(self.dataset_json["labels"])
        target_bytes = self.UNet_vram_target_GB * 1024**3
        for size in SIZES:
            if self.UNet_vram_target_GB < size.at_least_gb:
                continue
            arch_kwargs = self._arch_kwargs(patch, size)
            tokens = prod(as_size3(arch_kwargs["block_patches"], "block_patches"))
            blocks = max(self.batch_size, size.blocks * TOKENS_A_BLOCK // tokens)
            while blocks * tokens >= FEWEST_TOKENS:
                estimate = estimate_step_bytes(arch_kwargs, input_channels=channels, num_classes=classes, blocks=blocks)
                if estimate <= target_bytes:
                    return arch_kwargs, size, blocks
                blocks //= 2
        raise ValueError(
            f"no network of the preset {self.preset_name!r} trains within a memory target of "
            f"{self.UNet_vram_target_GB} GB; raise -gpu_memory_target"
        )

    def _arch_kwargs(self, patch: Size3, size: Size) -> dict[str, Any]:
        arch_kwargs = {
            "block_patches": 3,
            "embed_dim": size.embed_dim,
            "depth": size.depth,
            "num_heads": size.num_heads,
            "beyond_scan": "edge",
            **self.preset,
            "patch_size": list(patch),
        }
        names = arch_kwargs.pop("window_names")
        arch_kwargs["windows"] = self._windows(names) if names and any(self._ct_channels()) else None
        return arch_kwargs

    def _windows(self, names: list[str]) -> list[dict[str, Any] | None]:
        """For each CT channel its windows, with the mean and std that undo its normalisation; None for others."""
        intensities = self.dataset_fingerprint["foreground_intensity_properties_per_channel"].values()
        return [
            {
                "mean": properties["mean"],
                "std": properties["std"],
                "windows_hu": [list(WINDOWS_HU[name]) for name in names],
            }
            if is_ct
            else None
            for properties, is_ct in zip(intensities, self._ct_channels(), strict=True)
        ]

    def _ct_channels(self) -> list[bool]:
        schemes, _ = self.determine_normalization_scheme_and_whether_mask_is_used_for_norm()
        return [scheme == "CTNormalization" for scheme in schemes]


def _times(a: Size3, b: Size3) -> Size3:
    return a[0] * b[0], a[1] * b[1], a[2] * b[2]


def _describe(name: str, configuration: dict[str, Any]) -> str:
    kwargs, section = configuration["architecture"]["arch_kwargs"], configuration[SECTION]
    spacing_mm = [round(float(s), 2) for s in configuration["spacing"]]
    return (
        f"{name}: spacing {spacing_mm} mm, patch {kwargs['patch_size']}, block {kwargs['block_patches']} and centre "
        f"{kwargs['center_patches']} patches, D {kwargs['embed_dim']}, K {kwargs['depth']}, "
        f"{kwargs['num_heads']} heads; crop {configuration['patch_size']}, batch {configuration['batch_size']} x "
        f"{section['blocks_per_crop']} blocks, mirrored axes {section['mirror_axes']}"
    )
