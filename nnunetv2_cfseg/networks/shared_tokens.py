"""A layer on the tokens of a whole grid, which all blocks share, where tokens attend only to their neighbours.

The grid is cut into tiles. The queries of a tile attend to its own tokens and to those around it, as far as the radius
goes; tokens beyond the grid do not exist.

Shapes: g tokens of the grid along an axis, D width, H heads, d = D / H; S tiles computed at once, Q queries and N keys
of a tile.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from nnunetv2_cfseg.networks.encoder import EncoderLayer, attend
from nnunetv2_cfseg.networks.neighbourhood import Rotation, as_mask, neighbours, token_places
from nnunetv2_cfseg.networks.patches import Size3

#: Tokens of a tile along an axis. Smaller tiles gather a key more often, larger ones compare more tokens in vain.
TILE = 4


@dataclass(frozen=True)
class Rows:
    """Some rows of a grid of tokens.

    Attributes:
        tokens: (rows, g_y, g_x, D).
        first: number of the first row, from anywhere.
    """

    tokens: Tensor
    first: int = 0

    @property
    def stop(self) -> int:
        """Number of the row behind the last one."""
        return self.first + len(self.tokens)


class SharedLayer:
    """An encoder layer for rows of a grid.

    Args:
        layer: the encoder layer.
        radius: how far a token attends along each axis.
        frequencies: radians (p,) by which a step turns each pair of a head; ``None`` without rotary positions.
        chunk_tiles: tiles that are computed at once; changes memory, not the result.
    """

    def __init__(self, layer: EncoderLayer, *, radius: int, frequencies: Tensor | None, chunk_tiles: int = 32) -> None:
        self.layer, self.radius, self.frequencies, self.chunk_tiles = layer, radius, frequencies, chunk_tiles

    def __call__(self, rows: Rows, start: int, stop: int, wanted: Tensor | None = None) -> Tensor:
        """Compute rows ``start`` to ``stop`` from rows that reach a radius further, where the grid does.

        Args:
            wanted: booleans (stop - start, g_y, g_x), the tokens to compute; ``None`` for all.

        Returns:
            (stop - start, g_y, g_x, D); tokens that are not wanted may be anything.
        """
        r, tokens = self.radius, rows.tokens
        queries = tokens[start - rows.first : stop - rows.first]
        size = queries.shape[:3]
        tile = (min(TILE, size[0]), min(TILE, size[1]), min(TILE, size[2]))
        behind = [-n % t for n, t in zip(size, tile, strict=True)]  # tokens that fill the last tiles
        before_z, after_z = min(r, start - rows.first), min(r, rows.stop - stop)
        keys = tokens[start - before_z - rows.first : stop + after_z - rows.first]
        pads = [(r - before_z, r - after_z + behind[0]), (r, r + behind[1]), (r, r + behind[2])]
        seen = self.layer.seen_by_attention(keys)
        attention = self.layer.attention
        k, v = attention.key_value(seen).unflatten(-1, (2, attention.num_heads, -1)).unbind(3)  # (rows, gy, gx, H, d)
        q = attention.query(self.layer.seen_by_attention(queries)).unflatten(-1, (attention.num_heads, -1))
        q, k = self._turned(q, start), self._turned(k, start - before_z)
        exists = _pad(torch.ones(keys.shape[:3], dtype=torch.bool, device=keys.device), pads)
        box = (tile[0] + 2 * r, tile[1] + 2 * r, tile[2] + 2 * r)
        k, v = (_tiles(_pad(x, pads), box, tile) for x in (k, v))
        exists = _tiles(exists, box, tile)
        fill = [(0, n) for n in behind]
        q, queries = _tiles(_pad(q, fill), tile, tile), _tiles(_pad(queries, fill), tile, tile)
        near = as_mask(neighbours(token_places(tile) + r, token_places(box), r)).to(keys)
        where = self._wanted_tiles(wanted, fill, tile, exists.shape[:3], keys.device)
        out = torch.zeros_like(queries, memory_format=torch.contiguous_format)
        for part in where.split(self.chunk_tiles):
            at = tuple(part.T)
            q_, k_, v_ = (x[at].flatten(1, 3).transpose(1, 2) for x in (q, k, v))  # (S, H, tokens, d)
            heads = attend(q_, k_, v_, near + as_mask(exists[at].flatten(1)).to(near)[:, None, None])
            computed = self.layer.after_attention(queries[at].flatten(1, 3), attention.merge_heads(heads))
            out[at] = computed.unflatten(1, tile).to(out.dtype)
        whole = out.permute(0, 3, 1, 4, 2, 5, 6).flatten(4, 5).flatten(2, 3).flatten(0, 1)
        return whole[: size[0], : size[1], : size[2]]

    def _turned(self, x: Tensor, first_row: int) -> Tensor:
        """Turn queries or keys (rows, g_y, g_x, H, d) by their places."""
        if self.frequencies is None:
            return x
        z, y, width = x.shape[:3]
        size: Size3 = (z, y, width)
        places = token_places(size).to(x.device) + torch.tensor([first_row, 0, 0], device=x.device)
        rotation = Rotation.of_places(places, self.frequencies.to(x.device))
        return rotation(x.flatten(0, 2)).unflatten(0, size)

    def _wanted_tiles(
        self, wanted: Tensor | None, fill: list[tuple[int, int]], tile: Size3, tiles: torch.Size, device: torch.device
    ) -> Tensor:
        """Places (tiles, 3) of the tiles that hold a wanted token."""
        if wanted is None:
            return token_places((tiles[0], tiles[1], tiles[2])).to(device)
        return _tiles(_pad(wanted, fill), tile, tile).flatten(3).any(-1).nonzero()


def _pad(x: Tensor, pads: list[tuple[int, int]]) -> Tensor:
    """Pad the first three axes with zeros."""
    flat = [0, 0] * (x.ndim - 3) + [side for pad in reversed(pads) for side in pad]
    return F.pad(x, flat) if any(flat) else x


def _tiles(x: Tensor, box: tuple[int, ...], step: tuple[int, ...]) -> Tensor:
    """Boxes (n_z, n_y, n_x, b_z, b_y, b_x, ...) of (Z, Y, X, ...), a box every ``step``; a view."""
    for axis, (b, s) in enumerate(zip(box, step, strict=True)):
        x = x.unfold(axis, b, s)  # the box' axis comes last
    return x.movedim((-3, -2, -1), (3, 4, 5))
