"""Linear and nearest resampling, axis by axis, as nnU-Net does it with torch.

``resample_torch_fornnunet`` interpolates linearly along every axis; where slices are far thicker than pixels, it takes
the nearest slice. Both are the same for every line of voxels along an axis, so a few numbers for each sample describe
them, and any part of a volume can be resampled without the rest.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

#: 16 times those of a whole body in slices of 1 mm.
MOST_VOXELS = 2**32
#: nnU-Net's ``ANISO_THRESHOLD``: slices more than three times as thick as a pixel are not interpolated between.
ANISOTROPY = 3.0


@dataclass(frozen=True)
class AxisResampling:
    """Where the N samples of a resampled axis lie between those of the old one.

    Attributes:
        first: (N,) int64, the old sample before each.
        second: (N,) int64, the one after; equal to ``first`` where there is nothing to interpolate.
        weight: (N,) float32 in [0, 1], of the second.
    """

    first: Tensor
    second: Tensor
    weight: Tensor

    @property
    def size(self) -> int:
        """N."""
        return len(self.first)

    @property
    def interpolates(self) -> bool:
        """Whether any sample lies between two."""
        return bool((self.weight != 0).any())

    def to(self, device: torch.device) -> AxisResampling:
        """The same on a device."""
        return AxisResampling(self.first.to(device), self.second.to(device), self.weight.to(device))


def linear_map(old_size: int, new_size: int) -> AxisResampling:
    """Voxels fill the same length, so that their outer edges agree (``align_corners=False`` of torch)."""
    if old_size == new_size:
        return _whole(torch.arange(new_size))
    position = ((torch.arange(new_size, dtype=torch.float64) + 0.5) * (old_size / new_size) - 0.5).clamp(min=0)
    first = position.floor().long().clamp(max=old_size - 1)
    return AxisResampling(first, (first + 1).clamp(max=old_size - 1), (position - first).float())


def nearest_map(old_size: int, new_size: int) -> AxisResampling:
    """The old voxel in which the middle of each new one lies (``nearest-exact`` of torch)."""
    middle = (torch.arange(new_size, dtype=torch.float64) + 0.5) * (old_size / new_size)
    return _whole(middle.floor().long().clamp(max=old_size - 1))


def axis_maps(
    old_shape: Sequence[int],
    new_shape: Sequence[int],
    *,
    old_spacing_mm: Sequence[float],
    new_spacing_mm: Sequence[float],
    force_separate_z: bool | None = None,
) -> tuple[AxisResampling, AxisResampling, AxisResampling]:
    """A map for each axis: linear, but nearest along the axis of thick slices.

    Args:
        force_separate_z: as in nnU-Net's plans: None lets the spacings decide.
    """
    nearest = _thick_axis(old_spacing_mm, new_spacing_mm, force_separate_z)
    z, y, x = (
        (nearest_map if axis == nearest else linear_map)(old, new)
        for axis, (old, new) in enumerate(zip(old_shape, new_shape, strict=True))
    )
    return z, y, x


def resampled_shape(
    shape: Sequence[int], spacing_mm: Sequence[float], new_spacing_mm: Sequence[float]
) -> tuple[int, int, int]:
    """Voxels along each axis after resampling to another spacing, as nnU-Net rounds them.

    Raises:
        ValueError: they are more than any scan has, and would take days.
    """
    z, y, x = (round(old / new * size) for size, old, new in zip(shape, spacing_mm, new_spacing_mm, strict=True))
    if z * y * x > MOST_VOXELS:
        raise ValueError(
            f"a scan must have at most {MOST_VOXELS} voxels on the grid of the plans, and would have {z} x {y} x {x}: "
            f"its voxels are {tuple(spacing_mm)} mm apart, those of the plans {tuple(new_spacing_mm)} mm"
        )
    return z, y, x


def _thick_axis(
    old_spacing_mm: Sequence[float], new_spacing_mm: Sequence[float], force_separate_z: bool | None
) -> int | None:
    """The axis that nnU-Net does not interpolate along, if there is one."""
    if force_separate_z is not None:
        return _coarsest(old_spacing_mm) if force_separate_z else None
    for spacing in (old_spacing_mm, new_spacing_mm):
        if max(spacing) / min(spacing) > ANISOTROPY:
            return _coarsest(spacing)
    return None


def _coarsest(spacing_mm: Sequence[float]) -> int | None:
    """The axis of the greatest spacing; None if there are several."""
    axes = [axis for axis, spacing in enumerate(spacing_mm) if spacing == max(spacing_mm)]
    return axes[0] if len(axes) == 1 else None


def _whole(samples: Tensor) -> AxisResampling:
    return AxisResampling(samples, samples, torch.zeros(len(samples)))
