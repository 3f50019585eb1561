"""``CFSegPlanner``: plans for the block-centre transformer, named ``nnUNetCFSegPlans``."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import prod
from typing import Any

import numpy as np

from nnunetv2_cfseg.networks.patches import Size3, as_size3
from nnunetv2_cfseg.networks.presets import preset
from nnunetv2_cfseg.nnunet.cfseg_section import SECTION, CFSegSection
from nnunetv2_cfseg.nnunet.plans import NETWORK_CLASS
from nnunetv2_cfseg.planners.geometry import choose_crop, choose_patch_size
from nnunetv2_cfseg.planners.memory import estimate_step_bytes
from nnunetv2_cfseg.planners.recipe_planner import RecipePlanner

PLANS_NAME = "nnUNetCFSegPlans"
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
#: The same for networks whose tokens blocks share: a layer sees one patch further, so the smaller ones are deeper.
SHARED_SIZES = (*SIZES[:2], replace(SIZES[2], depth=5), replace(SIZES[3], depth=4))
#: Voxels of a patch where the preset does not say.
PATCH_VOXELS = 216


class CFSegPlanner(RecipePlanner):
    """Chooses patch, block, network, crop and batch from nnU-Net's fingerprint and a memory target.

    Args:
        preset_name: of :mod:`nnunetv2_cfseg.networks.presets`.

    Raises:
        ValueError: the preset is unknown, or the memory target is not above 0.
    """

    preset_name = "default"

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
        self.window_names = self.preset.pop("window_names")
        self.patch_voxels = self.preset.pop("patch_voxels", PATCH_VOXELS)
        self.sizes = SIZES if self.preset.get("attention_radius") is None else SHARED_SIZES
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
        crop_voxels = next(size.crop_voxels for size in self.sizes if gpu_memory_target_in_gb >= size.at_least_gb)
        self.lowres_creation_threshold *= crop_voxels / NNUNET_CROP_VOXELS

    def plan_network(
        self, spacing_mm: np.ndarray, median_shape: np.ndarray
    ) -> tuple[dict[str, Any], Size3, CFSegSection]:
        """Choose the largest network whose step fits the memory target.

        Raises:
            ValueError: none fits.
        """
        patch = self.choose_patch(spacing_mm)
        arch_kwargs, size, blocks = self._choose_network(patch)
        center = _times(as_size3(arch_kwargs["center_patches"], "center_patches"), patch)
        block = _times(as_size3(arch_kwargs["block_patches"], "block_patches"), patch)
        crop = self.choose_crop(
            spacing_mm, median_shape, center_size=center, block_size=block, max_voxels=size.crop_voxels
        )
        architecture = {"network_class_name": NETWORK_CLASS, "arch_kwargs": arch_kwargs, "_kw_requires_import": []}
        return architecture, crop, self.training_section(blocks)

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

    def training_section(self, blocks: int) -> CFSegSection:
        """The ``cfseg`` section for a number of blocks a step."""
        return self.section(preset=self.preset_name, blocks_per_crop=blocks // self.batch_size)

    def describe(self, name: str, configuration: dict[str, Any]) -> str:
        """One line on a configuration, for the terminal."""
        kwargs, section = configuration["architecture"]["arch_kwargs"], configuration[SECTION]
        spacing_mm = [round(float(s), 2) for s in configuration["spacing"]]
        return (
            f"{name}: spacing {spacing_mm} mm, patch {kwargs['patch_size']}, block {kwargs['block_patches']} and "
            f"centre {kwargs['center_patches']} patches, D {kwargs['embed_dim']}, K {kwargs['depth']}, "
            f"{kwargs['num_heads']} heads; crop {configuration['patch_size']}, batch {configuration['batch_size']} x "
            f"{section['blocks_per_crop']} blocks, mirrored axes {section['mirror_axes']}"
        )

    def _choose_network(self, patch: Size3) -> tuple[dict[str, Any], Size, int]:
        """Network arguments, size and blocks per step of the largest size whose step fits the memory target."""
        channels, classes = len(self._ct_channels()), len(self.dataset_json["labels"])
        target_bytes = self.UNet_vram_target_GB * 1024**3
        for size in self.sizes:
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
        return {
            "block_patches": 3,
            "embed_dim": size.embed_dim,
            "depth": size.depth,
            "num_heads": size.num_heads,
            "beyond_scan": "edge",
            **self.preset,
            "patch_size": list(patch),
            "windows": self.windows(),
        }


def _times(a: Size3, b: Size3) -> Size3:
    return a[0] * b[0], a[1] * b[1], a[2] * b[2]
