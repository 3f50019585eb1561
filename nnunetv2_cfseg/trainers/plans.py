"""What the trainer reads from a configuration of the plans, and what it refuses.

The planner writes a ``cfseg`` section into each configuration:
``blocks_per_crop``, ``foreground_share``, ``lookalike_share``, ``cut_share`` (see
:class:`~nnunetv2_cfseg.data.blocks.BlockSampling`), ``foreground_hu``, ``mirror_axes`` and ``hounsfield_jitter``.
"""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from nnunetv2_cfseg.data.blocks import BlockSampling
from nnunetv2_cfseg.networks.patches import as_size3

NETWORK_CLASS = "nnunetv2_cfseg.networks.BlockCenterTransformer"


def check_plans(configuration: dict[str, Any], *, trainer: str) -> None:
    """Refuse a configuration that this package's network cannot be trained from.

    Raises:
        ValueError: plans of another network, or a crop that is not whole centres.
    """
    network = configuration["architecture"]["network_class_name"]
    if network != NETWORK_CLASS or "cfseg" not in configuration:
        raise ValueError(
            f"{trainer} needs plans made by CFSegPlanner (cfseg plan_and_preprocess, then -p nnUNetCFSegPlans), "
            f"and these are for {network}"
        )
    kwargs = configuration["architecture"]["arch_kwargs"]
    patch = as_size3(kwargs["patch_size"], "patch_size")
    center = as_size3(kwargs.get("center_patches", 1), "center_patches")
    crop = configuration["patch_size"]
    whole = [w * c for w, c in zip(patch, center, strict=True)]
    if len(crop) != 3 or any(size % unit for size, unit in zip(crop, whole, strict=True)):
        raise ValueError(
            f"the crop (patch_size in the plans) must be whole centres of {whole} voxels (z, y, x), got {list(crop)}"
        )


def block_sampling(configuration: dict[str, Any]) -> BlockSampling:
    """How blocks are drawn, from the plans.

    Raises:
        ValueError: a missing entry, or one out of range.
    """
    section = configuration["cfseg"]
    if "blocks_per_crop" not in section:
        raise ValueError("the cfseg section of the plans must have blocks_per_crop, and has " + ", ".join(section))
    names = [field.name for field in fields(BlockSampling)]
    return BlockSampling(**{name: section[name] for name in names if name in section})


def mirror_axes(configuration: dict[str, Any]) -> tuple[int, ...]:
    """Axes (0 z, 1 y, 2 x of the preprocessed data) along which training and prediction may mirror."""
    return tuple(configuration["cfseg"].get("mirror_axes", ()))


def foreground_range(configuration: dict[str, Any], mean: float, std: float) -> tuple[float, float] | None:
    """Between which normalised values foreground lies: ``foreground_hu``, less the mean and over the deviation in HU.

    None where the plans do not say: scans that are not CT have no unit to say it in.
    """
    hu = configuration["cfseg"].get("foreground_hu")
    return None if hu is None else ((hu[0] - mean) / std, (hu[1] - mean) / std)
