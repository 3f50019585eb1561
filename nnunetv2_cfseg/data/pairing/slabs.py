"""Averages an image between any two places along z."""

from __future__ import annotations

import numpy as np

ROWS_AT_ONCE = 64


def resample_slabs(volume: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Means of a volume over slabs that may begin and end within slices.

    Each slice is taken as constant over its thickness. So the mean over several slabs is the mean over everything that
    they cover, however they divide it, and whole slices are returned unchanged.

    Args:
        volume: (Z, Y, X).
        edges: (S + 1,) ascending, counted in slices from the volume's first edge; from 0 to Z.

    Returns:
        (S, Y, X) float32.
    """
    slices = len(volume)
    begun = np.clip(np.floor(edges).astype(int), 0, slices - 1)
    share = (np.clip(edges, 0, slices) - begun)[:, None, None]
    width = np.diff(np.clip(edges, 0, slices))[:, None, None]
    means = np.empty((len(edges) - 1, *volume.shape[1:]), np.float32)
    for row in range(0, volume.shape[1], ROWS_AT_ONCE):
        rows = volume[:, row : row + ROWS_AT_ONCE].astype(np.float64)
        until = np.concatenate([np.zeros_like(rows[:1]), np.cumsum(rows, axis=0)])
        means[:, row : row + ROWS_AT_ONCE] = np.diff(until[begun] + share * rows[begun], axis=0) / width
    return means
