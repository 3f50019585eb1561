"""From thin slices to thick ones: averages over slabs of ``factor`` consecutive slices."""

from __future__ import annotations

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


def annotate_slabs(labels: np.ndarray, factor: int, *, threshold: float = 0.5) -> np.ndarray:
    """What an annotator marks on thick slices: a voxel whose slab is lesion to at least ``threshold``.

    The value marked is the most frequent one of the slab's lesion, the smaller one of two that are equally frequent.

    Args:
        labels: (Z, Y, X) of an integer type, 0 is background; Z is a multiple of the factor.
        factor: thin slices in a thick one.
        threshold: share of the slab, above 0.

    Returns:
        (Z / factor, Y, X), the type of ``labels``.

    Raises:
        ValueError: the factor is below 1, the last slab is incomplete, or the threshold is not in (0, 1].
    """
    if not 0 < threshold <= 1:
        raise ValueError(f"a threshold must be above 0 and at most 1, got {threshold:g}")
    slabs = _slabs(labels, factor)
    thick = np.zeros((len(slabs), *labels.shape[1:]), labels.dtype)
    most = np.zeros(thick.shape, np.int64)
    for value in np.unique(labels[labels != 0]):
        count = (slabs == value).sum(axis=1)
        thick[count > most] = value
        most = np.maximum(most, count)
    thick[(slabs != 0).sum(axis=1) < threshold * factor] = 0
    return thick


def _slabs(volume: np.ndarray, factor: int) -> np.ndarray:
    """(Z, Y, X) -> (Z / factor, factor, Y, X)."""
    if factor < 1 or len(volume) % factor:
        raise ValueError(
            f"a factor must be >= 1 and divide the number of slices, got {factor} for {len(volume)} slices"
        )
    return volume.reshape(len(volume) // factor, factor, *volume.shape[1:])
