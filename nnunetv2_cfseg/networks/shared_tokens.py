"""A layer on the tokens of a whole grid, which all blocks share, where tokens attend only to their neighbours.

The grid is cut into tiles. The queries of a tile attend to its own tokens and to those around it, as far as the radius
reaches; tokens beyond the grid do not exist.

Shapes: g tokens of the grid along an axis, D width, H heads, d = D / H; t tokens of a tile along an axis, n tiles along
an axis, S tiles computed at once, Q queries and N keys of a tile.
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

Pads = list[tuple[int, int]]


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

    def cut(self, start: int, stop: int) -> Rows:
        """Rows ``start`` to ``stop``, as far as they are there."""
        start, stop = max(start, self.first), min(stop, self.stop)
        return Rows(self.tokens[start - self.first : stop - self.first], start)


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
        queries = rows.cut(start, stop)
        keys = rows.cut(start - self.radius, stop + self.radius)
        tiling = Tiling.of(queries.tokens, self.radius, before=start - keys.first, behind=keys.stop - stop)
        q, k, v = self._project(queries, keys)
        exists = torch.ones(keys.tokens.shape[:3], dtype=torch.bool, device=keys.tokens.device)
        k, v, exists = (tiling.boxes(x) for x in (k, v, exists))
        tokens, q = (tiling.tiles(x) for x in (queries.tokens, q))
        near = as_mask(tiling.neighbours()).to(tokens)  # (Q, N)
        out = torch.zeros_like(tokens, memory_format=torch.contiguous_format)
        for places in tiling.places(wanted, tokens.device).split(self.chunk_tiles):
            at = tuple(places.T)
            q_, k_, v_ = (x[at].flatten(1, 3).transpose(1, 2) for x in (q, k, v))  # (S, H, Q or N, d)
            heads = attend(q_, k_, v_, near + as_mask(exists[at].flatten(1)).to(near)[:, None, None])
            attended = self.layer.attention.merge_heads(heads)
            computed = self.layer.after_attention(tokens[at].flatten(1, 3), attended)
            out[at] = computed.unflatten(1, tiling.tile).to(out.dtype)
        return tiling.whole(out)

    def _project(self, queries: Rows, keys: Rows) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values of rows, (rows, g_y, g_x, H, d), turned by their places."""
        attention = self.layer.attention
        seen = self.layer.seen_by_attention(keys.tokens)
        k, v = attention.key_value(seen).unflatten(-1, (2, attention.num_heads, -1)).unbind(3)
        asking = seen[queries.first - keys.first : queries.stop - keys.first]
        q = attention.query(asking).unflatten(-1, (attention.num_heads, -1))
        return self._turn(q, queries.first), self._turn(k, keys.first), v

    def _turn(self, x: Tensor, first_row: int) -> Tensor:
        """Turn queries or keys (rows, g_y, g_x, H, d) by their places."""
        if self.frequencies is None:
            return x
        size = _size3(x)
        places = token_places(size).to(x.device) + torch.tensor([first_row, 0, 0], device=x.device)
        rotation = Rotation.of_places(places, self.frequencies.to(x.device))
        return rotation(x.flatten(0, 2)).unflatten(0, size)


@dataclass(frozen=True)
class Tiling:
    """How rows of a grid are cut into tiles of queries and, around each, boxes of keys.

    Attributes:
        size: rows and tokens of the queries' grid along z, y, x.
        tile: t, queries of a tile along z, y, x.
        radius: tokens by which a box reaches past its tile on every side.
        fill: tokens that fill up the last tiles, along z, y, x.
        missing: rows of keys that do not exist before and behind the queries' rows, although the radius reaches them.
    """

    size: Size3
    tile: Size3
    radius: int
    fill: Size3
    missing: tuple[int, int]

    @classmethod
    def of(cls, queries: Tensor, radius: int, *, before: int, behind: int) -> Tiling:
        """Cut up queries (rows, g_y, g_x, ...) with so many rows of keys before and behind them."""
        z, y, x = size = _size3(queries)
        tile = (min(TILE, z), min(TILE, y), min(TILE, x))
        fill = (-z % tile[0], -y % tile[1], -x % tile[2])
        return cls(size, tile, radius, fill, (radius - before, radius - behind))

    @property
    def box(self) -> Size3:
        """Keys of a box along z, y, x."""
        z, y, x = (t + 2 * self.radius for t in self.tile)
        return z, y, x

    def tiles(self, x: Tensor) -> Tensor:
        """(*size, ...) to (n_z, n_y, n_x, t_z, t_y, t_x, ...), filled up with zeros."""
        return _unfold(_pad(x, [(0, n) for n in self.fill]), self.tile, self.tile)

    def boxes(self, keys: Tensor) -> Tensor:
        """The keys' rows to (n_z, n_y, n_x, *box, ...), zeros where there are none."""
        (before, behind), (z, y, x), r = self.missing, self.fill, self.radius
        return _unfold(_pad(keys, [(before, behind + z), (r, r + y), (r, r + x)]), self.box, self.tile)

    def neighbours(self) -> Tensor:
        """Which keys of a box are near which queries of its tile, booleans (Q, N)."""
        return neighbours(token_places(self.tile) + self.radius, token_places(self.box), self.radius)

    def places(self, wanted: Tensor | None, device: torch.device) -> Tensor:
        """Places (tiles, 3) of the tiles that hold a wanted token of booleans (*size); of all tiles for ``None``."""
        if wanted is None:
            z, y, x = ((n + more) // t for n, more, t in zip(self.size, self.fill, self.tile, strict=True))
            return token_places((z, y, x)).to(device)
        return self.tiles(wanted).flatten(3).any(-1).nonzero()

    def whole(self, tiles: Tensor) -> Tensor:
        """Inverse of :meth:`tiles`: (n_z, n_y, n_x, t_z, t_y, t_x, D) to (*size, D)."""
        z, y, x = self.size
        grid = tiles.permute(0, 3, 1, 4, 2, 5, 6).flatten(4, 5).flatten(2, 3).flatten(0, 1)
        return grid[:z, :y, :x]


def _size3(x: Tensor) -> Size3:
    z, y, width = x.shape[:3]
    return z, y, width


def _pad(x: Tensor, pads: Pads) -> Tensor:
    """Pad the first three axes with zeros."""
    flat = [0, 0] * (x.ndim - 3) + [side for pad in reversed(pads) for side in pad]
    return F.pad(x, flat) if any(flat) else x


def _unfold(x: Tensor, box: Size3, step: Size3) -> Tensor:
    """Boxes (n_z, n_y, n_x, b_z, b_y, b_x, ...) of (Z, Y, X, ...), a box every ``step``; a view."""
    for axis, (b, s) in enumerate(zip(box, step, strict=True)):
        x = x.unfold(axis, b, s)  # the box' axis comes last
    return x.movedim((-3, -2, -1), (3, 4, 5))
