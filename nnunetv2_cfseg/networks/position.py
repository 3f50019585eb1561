"""Position codes of the tokens in a block (Eq. 3)."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from nnunetv2_cfseg.networks.patches import Size3


def sine_cosine_3d(block_patches: Size3, embed_dim: int) -> Tensor:
    """Sine-cosine position code of a block (Vaswani et al. 2017, section 3.5), a third of the width for each axis.

    Args:
        block_patches: n, tokens of a block along z, y, x.
        embed_dim: D >= 6; the remainder after three even parts is zero.

    Returns:
        (N, D) in [-1, 1], tokens in z, y, x order; all tokens have different codes.

    Raises:
        ValueError: D is too small to code three axes.
    """
    if embed_dim < 6:
        raise ValueError(f"a sine-cosine code of three axes needs embed_dim >= 6, got {embed_dim}")
    pairs = embed_dim // 6
    frequencies = torch.exp(-math.log(10000.0) * torch.arange(pairs) / pairs)
    code = torch.zeros(*block_patches, embed_dim)
    for axis, n in enumerate(block_patches):
        angles = torch.arange(n)[:, None] * frequencies  # (n, pairs)
        shape = [1, 1, 1, 2 * pairs]
        shape[axis] = n
        start = axis * 2 * pairs
        code[..., start : start + 2 * pairs] = torch.cat([angles.sin(), angles.cos()], dim=1).reshape(shape)
    return code.reshape(-1, embed_dim)


class PositionCode(nn.Module):
    """Adds a code to every token by its place in the block.

    Args:
        kind: ``sine`` (the paper's), ``learned`` (Karimi et al. 2021), ``none``, or ``rotary``, which adds nothing
            here: see :mod:`.neighbourhood`.

    Raises:
        ValueError: an unknown kind.
    """

    code: Tensor | None

    def __init__(self, kind: str, block_patches: Size3, embed_dim: int) -> None:
        super().__init__()
        if kind == "sine":
            self.register_buffer("code", sine_cosine_3d(block_patches, embed_dim), persistent=False)
        elif kind == "learned":
            tokens = block_patches[0] * block_patches[1] * block_patches[2]
            self.code = nn.Parameter(torch.randn(tokens, embed_dim) * 0.02)
        elif kind in ("none", "rotary"):  # rotary positions turn queries and keys instead
            self.code = None
        else:
            raise ValueError(f"position must be one of sine, learned, rotary, none, got {kind!r}")

    def forward(self, tokens: Tensor) -> Tensor:
        """(M, N, D) to (M, N, D)."""
        return tokens if self.code is None else tokens + self.code
