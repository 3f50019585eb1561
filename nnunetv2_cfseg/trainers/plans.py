"""Checks of a configuration of the plans besides its ``cfseg`` section, and what the trainer derives from both."""

from __future__ import annotations

import math
from typing import Any, TypeGuard

from nnunetv2_cfseg.networks.patches import as_size3
from nnunetv2_cfseg.nnunet.cfseg_section import CFSegSection
from nnunetv2_cfseg.nnunet.plans import NETWORK_CLASS
from nnunetv2_cfseg.trainers.blocks import BlockSampling

#: Largest accepted batch size, beyond what any machine trains on in a step.
MOST_CROPS = 10_000


def check_plans(configuration: dict[str, Any], *, trainer: str) -> None:
    """Refuse a configuration that this package's network cannot be built from.

    Raises:
        ValueError: the plans are for another network, or the crop is not whole centres.
    """
    architecture = configuration.get("architecture", {})
    if not isinstance(architecture, dict):
        raise ValueError(f"architecture in the plans must be a JSON object, got {architecture!r}")
    network = architecture.get("network_class_name")
    if network != NETWORK_CLASS or not isinstance(configuration.get("cfseg"), dict):
        raise ValueError(
            f"{trainer} needs plans made by CFSegPlanner (cfseg plan_and_preprocess, then -p nnUNetCFSegPlans), "
            f"but these are for {network}"
        )
    kwargs = architecture.get("arch_kwargs")
    if not isinstance(kwargs, dict) or "patch_size" not in kwargs:
        raise ValueError(f"arch_kwargs in the plans must have a patch_size, got {kwargs!r}")
    patch = as_size3(kwargs["patch_size"], "patch_size")
    center = as_size3(kwargs.get("center_patches", 1), "center_patches")
    crop = configuration.get("patch_size")
    whole = [w * c for w, c in zip(patch, center, strict=True)]
    if not isinstance(crop, list) or len(crop) != 3 or not all(map(_is_multiple, crop, whole)):
        raise ValueError(
            f"the crop (patch_size in the plans) must be whole centres of {whole} voxels (z, y, x), got {crop!r}"
        )


def _is_multiple(size: Any, unit: int) -> bool:
    return isinstance(size, int) and size > 0 and size % unit == 0


def check_batch_size(configuration: dict[str, Any]) -> None:
    """Refuse a batch size that training cannot use.

    Raises:
        ValueError: it is not a whole number from 1 to ``MOST_CROPS``.
    """
    value = configuration.get("batch_size")
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= MOST_CROPS:
        raise ValueError(f"batch_size in the plans must be a whole number from 1 to {MOST_CROPS}, got {value!r}")


def block_sampling(section: CFSegSection) -> BlockSampling:
    """How blocks are drawn from a crop.

    Raises:
        ValueError: the plans do not say how many.
    """
    if section.blocks_per_crop is None:
        raise ValueError("blocks_per_crop is missing from the cfseg section of the plans")
    return BlockSampling(
        section.blocks_per_crop,
        foreground_fraction=section.foreground_fraction,
        hard_background_fraction=section.hard_background_fraction,
        border_fraction=section.border_fraction,
    )


def foreground_statistics(plans: dict[str, Any]) -> tuple[float, float]:
    """Mean and standard deviation of the foreground's intensities in the first channel.

    Raises:
        ValueError: the plans do not hold them.
    """
    channel = plans.get("foreground_intensity_properties_per_channel")
    channel = channel.get("0") if isinstance(channel, dict) else None
    mean, std = (channel.get("mean"), channel.get("std")) if isinstance(channel, dict) else (None, None)
    if not (_is_finite(mean) and _is_finite(std) and std > 0):
        raise ValueError(
            f"foreground_intensity_properties_per_channel in the plans must have a mean and a std above 0, got "
            f"{mean!r} and {std!r}"
        )
    return mean, std


def foreground_range(section: CFSegSection, mean: float, std: float) -> tuple[float, float] | None:
    """Lower and upper normalised value of foreground: ``foreground_hu`` minus the mean, over the deviation in HU.

    None if the plans have no ``foreground_hu``, as for scans other than CT.
    """
    hu = section.foreground_hu
    return None if hu is None else ((hu[0] - mean) / std, (hu[1] - mean) / std)


def _is_finite(value: Any) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
