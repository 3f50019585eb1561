"""Which tokens a token attends to, and how it tells where they lie.

A token may attend to its whole block, or only to its neighbours within a radius. Rotary positions (Su et al. 2021,
"RoFormer", arXiv 2104.09864) turn queries and keys by their place on the grid, a third of the pairs for each axis, so
that attention depends on where two tokens lie relative to each other and not on where they lie in the block.

Shapes: N tokens, H heads, d width of a head, p pairs of numbers turned for each axis.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from nnunetv2_cfseg.networks.patches import Size3


@dataclass(frozen=True)
class Rotation:
    """Cosines and sines, (..., N, 3 p), by which queries or keys (..., N, d) are turned."""

    cos: Tensor
    sin: Tensor

    @classmethod
    def of_places(cls, places: Tensor, frequencies: Tensor) -> Rotation:
        """Make the rotation of tokens at ``places``, (N, 3) whole numbers z, y, x, with (p,) radians a token."""
        angles = (places[:, :, None] * frequencies).flatten(1)  # (N, 3 p)
        return cls(angles.cos(), angles.sin())

    def __call__(self, x: Tensor) -> Tensor:
        """Turn (..., N, d) in pairs; the remainder of d / 6 stays as it is."""
        cos, sin = self.cos.to(x.dtype), self.sin.to(x.dtype)
        pairs = cos.shape[-1]
        first, second, rest = x.split([pairs, pairs, x.shape[-1] - 2 * pairs], dim=-1)
        return torch.cat([first * cos - second * sin, first * sin + second * cos, rest], dim=-1)

    def select(self, indices: Tensor | None) -> Rotation:
        """The rotation of some of the tokens; ``None`` for all."""
        if indices is None:
            return self
        return Rotation(self.cos.index_select(0, indices), self.sin.index_select(0, indices))


def frequencies(head_dim: int, span: int) -> Tensor:
    """Radians (p,) that a step of one token turns each pair by.

    The fastest pair turns once in ``span`` steps, so that all steps that attention can take differ; the others are
    even fractions of it.

    Raises:
        ValueError: the heads are too narrow for a pair on each of three axes.
    """
    pairs = head_dim // 6
    if pairs < 1:
        raise ValueError(f"rotary positions need heads of at least 6 numbers, got {head_dim}")
    return 2 * math.pi / span * torch.arange(1, pairs + 1) / pairs


def token_places(size: Size3) -> Tensor:
    """Places (N, 3) of the tokens of a box in z, y, x order."""
    axes = torch.meshgrid(*(torch.arange(n) for n in size), indexing="ij")
    return torch.stack(axes, dim=-1).reshape(-1, 3)


def neighbours(queries: Tensor, keys: Tensor, radius: int) -> Tensor:
    """Whether places (Q, 3) and (N, 3) lie within a radius of each other along every axis: booleans (Q, N)."""
    return ((queries[:, None] - keys[None]).abs() <= radius).all(-1)


def as_mask(allowed: Tensor) -> Tensor:
    """0 where attention is allowed, else minus infinity: what is added to the scores."""
    return torch.zeros(allowed.shape, device=allowed.device).masked_fill(~allowed, -math.inf)


class BlockView(nn.Module):
    """What the tokens of a block see of each other.

    Args:
        block_patches: n, tokens of a block along z, y, x.
        head_dim: d.
        radius: how far a token attends along each axis; ``None`` for the whole block.
        rotary: whether queries and keys are turned by their places.
    """

    mask: Tensor | None
    cos: Tensor | None
    sin: Tensor | None

    def __init__(self, block_patches: Size3, head_dim: int, *, radius: int | None, rotary: bool) -> None:
        super().__init__()
        places = token_places(block_patches)
        span = 2 * (max(block_patches) - 1 if radius is None else radius) + 1
        self.frequencies = frequencies(head_dim, span) if rotary else None
        rotation = Rotation.of_places(places, self.frequencies) if self.frequencies is not None else None
        mask = None if radius is None else as_mask(neighbours(places, places, radius))
        self.register_buffer("mask", mask, persistent=False)
        self.register_buffer("cos", rotation.cos if rotation else None, persistent=False)
        self.register_buffer("sin", rotation.sin if rotation else None, persistent=False)

    def rotate(self, q: Tensor, k: Tensor, query_indices: Tensor | None) -> tuple[Tensor, Tensor]:
        """Turn queries (M, H, Q, d) and keys (M, H, N, d)."""
        if self.cos is None or self.sin is None:
            return q, k
        rotation = Rotation(self.cos, self.sin)
        return rotation.select(query_indices)(q), rotation(k)

    def mask_of(self, query_indices: Tensor | None) -> Tensor | None:
        """What is added to the scores of the queries, (Q, N)."""
        if self.mask is None or query_indices is None:
            return self.mask
        return self.mask.index_select(0, query_indices)
