"""Thick slices and the slabs of thin slices that they cover, as tensors.

Shapes: N blocks or crops, K channels, D thick slices, r thin slices in a thick one, Y X rows and columns.
"""

from __future__ import annotations

import torch
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


def place_in_slabs(x: Tensor, offset: Tensor, factor: int) -> tuple[Tensor, Tensor]:
    """Shift slices that begin anywhere in a slab to their places in whole slabs.

    Args:
        x: (N, K, r D, Y, X), slices that touch D + 1 slabs.
        offset: (N,), how many slices of the first slab come before them.
        factor: r.

    Returns:
        (N, K, r (D + 1), Y, X), the slices in their places, and (N, 1, r (D + 1), 1, 1) bool, which slices these are.
        The values of all other slices are meaningless.
    """
    n, channels, slices, *in_plane = x.shape
    index = torch.arange(slices + factor, device=x.device) - offset.to(x.device).unsqueeze(1)  # (N, r (D + 1))
    seen = (index >= 0) & (index < slices)
    index = index.clamp(0, slices - 1).view(n, 1, -1, 1, 1).expand(n, channels, -1, *in_plane)
    return x.gather(2, index), seen.view(n, 1, -1, 1, 1)
