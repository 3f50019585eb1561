"""A row of centres whose tokens all blocks share, computed row after row of patches.

Each layer keeps only the rows that the next layer still reads, so the memory does not grow with the number of slices.

Shapes: g patches of the continued volume along an axis, h of them around the volume as its halo, D width, P classes, w
voxels along an axis of a patch; a row is a plane of patches, (g_y, g_x).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from nnunetv2_cfseg.inference.patch_rows import PatchRows
from nnunetv2_cfseg.networks.patches import unpatch_centers
from nnunetv2_cfseg.networks.shared_tokens import Rows


class SharedRows:
    """Rows of centres of a network whose tokens attend to their neighbours.

    Read forwards, every token is computed once. Read backwards, as for scans mirrored along z, each row of centres
    starts anew with all rows that its layers see.

    Args:
        rows: the volume's patches.
        chunk_blocks: tiles of tokens encoded at once, and 8 times as many patches decoded at once.
    """

    def __init__(self, rows: PatchRows, *, chunk_blocks: int) -> None:
        network = rows.network
        self.rows, self.network, self.chunk_patches = rows, network, 8 * chunk_blocks
        self.layers = network.shared_layers(chunk_tiles=chunk_blocks)
        self._inside = tuple(slice(h, g - h) for h, g in zip(network.halo_patches, rows.grid, strict=True))
        self._kept: dict[int, Rows] = {}
        #: Number of patches encoded so far, and of all patches including skipped ones.
        self.blocks_encoded, self.blocks = 0, 0

    def read(self, row: int) -> Tensor:
        """Logits of a row of centres, (P, c_z w_z, Y, X), Y and X including the padding of the last centres."""
        network = self.network
        first = network.halo_patches[0] + row * network.center_patches[0]
        planes = range(first, first + network.center_patches[0])
        _, y, x = self._inside
        is_encoded = self._wanted(planes, 0)[:, y, x]
        grid = is_encoded.shape
        is_encoded = is_encoded.flatten()
        tokens = self._rows_of(len(self.layers), planes.start, planes.stop).tokens[:, y, x].flatten(0, 2)[is_encoded]
        patches = torch.stack([self._on_grid(self.rows.patches(plane)) for plane in planes])[:, y, x]
        patches = patches.flatten(0, 2)[is_encoded]
        self.blocks += len(is_encoded)
        self.blocks_encoded += len(tokens)
        centers = [
            network.decode(network.encoder.final_norm(some)[:, None], their_patches[:, None])
            for some, their_patches in zip(
                tokens.split(self.chunk_patches), patches.split(self.chunk_patches), strict=True
            )
            if len(some)
        ]  # (patches, 1, P, w^3) each
        logits = self.rows.with_background(centers, is_encoded, centers=1)
        # Read forwards, the next row of centres needs nothing before these; backwards it is computed anew.
        halo, reach = max(network.halo_patches), sum(layer.radius for layer in self.layers)
        self.rows.keep(range(planes.stop - halo, planes.stop + 2 * reach + halo))
        return unpatch_centers(logits.flatten(2), 1, tuple(grid), (1, 1, 1), network.patch_size)[0]

    def _on_grid(self, values: Tensor) -> Tensor:
        """(g_y g_x, ...) to (g_y, g_x, ...)."""
        return values.unflatten(0, self.rows.grid[1:])

    def _rows_of(self, level: int, start: int, stop: int) -> Rows:
        """Rows ``start`` to ``stop`` behind the first ``level`` layers; what is kept of earlier rows is given up."""
        kept = self._kept.get(level)
        if kept is None or not kept.first <= start <= kept.stop:
            kept = Rows(torch.empty(0), start)
        old = kept.tokens[start - kept.first :]
        first_new = max(start, kept.stop)
        new = [self._compute(level, first_new, stop)] if first_new < stop else []
        rows = Rows(torch.cat([old, *new]) if len(old) else new[0], start)
        self._kept[level] = rows
        return rows

    def _compute(self, level: int, start: int, stop: int) -> Tensor:
        """Rows ``start`` to ``stop`` behind layer ``level``, (stop - start, g_y, g_x, D), computed anew."""
        if level == 0:
            return torch.stack([self._on_grid(self.rows.tokens(row)) for row in range(start, stop)])
        layer = self.layers[level - 1]
        source = self._rows_of(level - 1, max(0, start - layer.radius), min(self.rows.grid[0], stop + layer.radius))
        reach = sum(later.radius for later in self.layers[level:])
        return layer(source, start, stop, self._wanted(range(start, stop), reach))

    def _wanted(self, planes: range, reach: int) -> Tensor:
        """Which tokens a prediction depends on that lies ``reach`` patches away or nearer, (planes, g_y, g_x).

        Patches are predicted that show foreground or have it within the halo.
        """
        reach += max(self.network.halo_patches)
        if self.rows.foreground is None:
            device = self.network.embedding.weight.device
            return torch.ones(len(planes), *self.rows.grid[1:], dtype=torch.bool, device=device)
        first, last = max(0, planes.start - reach), min(self.rows.grid[0], planes.stop + reach)
        shows = torch.stack([self._on_grid(self.rows.may_be_foreground(row)) for row in range(first, last)])
        return dilated(shows, reach)[planes.start - first : planes.stop - first]


def dilated(marked: Tensor, reach: int) -> Tensor:
    """Whether something is marked within ``reach`` of each place along every axis: booleans (Z, Y, X)."""
    if not reach:
        return marked
    spread = marked[None].float()
    for axis in range(3):  # one axis after the other is much cheaper than a cube
        kernel, padding = [1, 1, 1], [0, 0, 0]
        kernel[axis], padding[axis] = 2 * reach + 1, reach
        spread = F.max_pool3d(spread, kernel, stride=1, padding=padding)
    return spread[0] > 0
