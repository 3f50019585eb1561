"""Makes thick slices from thin ones by averaging slabs of ``factor`` consecutive slices."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def average_slabs(volume: np.ndarray, factor: int) -> np.ndarray:
    """Average intensity projection: the thick scan of a thin one.

    Args:
        volume: (Z, Y, X) HU; Z is a multiple of the factor.
        factor: thin slices in a thick one.

    Returns:
        (Z / factor, Y, X) float32.

    Raises:
        ValueError: the factor is below 1, or the last slab is incomplete.
    """
    return _slabs(volume, factor).mean(axis=1, dtype=np.float64).astype(np.float32)


def annotate_slabs(labels: np.ndarray, factor: int, *, threshold: float = 0.5, ignore: int | None = None) -> np.ndarray:
    """What an annotator marks on thick slices: a voxel if at least ``threshold`` of its slab is lesion.

    It gets the most frequent lesion value of the slab, the smallest one if several are equally frequent. Thin voxels
    with the value ``ignore`` may hold anything: if the mark depends on what they hold, it is ``ignore``.

    Args:
        labels: (Z, Y, X) of an integer type, 0 is background; Z is a multiple of the factor.
        factor: thin slices in a thick one.
        threshold: fraction of the slab, above 0.
        ignore: the value of voxels that nobody annotated, if there is one.

    Returns:
        (Z / factor, Y, X), the type of ``labels``.

    Raises:
        ValueError: the factor is below 1, the last slab is incomplete, or the threshold is not in (0, 1].
    """
    if not 0 < threshold <= 1:
        raise ValueError(f"a threshold must be above 0 and at most 1, got {threshold:g}")
    slabs = _slabs(labels, factor)
    unknown = _count(slabs, ignore) if ignore is not None else np.zeros((len(slabs), *labels.shape[1:]), np.int64)
    lesion = factor - _count(slabs, 0) - unknown
    values = [value for value in np.unique(labels) if value not in (0, ignore)]
    thick, highest = _most_frequent(slabs, values)
    if unknown.any():
        # An unknown voxel may hold a value that is nowhere in these labels, and a smaller one than the winner.
        is_open = (unknown > highest) | ((unknown == highest) & (thick > 1))
        for value in values:
            count = _count(slabs, value) + unknown
            is_open |= (value != thick) & ((count > highest) | ((count == highest) & (value < thick)))
        thick[is_open & (unknown > 0)] = ignore
        thick[lesion < threshold * factor] = ignore
    thick[lesion + unknown < threshold * factor] = 0
    return thick


def _most_frequent(slabs: np.ndarray, values: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """The most frequent of some ascending values in each column of a slab, and how often it occurs there."""
    thick = np.zeros((len(slabs), *slabs.shape[2:]), slabs.dtype)
    highest = np.zeros(thick.shape, np.int64)
    for value in values:
        count = _count(slabs, value)
        thick[count > highest] = value
        highest = np.maximum(highest, count)
    return thick, highest


def _count(slabs: np.ndarray, value: int) -> np.ndarray:
    return (slabs == value).sum(axis=1)


def _slabs(volume: np.ndarray, factor: int) -> np.ndarray:
    """(Z, Y, X) -> (Z / factor, factor, Y, X)."""
    if factor < 1 or len(volume) % factor:
        raise ValueError(
            f"a factor must be >= 1 and divide the number of slices, got {factor} for {len(volume)} slices"
        )
    return volume.reshape(len(volume) // factor, factor, *volume.shape[1:])
