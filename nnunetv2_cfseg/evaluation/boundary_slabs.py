"""Dice where thick slices cannot be right: in thick voxels that the truth fills only partly."""

from __future__ import annotations

from math import nan

import numpy as np


def boundary_dice(
    truth: np.ndarray,
    prediction: np.ndarray,
    *,
    factor: int,
    slice_axis: int = 0,
    ignore: np.ndarray | None = None,
) -> float:
    """Dice over the thin voxels of the truth's boundary thick voxels.

    Slices form slabs of ``factor``, the first one from slice 0. A thick voxel is the voxels of one column in a slab; it
    is a boundary thick voxel if the truth holds some of them but not all. Slices left over at the end form a shorter
    slab (a slab of one slice has no boundary voxels: the truth holds all of it or none). A thick label copied to each
    thin slice is all or nothing there and must err, so the value tells real thin resolution from copies.

    Args:
        truth: (Z, Y, X) bool; a crop must begin with a whole slab, and end with one unless the volume ends there.
        prediction: (Z, Y, X) bool.
        factor: thin slices in a thick one, at least 2.
        slice_axis: the axis along which slices are stacked.
        ignore: (Z, Y, X) bool, voxels to leave out; thick voxels shrink to what remains.

    Returns:
        Dice; NaN if the truth has no boundary thick voxel.

    Raises:
        ValueError: the factor is below 2.
    """
    if factor < 2:
        raise ValueError(f"a factor must be >= 2, got {factor}")
    if ignore is None:
        voxels = _slab_lengths(truth.shape[slice_axis], factor)
        both = truth & prediction
    else:
        keep = ~ignore
        voxels = _slab_counts(keep, factor, slice_axis)
        truth, prediction = truth & keep, prediction & keep
        both = truth & prediction
    true_count = _slab_counts(truth, factor, slice_axis)
    boundary = (true_count > 0) & (true_count < voxels)
    reference = int(true_count[boundary].sum(dtype=np.int64))
    if not reference:
        return nan
    predicted = int(_slab_counts(prediction, factor, slice_axis)[boundary].sum(dtype=np.int64))
    overlap = int(_slab_counts(both, factor, slice_axis)[boundary].sum(dtype=np.int64))
    return 2 * overlap / (predicted + reference)


def _slab_counts(mask: np.ndarray, factor: int, slice_axis: int) -> np.ndarray:
    """(Z, Y, X) bool -> (slabs, ., .) unsigned: voxels of the mask in each thick voxel, slabs first."""
    slices = np.moveaxis(mask, slice_axis, 0)
    counts = np.zeros((-(-len(slices) // factor), *slices.shape[1:]), np.min_scalar_type(factor))
    for offset in range(min(factor, len(slices))):
        part = slices[offset::factor]
        counts[: len(part)] += part
    return counts


def _slab_lengths(slices: int, factor: int) -> np.ndarray:
    """(slabs, 1, 1) int: the number of slices in each slab."""
    starts = np.arange(0, slices, factor)
    return np.minimum(factor, slices - starts).reshape(-1, 1, 1)
