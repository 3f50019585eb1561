"""How smooth a segmentation is from slice to slice: one copied from thick slices has steps where slabs meet."""

from __future__ import annotations

import math

import numpy as np


def z_changes(mask: np.ndarray, *, factor: int) -> tuple[int, int]:
    """Voxels that differ from the slice before.

    Args:
        mask: (Z, Y, X) bool; slabs begin at slice 0.
        factor: r, thin slices in a thick one, at least 1.

    Returns:
        In all slices but the first, and in those that begin a slab.

    Raises:
        ValueError: the factor is below 1.
    """
    if factor < 1:
        raise ValueError(f"factor must be >= 1, got {factor}")
    changes = np.count_nonzero(mask[1:] != mask[:-1], axis=(1, 2))
    return int(changes.sum()), int(changes[factor - 1 :: factor].sum())


def z_roughness(truth: np.ndarray, prediction: np.ndarray, *, factor: int) -> float:
    """Changes from slice to slice, over those of the truth: 1 is as smooth as the truth, NaN where it has none.

    Args:
        truth: (Z, Y, X) bool, and so ``prediction``.
        factor: see :func:`z_changes`.
    """
    of_truth, _ = z_changes(truth, factor=factor)
    return z_changes(prediction, factor=factor)[0] / of_truth if of_truth else math.nan


def slab_step_share(mask: np.ndarray, *, factor: int) -> float:
    """Share of the changes from slice to slice that lie between slabs.

    About 1 / factor where slices were segmented for themselves, 1 where thick ones were copied, NaN where nothing
    changes.

    Args:
        mask: (Z, Y, X) bool.
        factor: see :func:`z_changes`.
    """
    everywhere, between_slabs = z_changes(mask, factor=factor)
    return between_slabs / everywhere if everywhere else math.nan
