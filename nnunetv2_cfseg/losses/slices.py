"""Slices of a thick scan and their slabs of thin ones, as tensors.

Shapes: N blocks or crops, K channels, D thick slices, r thin slices in a thick one, Y X rows and columns.
"""

from __future__ import annotations

from torch import Tensor


def slab_mean(x: Tensor, factor: int) -> Tensor:
    """(N, K, r D, Y, X) to (N, K, D, Y, X), the mean of each slab.

    Raises:
        ValueError: the last slab is incomplete.
    """
    return split_slabs(x, factor).mean(3)


def repeat_slices(x: Tensor, factor: int) -> Tensor:
    """(N, K, D, Y, X) to (N, K, r D, Y, X), each slice r times."""
    return x.unsqueeze(3).expand(-1, -1, -1, factor, -1, -1).flatten(2, 3)


def split_slabs(x: Tensor, factor: int) -> Tensor:
    """(N, K, r D, Y, X) to (N, K, D, r, Y, X).

    Raises:
        ValueError: the last slab is incomplete.
    """
    if x.shape[2] % factor:
        raise ValueError(f"a factor must divide the number of thin slices, got {factor} for {x.shape[2]} slices")
    return x.unflatten(2, (-1, factor))


def interior_slices(target: Tensor) -> Tensor:
    """Where a thick label is also that of the slice before and of the one after.

    In such a slab every thin slice has the label: its surface lies elsewhere. In the others some slices have it and
    some have the neighbour's.

    Args:
        target: (N, R, D + 2, Y, X), labels or regions with a slice more at either end.

    Returns:
        Booleans (N, 1, D, Y, X).
    """
    inner = target[:, :, 1:-1]
    same = (inner == target[:, :, :-2]) & (inner == target[:, :, 2:])
    return same.all(1, keepdim=True)
