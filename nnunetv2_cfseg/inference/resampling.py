"""Linear and nearest resampling, axis by axis, as nnU-Net does it with torch.

``resample_torch_fornnunet`` interpolates linearly along every axis; if slices are far thicker than pixels, it takes the
nearest slice. Both are the same for every line of voxels along an axis, so three numbers per sample describe them, and
any part of a volume can be resampled without the rest.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

#: Most voxels of a resampled scan: 16 times those of a whole body in slices of 1 mm.
MOST_VOXELS = 2**32
#: nnU-Net's ``ANISO_THRESHOLD``: slices more than three times as thick as a pixel are not interpolated between.
ANISOTROPY = 3.0


@dataclass(frozen=True)
class AxisResampling:
    """Positions of the N samples of a resampled axis between the old samples.

    Attributes:
        first: (N,) int64, the old sample before each new one.
        second: (N,) int64, the old sample after it; equal to ``first`` if there is nothing to interpolate.
        weight: (N,) float32 in [0, 1], weight of the second.
    """

    first: Tensor
    second: Tensor
    weight: Tensor

    @property
    def size(self) -> int:
        """N, the number of new samples."""
        return len(self.first)

    @property
    def interpolates(self) -> bool:
        """Whether any new sample lies between two old ones."""
        return bool((self.weight != 0).any())

    def to(self, device: torch.device) -> AxisResampling:
        """Return a copy with its tensors on a device."""
        return AxisResampling(self.first.to(device), self.second.to(device), self.weight.to(device))


def linear_map(old_size: int, new_size: int) -> AxisResampling:
    """Linear interpolation between axes with the same outer edges (torch's ``align_corners=False``)."""
    if old_size == new_size:
        return _whole(torch.arange(new_size))
    position = ((torch.arange(new_size, dtype=torch.float64) + 0.5) * (old_size / new_size) - 0.5).clamp(min=0)
    first = position.floor().long().clamp(max=old_size - 1)
    return AxisResampling(first, (first + 1).clamp(max=old_size - 1), (position - first).float())


def nearest_map(old_size: int, new_size: int) -> AxisResampling:
    """For each new voxel, the old voxel that contains its middle (torch's ``nearest-exact``)."""
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
    """Return a map for each axis: linear, but nearest along the axis of thick slices.

    Args:
        force_separate_z: as in nnU-Net's plans; None lets the spacings decide.
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
        ValueError: there are more than ``MOST_VOXELS`` in all, which would take days.
    """
    z, y, x = (round(old / new * size) for size, old, new in zip(shape, spacing_mm, new_spacing_mm, strict=True))
    if z * y * x > MOST_VOXELS:
        raise ValueError(
            f"the scan would have {z} x {y} x {x} voxels on the grid of the plans, and at most {MOST_VOXELS} are "
            f"allowed: its voxels are {tuple(spacing_mm)} mm apart, those of the plans {tuple(new_spacing_mm)} mm"
        )
    return z, y, x


def _thick_axis(
    old_spacing_mm: Sequence[float], new_spacing_mm: Sequence[float], force_separate_z: bool | None
) -> int | None:
    """The axis along which nnU-Net does not interpolate, if there is one."""
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
