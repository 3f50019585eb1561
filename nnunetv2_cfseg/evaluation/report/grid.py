"""Reduce volumes by whole factors, and compute the positions of the reduced voxels."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil, prod

import numpy as np

from nnunetv2_cfseg.imaging.geometry import VolumeGeometry

Factors = tuple[int, int, int]
#: Spacings whose ratio is below this count as the same.
SAME_SPACING = 1.01


def affine(geometry: VolumeGeometry) -> np.ndarray:
    """4 x 4, from a voxel (x, y, z, 1) to the patient's left, back and head in mm."""
    matrix = np.eye(4)
    matrix[:3, :3] = geometry.steps_mm[::-1].T
    matrix[:3, 3] = geometry.origin_mm
    return matrix


def reduction(shape: Sequence[int], spacing_mm: Sequence[float], *, voxels: int) -> Factors:
    """Whole factors (z, y, x) that leave at most ``voxels``: finest axes first, and y and x before z if they tie.

    Raises:
        ValueError: ``voxels`` is below 1.
    """
    if voxels < 1:
        raise ValueError(f"voxels must be >= 1, got {voxels}")
    factors = [1, 1, 1]
    while prod(reduced_shape(shape, factors)) > voxels:
        sizes_mm = [mm * factor for mm, factor in zip(spacing_mm, factors, strict=True)]
        fine = [axis for axis in (1, 2) if sizes_mm[axis] <= SAME_SPACING * min(sizes_mm)]
        for axis in fine or [0]:
            factors[axis] += 1
    return factors[0], factors[1], factors[2]


def reduced_shape(shape: Sequence[int], factors: Sequence[int]) -> tuple[int, int, int]:
    """The number of groups along each axis (z, y, x); the last group may be incomplete."""
    z, y, x = (ceil(size / factor) for size, factor in zip(shape, factors, strict=True))
    return z, y, x


def average(values: np.ndarray, factors: Sequence[int]) -> np.ndarray:
    """The mean of each group, float32; incomplete groups repeat their last voxels."""
    padded = _padded(values, factors)
    fz, fy, fx = factors
    total = np.zeros(reduced_shape(values.shape, factors), np.float32)
    for z, y, x in np.ndindex(fz, fy, fx):
        total += padded[z::fz, y::fy, x::fx]
    return total / prod(factors)


def pick(labels: np.ndarray, factors: Sequence[int]) -> np.ndarray:
    """The label in the middle of each group; of two in the middle, the later one."""
    fz, fy, fx = factors
    return _padded(labels, factors)[fz // 2 :: fz, fy // 2 :: fy, fx // 2 :: fx]


def _padded(values: np.ndarray, factors: Sequence[int]) -> np.ndarray:
    missing = [-size % factor for size, factor in zip(values.shape, factors, strict=True)]
    return np.pad(values, [(0, more) for more in missing], mode="edge") if any(missing) else values


def group_centres(first_voxel: Sequence[int], factors: Sequence[int]) -> np.ndarray:
    """4 x 4, from a group (x, y, z, 1) to its centre in voxels (x, y, z) of the whole volume.

    Args:
        first_voxel: (z, y, x) first voxel of the first group.
        factors: (z, y, x).
    """
    matrix = np.diag([*[float(factor) for factor in reversed(factors)], 1.0])
    matrix[:3, 3] = [
        first + (factor - 1) / 2 for first, factor in zip(reversed(first_voxel), reversed(factors), strict=True)
    ]
    return matrix
