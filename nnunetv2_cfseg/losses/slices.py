"""Slices of a thick scan and their slabs of thin ones, as tensors.

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
    """Put slices where they are in their slabs.

    Args:
        x: (N, K, r D, Y, X), slices that begin anywhere in a slab, and so touch D + 1 of them.
        offset: (N,), slices of the first slab before them.
        factor: r.

    Returns:
        (N, K, r (D + 1), Y, X), with anything where x has nothing, and where it has something,
        (N, 1, r (D + 1), 1, 1) bool.
    """
    n, channels, slices, *in_plane = x.shape
    index = torch.arange(slices + factor, device=x.device) - offset.to(x.device).unsqueeze(1)  # (N, r (D + 1))
    seen = (index >= 0) & (index < slices)
    index = index.clamp(0, slices - 1).view(n, 1, -1, 1, 1).expand(n, channels, -1, *in_plane)
    return x.gather(2, index), seen.view(n, 1, -1, 1, 1)
