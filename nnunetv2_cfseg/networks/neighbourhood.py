"""Which tokens a token attends to, and how it tells where they lie.

A token may attend to its whole block, or only to its neighbours within a radius. Rotary positions (Su et al. 2021,
"RoFormer", arXiv 2104.09864) turn queries and keys by their place on the grid, a third of the pairs for each axis, so
that attention depends on where two tokens lie relative to each other and not on where they lie in the block.

Shapes: N tokens, H heads, d width of a head, p pairs of numbers turned for each axis.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from nnunetv2_cfseg.networks.patches import Size3

#: Added to the scores of tokens that must not be seen: their weight becomes exactly 0. It is finite, also twice in
#: float16, so that a query without any token to see gives numbers and not NaN.
FORBIDDEN = -1e4


@dataclass(frozen=True)
class Rotation:
    """Cosines and sines, (N, 3 p), by which queries or keys (..., N, H, d) are turned."""

    cos: Tensor
    sin: Tensor

    @classmethod
    def of_places(cls, places: Tensor, frequencies: Tensor) -> Rotation:
        """Make the rotation of tokens at ``places``, (N, 3) whole numbers z, y, x, with (p,) radians a token."""
        angles = (places[:, :, None] * frequencies).flatten(1)  # (N, 3 p)
        return cls(angles.cos(), angles.sin())

    def __call__(self, x: Tensor) -> Tensor:
        """Turn (..., N, H, d) in pairs; the remainder of d / 6 stays as it is."""
        cos, sin = self.cos[:, None].to(x.dtype), self.sin[:, None].to(x.dtype)
        pairs = cos.shape[-1]
        first, second, rest = x.split([pairs, pairs, x.shape[-1] - 2 * pairs], dim=-1)
        return torch.cat([first * cos - second * sin, first * sin + second * cos, rest], dim=-1)


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
    near = torch.ones(len(queries), len(keys), dtype=torch.bool, device=keys.device)
    for q, k in zip(queries.unbind(1), keys.unbind(1), strict=True):  # one axis after the other takes less memory
        near &= (q[:, None] - k).abs() <= radius
    return near


def as_mask(allowed: Tensor) -> Tensor:
    """0 where attention is allowed, else :data:`FORBIDDEN`: what is added to the scores."""
    return torch.zeros(allowed.shape, device=allowed.device).masked_fill(~allowed, FORBIDDEN)


class BlockView(nn.Module):
    """What queries of a block see of its tokens.

    Args:
        block_patches: n, tokens of a block along z, y, x.
        head_dim: d.
        radius: how far a token attends along each axis; ``None`` for the whole block.
        rotary: whether queries and keys are turned by their places.
        queries: which tokens of the block the queries are, in z, y, x order; ``None`` for all.
    """

    #: What is added to the scores, (Q, N); ``None`` if nothing is.
    mask: Tensor | None
    query_cos: Tensor
    query_sin: Tensor
    key_cos: Tensor
    key_sin: Tensor

    def __init__(
        self,
        block_patches: Size3,
        head_dim: int,
        *,
        radius: int | None,
        rotary: bool,
        queries: Sequence[int] | None = None,
    ) -> None:
        super().__init__()
        keys = token_places(block_patches)
        places = keys if queries is None else keys[list(queries)]
        span = 2 * (max(block_patches) - 1 if radius is None else radius) + 1
        self.frequencies = frequencies(head_dim, span) if rotary else None
        self.register_buffer(
            "mask", None if radius is None else as_mask(neighbours(places, keys, radius)), persistent=False
        )
        for name, turned in (("query", places), ("key", keys)):
            rotation = None if self.frequencies is None else Rotation.of_places(turned, self.frequencies)
            self.register_buffer(f"{name}_cos", None if rotation is None else rotation.cos, persistent=False)
            self.register_buffer(f"{name}_sin", None if rotation is None else rotation.sin, persistent=False)

    def rotate(self, q: Tensor, k: Tensor) -> tuple[Tensor, Tensor]:
        """Turn queries (M, Q, H, d) and keys (M, N, H, d)."""
        if self.frequencies is None:
            return q, k
        return Rotation(self.query_cos, self.query_sin)(q), Rotation(self.key_cos, self.key_sin)(k)
