"""``ThinThickPlanner``: plans for pairs of thin and thick slices, named ``nnUNetThinThickPlans``."""

from __future__ import annotations

from dataclasses import asdict
from math import gcd, sqrt
from pathlib import Path
from typing import Any

import numpy as np

from nnunetv2_cfseg.data.pairing.sidecar import read_pairing
from nnunetv2_cfseg.losses.thin_thick import ThinThickSettings
from nnunetv2_cfseg.networks.patches import Size3, as_size3
from nnunetv2_cfseg.nnunet.cfseg_section import CFSegSection
from nnunetv2_cfseg.planners.cfseg_planner import CFSegPlanner

THIN_THICK_PLANS_NAME = "nnUNetThinThickPlans"
THICK = "3d_thick"
#: Largest patch in the plane; with coarse voxels and deep slabs, patches would be larger than the structures.
LARGEST_PATCH_MM = 24.0


class ThinThickPlanner(CFSegPlanner):
    """Plans ``3d_fullres`` for thin slices and ``3d_thick`` for thick ones, for the same network.

    The slice distance is that of the scans: preprocessing does not resample along z, so that slabs stay whole. A patch
    has the same number of voxels in both, so a thick token covers exactly ``factor`` thin ones.

    Raises:
        ValueError: as for :class:`~.cfseg_planner.CFSegPlanner`, or the dataset has no ``thin_thick.json``.
    """

    def __init__(
        self,
        dataset_name_or_id: str | int,
        gpu_memory_target_in_gb: float = 8,
        preprocessor_name: str = "DefaultPreprocessor",
        plans_name: str = THIN_THICK_PLANS_NAME,
        overwrite_target_spacing: list[float] | tuple[float, ...] | None = None,
        suppress_transpose: bool = True,
    ) -> None:
        # nnU-Net would put the axis of the largest spacing first; slabs need the slice axis there.
        super().__init__(
            dataset_name_or_id,
            gpu_memory_target_in_gb,
            preprocessor_name,
            plans_name,
            overwrite_target_spacing,
            suppress_transpose=True,
        )
        self.factor, self.threshold = read_pairing(Path(self.raw_dataset_folder))
        self.lowres_creation_threshold = 0.0  # at a lower resolution a slab would not be whole slices

    def determine_fullres_target_spacing(self) -> np.ndarray:
        """nnU-Net's spacing in the plane, and the scans' median distance between slices, in mm."""
        spacing_mm = np.array(super().determine_fullres_target_spacing(), dtype=float)
        spacing_mm[0] = np.median(np.vstack(self.dataset_fingerprint["spacings"])[:, 0])
        return spacing_mm

    def choose_patch(self, spacing_mm: np.ndarray) -> Size3:
        """Choose a patch as much too shallow on thin slices as too deep on thick ones; a centre is whole slabs."""
        z, y, x = spacing_mm
        depth, *in_plane = super().choose_patch(np.array([z * sqrt(self.factor), y, x]))
        if "patch_size" not in self.preset:
            in_plane = [min(n, max(1, round(LARGEST_PATCH_MM / mm))) for n, mm in zip(in_plane, (y, x), strict=True)]
        center = as_size3(self.preset.get("center_patches", 1), "center_patches")[0]
        step = self.factor // gcd(self.factor, center)
        return max(1, round(depth / step)) * step, in_plane[0], in_plane[1]

    def choose_crop(
        self,
        spacing_mm: np.ndarray,
        median_shape: np.ndarray,
        *,
        center_size: Size3,
        block_size: Size3,
        max_voxels: int,
    ) -> Size3:
        """Choose the crop on the thick grid, as whole thick centres, of which most scans have few along z."""
        z, y, x = spacing_mm
        # Rounded down: a thick centre that scans do not fill would be partly padding.
        slices = max(1, median_shape[0] // self.factor // center_size[0]) * center_size[0]
        depth, height, width = super().choose_crop(
            np.array([z * self.factor, y, x]),
            np.array([slices, *median_shape[1:]]),
            center_size=center_size,
            block_size=block_size,
            max_voxels=max_voxels // self.factor,
        )
        return depth * self.factor, height, width

    def training_section(self, blocks: int) -> CFSegSection:
        """The section with ``thin_thick``, which ``nnUNetTrainerCFSegThinThick`` reads."""
        section = super().training_section(blocks).to_plans()
        section["blocks_per_crop"] = max(section["blocks_per_crop"], 1 + self.factor)
        pairs = {"factor": self.factor, "threshold": self.threshold, "loss": asdict(ThinThickSettings())}
        return CFSegSection.planned(**section, thin_thick=pairs)

    def save_plans(self, plans: dict[str, Any]) -> None:
        """Save the plans with ``3d_thick``, the configuration for thick slices."""
        thin = plans["configurations"]["3d_fullres"]
        depth, height, width = thin["patch_size"]
        network = thin["architecture"]["arch_kwargs"]
        block_depth = as_size3(network["block_patches"], "block_patches")[0] * network["patch_size"][0]
        z, y, x = (float(mm) for mm in thin["spacing"])
        slices, *in_plane = (float(n) for n in thin["median_image_size_in_voxels"])
        plans["configurations"][THICK] = {
            "inherits_from": "3d_fullres",
            "data_identifier": f"{self.plans_identifier}_{THICK}",
            "spacing": [z * self.factor, y, x],
            "median_image_size_in_voxels": [slices / self.factor, *in_plane],
            "patch_size": [max(block_depth, depth // self.factor), height, width],
        }
        super().save_plans(plans)
