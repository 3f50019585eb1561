"""Rows of patches of a volume that is continued beyond its ends, read and embedded as they are needed.

Shapes: C channels, P classes, Z Y X voxels, D width; w voxels along an axis of a patch, g patches of the continued
volume along an axis.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor

from nnunetv2_cfseg.inference.lazy_volumes import Continued, LazyVolume
from nnunetv2_cfseg.networks import BlockCenterTransformer
from nnunetv2_cfseg.networks.beyond_scan import BeyondScan
from nnunetv2_cfseg.networks.patches import Size3, block_pads, patch_grid, patchify


@dataclass(frozen=True)
class Foreground:
    """The intensities that foreground can have, and the logits of blocks without any of them.

    Attributes:
        low: smallest intensity of foreground for each channel, normalised.
        high: largest intensity of foreground for each channel, normalised.
        background: P logits of a block without foreground.
    """

    low: Sequence[float]
    high: Sequence[float]
    background: Sequence[float]


class PatchRows:
    """The rows of a volume, of which the latest are kept.

    Args:
        network: on its device, in the precision to compute in.
        volume: normalised intensities, (C, Z, Y, X).
        beyond_scan: what blocks see beyond its ends.
        shift: how many voxels before the volume the grid of centres begins, z, y, x.
        foreground: the intensities that foreground can have; None if any voxel may be foreground.
    """

    def __init__(
        self,
        network: BlockCenterTransformer,
        volume: LazyVolume,
        *,
        beyond_scan: BeyondScan,
        shift: Sequence[int],
        foreground: Foreground | None,
    ) -> None:
        self.network = network
        self.foreground = foreground
        on_grid = [size + voxels for size, voxels in zip(volume.shape, shift, strict=True)]
        pads = block_pads(on_grid, network.patch_size, network.block_patches, network.center_patches)
        self._continued = Continued(
            volume,
            beyond_scan,
            [(before + voxels, behind) for (before, behind), voxels in zip(pads, shift, strict=True)],
        )
        # Voxels beyond the scan cannot be foreground, except those that a shift puts before the scan.
        self._on_grid = None if beyond_scan.shows_scan else [
            slice(before, before + size) for (before, _), size in zip(pads, on_grid, strict=True)
        ]  # fmt: skip
        #: Patches of the continued volume along z, y, x.
        self.grid: Size3 = patch_grid(self._continued.shape, network.patch_size)
        self._windows: dict[int, Tensor] = {}
        self._patches: dict[int, Tensor] = {}
        self._flags: dict[int, Tensor] = {}

    def may_be_foreground(self, row: int) -> Tensor:
        """Which patches of a row may show foreground, (g_y g_x,) bool.

        A voxel beyond the scan counts like the voxel that it repeats.
        """
        if row not in self._flags:
            self._read(row)
        return self._flags[row]

    def patches(self, row: int) -> Tensor:
        """The windowed intensities of a row, (g_y g_x, C w^3)."""
        if row not in self._patches:
            if row not in self._windows:
                self._read(row)
            windowed = self.network.windows(self._windows.pop(row)[None])
            dtype = self.network.embedding.weight.dtype
            self._patches[row] = patchify(windowed, self.network.patch_size).flatten(0, 3).to(dtype)
        return self._patches[row]

    def tokens(self, row: int) -> Tensor:
        """The embedded patches of a row, (g_y g_x, D); they are not kept."""
        return self.network.embedding(self.patches(row))

    def keep(self, rows: range) -> None:
        """Forget all other rows; they are read anew if they are asked for again."""
        for kept in (self._windows, self._patches, self._flags):
            for row in [row for row in kept if row not in rows]:
                del kept[row]

    def _read(self, row: int) -> None:
        """Read the voxels of a row, which is all that is kept of it until its patches are asked for."""
        depth = self.network.patch_size[0]
        window = self._continued.read(row * depth, (row + 1) * depth).to(self.network.embedding.weight.device)
        may_be_foreground = self._may_be_foreground(window, row * depth)
        self._flags[row] = patchify(may_be_foreground[None, None], self.network.patch_size).flatten(0, 3).any(-1)
        if row not in self._patches:
            self._windows[row] = window

    def _may_be_foreground(self, values: Tensor, start: int) -> Tensor:
        """Whether voxels (C, Z, Y, X), from slice ``start`` on, are in foreground's range in any channel, (Z, Y, X)."""
        if self.foreground is None:
            return torch.ones_like(values[0], dtype=torch.bool)
        low, high = (
            torch.tensor(limit, device=values.device)[:, None, None, None]
            for limit in (self.foreground.low, self.foreground.high)
        )
        in_range = ((values >= low) & (values <= high)).any(0)
        if self._on_grid is None:
            return in_range
        z, y, x = self._on_grid
        first, last = (min(max(plane - start, 0), len(in_range)) for plane in (z.start, z.stop))
        counts = torch.zeros_like(in_range)
        counts[first:last, y, x] = in_range[first:last, y, x]
        return counts

    def with_background(self, encoded: Sequence[Tensor], is_encoded: Tensor, *, centers: int) -> Tensor:
        """Logits (len(is_encoded), Q, P, w^3) of all blocks, from those of the encoded ones and of background.

        Args:
            encoded: logits of some blocks each, (M, Q, P, w^3).
            is_encoded: booleans, one a block.
            centers: Q.
        """
        if self.foreground is None:
            return torch.cat(list(encoded)).float()
        background = torch.tensor(self.foreground.background, device=is_encoded.device, dtype=torch.float32)
        shape = (len(is_encoded), centers, -1, prod(self.network.patch_size))
        filled = background[:, None].expand(shape).clone()
        if encoded:
            filled[is_encoded] = torch.cat(list(encoded)).float()
        return filled
