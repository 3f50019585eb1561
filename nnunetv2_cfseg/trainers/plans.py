"""What the trainer reads from a configuration of the plans, and what it refuses.

The planner writes a ``cfseg`` section into each configuration:
``blocks_per_crop``, ``foreground_share``, ``lookalike_share``, ``cut_share`` (see
:class:`~nnunetv2_cfseg.trainers.blocks.BlockSampling`), ``foreground_hu``, ``mirror_axes`` and ``hounsfield_jitter``.
"""

from __future__ import annotations

import math
from dataclasses import fields
from typing import Any, TypeGuard

from nnunetv2_cfseg.networks.patches import as_size3
from nnunetv2_cfseg.trainers.blocks import BlockSampling

NETWORK_CLASS = "nnunetv2_cfseg.networks.BlockCenterTransformer"


#: More of either than any machine trains on in a step.
MOST_BLOCKS, MOST_CROPS = 100_000, 10_000
#: Shares of a crop's blocks, each in [0, 1].
SHARES = ("foreground_share", "lookalike_share", "cut_share")


def read_configuration(plans: dict[str, Any], name: str) -> dict[str, Any]:
    """A configuration of the plans, with what it inherits.

    Raises:
        ValueError: there is none of that name, or the plans are not nnU-Net's.
    """
    try:
        from nnunetv2.utilities.plans_handling.plans_handler import PlansManager  # slow, and cfseg predict needs none

        return PlansManager(plans).get_configuration(name).configuration
    except (AttributeError, KeyError, RuntimeError, TypeError) as error:  # inheritance in a circle is a RuntimeError
        raise ValueError(f"the plans cannot be used ({type(error).__name__}: {error})") from error


def check_plans(configuration: dict[str, Any], *, trainer: str) -> None:
    """Refuse a configuration that this package's network cannot be built from.

    Raises:
        ValueError: plans of another network, or a crop that is not whole centres.
    """
    architecture = configuration.get("architecture")
    if not isinstance(architecture, dict):
        raise ValueError(f"architecture in the plans must be a JSON object, got {architecture!r}")
    network = architecture.get("network_class_name")
    if network != NETWORK_CLASS or not isinstance(configuration.get("cfseg"), dict):
        raise ValueError(
            f"{trainer} needs plans made by CFSegPlanner (cfseg plan_and_preprocess, then -p nnUNetCFSegPlans), "
            f"and these are for {network}"
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


def check_training_section(configuration: dict[str, Any]) -> None:
    """Refuse values that training reads from a configuration and cannot use.

    Raises:
        ValueError: with the first of them.
    """
    _check_count(configuration.get("batch_size"), "batch_size", MOST_CROPS)
    block_sampling(configuration)
    section = configuration["cfseg"]
    axes = section.get("mirror_axes", [])
    if not isinstance(axes, list) or any(not _is_axis(axis) for axis in axes) or len(set(axes)) < len(axes):
        raise ValueError(f"mirror_axes in the plans must be different ones of 0, 1 and 2 (z, y, x), got {axes!r}")
    hu = section.get("foreground_hu")
    if hu is not None and not (isinstance(hu, list) and len(hu) == 2 and all(map(_is_finite, hu)) and hu[0] < hu[1]):
        raise ValueError(f"foreground_hu in the plans must be two numbers, the lower one first, got {hu!r}")
    jitter = section.get("hounsfield_jitter", True)
    if not isinstance(jitter, bool):
        raise ValueError(f"hounsfield_jitter in the plans must be true or false, got {jitter!r}")


def _check_count(value: Any, name: str, most: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= most:
        raise ValueError(f"{name} in the plans must be a whole number from 1 to {most}, got {value!r}")


def _is_axis(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= 2


def _is_finite(value: Any) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def block_sampling(configuration: dict[str, Any]) -> BlockSampling:
    """How blocks are drawn, from the plans.

    Raises:
        ValueError: a missing entry, or one out of range.
    """
    section = configuration["cfseg"]
    if "blocks_per_crop" not in section:
        raise ValueError("the cfseg section of the plans must have blocks_per_crop, and has " + ", ".join(section))
    _check_count(section["blocks_per_crop"], "blocks_per_crop", MOST_BLOCKS)
    for name in SHARES:
        if name in section and not (_is_finite(section[name]) and 0 <= section[name] <= 1):
            raise ValueError(f"{name} in the plans must be between 0 and 1, got {section[name]!r}")
    names = [field.name for field in fields(BlockSampling)]
    return BlockSampling(**{name: section[name] for name in names if name in section})


def mirror_axes(configuration: dict[str, Any]) -> tuple[int, ...]:
    """Axes (0 z, 1 y, 2 x of the preprocessed data) along which training and prediction may mirror."""
    return tuple(configuration["cfseg"].get("mirror_axes", ()))


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


def foreground_range(configuration: dict[str, Any], mean: float, std: float) -> tuple[float, float] | None:
    """Between which normalised values foreground lies: ``foreground_hu``, less the mean and over the deviation in HU.

    None where the plans do not say: scans that are not CT have no unit to say it in.
    """
    hu = configuration["cfseg"].get("foreground_hu")
    return None if hu is None else ((hu[0] - mean) / std, (hu[1] - mean) / std)
