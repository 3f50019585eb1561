"""``CompactPlanner``: plans for a small U-Net that learns in minutes, named ``nnUNetCompactPlans``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from nnunetv2.experiment_planning.experiment_planners.network_topology import get_pool_and_conv_props

from nnunetv2_cfseg.networks.patches import Size3
from nnunetv2_cfseg.networks.presets import WINDOW_NAMES
from nnunetv2_cfseg.nnunet.cfseg_section import COMPACT_FOREGROUND_FRACTION, SECTION, CFSegSection
from nnunetv2_cfseg.planners.geometry import choose_crop
from nnunetv2_cfseg.planners.recipe_planner import RecipePlanner

COMPACT_PLANS_NAME = "nnUNetCompactPlans"
UNET = "dynamic_network_architectures.architectures.unet.PlainConvUNet"
#: Crops are whole multiples of this many voxels before the network's own strides are known.
CROP_STEP = 8
#: A feature map is halved along an axis while it has at least twice as many voxels.
LEAST_FEATURE_MAP = 3
MOST_STAGES = 5


@dataclass(frozen=True)
class UNetSize:
    """A size of U-Net: features of its first stage, which double from stage to stage, up to ``most_features``."""

    at_least_gb: float
    features: int
    most_features: int
    crop_voxels: int


#: Sizes to choose from by the memory target, largest first. Only the last was tuned, on two CPU cores.
UNET_SIZES = (
    UNetSize(8, 32, 320, 96**3),
    UNetSize(4, 24, 192, 64**3),
    UNetSize(0, 16, 128, 48**3),
)


class CompactPlanner(RecipePlanner):
    """Plans a U-Net small enough for a CPU, and crops small enough that a step takes a fraction of a second.

    Raises:
        ValueError: the memory target is not above 0.
    """

    def __init__(
        self,
        dataset_name_or_id: str | int,
        gpu_memory_target_in_gb: float = 1,
        preprocessor_name: str = "DefaultPreprocessor",
        plans_name: str = COMPACT_PLANS_NAME,
        overwrite_target_spacing: list[float] | tuple[float, ...] | None = None,
        suppress_transpose: bool = False,
    ) -> None:
        self.window_names = WINDOW_NAMES
        super().__init__(
            dataset_name_or_id,
            gpu_memory_target_in_gb,
            preprocessor_name,
            plans_name,
            overwrite_target_spacing,
            suppress_transpose,
        )
        self.size = next(size for size in UNET_SIZES if gpu_memory_target_in_gb >= size.at_least_gb)
        self.lowres_creation_threshold = 0.0  # nnU-Net's lower resolution is for its cascade

    def plan_network(
        self, spacing_mm: np.ndarray, median_shape: np.ndarray
    ) -> tuple[dict[str, Any], Size3, CFSegSection]:
        """Choose nnU-Net's U-Net for a crop that is as close to a cube in mm as whole strides allow."""
        step: Size3 = (CROP_STEP, CROP_STEP, CROP_STEP)
        crop = choose_crop(
            spacing_mm, median_shape, center_size=step, block_size=step, max_voxels=self.size.crop_voxels
        )
        _, strides, kernels, padded, _ = get_pool_and_conv_props(spacing_mm, crop, LEAST_FEATURE_MAP, MOST_STAGES - 1)
        stages = len(strides)
        arch_kwargs = {
            "n_stages": stages,
            "features_per_stage": [min(self.size.features * 2**i, self.size.most_features) for i in range(stages)],
            "conv_op": "torch.nn.modules.conv.Conv3d",
            "kernel_sizes": kernels,
            "strides": strides,
            "n_conv_per_stage": [2] * stages,
            "n_conv_per_stage_decoder": [2] * (stages - 1),
            "conv_bias": True,
            "norm_op": "torch.nn.modules.instancenorm.InstanceNorm3d",
            "norm_op_kwargs": {"eps": 1e-5, "affine": True},
            "dropout_op": None,
            "dropout_op_kwargs": None,
            "nonlin": "torch.nn.LeakyReLU",
            "nonlin_kwargs": {"inplace": True},
        }
        architecture = {
            "network_class_name": UNET,
            "arch_kwargs": arch_kwargs,
            "_kw_requires_import": ["conv_op", "norm_op", "dropout_op", "nonlin"],
        }
        z, y, x = (int(n) for n in padded)
        section = self.section(
            foreground_fraction=COMPACT_FOREGROUND_FRACTION, hard_background_fraction=0.0, windows=self.windows()
        )
        return architecture, (z, y, x), section

    def describe(self, name: str, configuration: dict[str, Any]) -> str:
        """One line on a configuration, for the terminal."""
        kwargs = configuration["architecture"]["arch_kwargs"]
        spacing_mm = [round(float(s), 2) for s in configuration["spacing"]]
        return (
            f"{name}: spacing {spacing_mm} mm, U-Net of {kwargs['features_per_stage']} features, crop "
            f"{configuration['patch_size']}, batch {configuration['batch_size']}, mirrored axes "
            f"{configuration[SECTION]['mirror_axes']}"
        )
