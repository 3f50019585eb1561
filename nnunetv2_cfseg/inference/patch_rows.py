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


@dataclass(frozen=True)
class PatchRow:
    """A row of patches, padding included.

    Attributes:
        patches: (g_y g_x, C w^3), windowed intensities.
        tokens: (g_y g_x, D), embedded.
        may_be_foreground: (g_y g_x,) bool; a voxel beyond the scan counts like the voxel that it repeats.
    """

    patches: Tensor
    tokens: Tensor
    may_be_foreground: Tensor


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
        self._kept: dict[int, PatchRow] = {}

    def __getitem__(self, row: int) -> PatchRow:
        if row not in self._kept:
            self._kept[row] = self._embed(row)
        return self._kept[row]

    def forget_before(self, row: int) -> None:
        """Free the rows before a row; they are embedded anew if they are asked for again."""
        self._kept = {index: patch_row for index, patch_row in self._kept.items() if index >= row}

    def _embed(self, row: int) -> PatchRow:
        network = self.network
        weight = network.embedding.weight
        depth = network.patch_size[0]
        window = self._continued.read(row * depth, (row + 1) * depth).to(weight.device)
        patches = patchify(network.windows(window[None]), network.patch_size).flatten(0, 3).to(weight.dtype)
        may_be_foreground = self._may_be_foreground(window, row * depth)
        anywhere = patchify(may_be_foreground[None, None], network.patch_size).flatten(0, 3).any(-1)
        return PatchRow(patches, network.embedding(patches), anywhere)

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

    def with_background(self, encoded: Sequence[Tensor], is_encoded: Tensor) -> Tensor:
        """Logits (len(is_encoded), Q, P, w^3) of all centres, from those of the encoded ones and of background.

        Args:
            encoded: logits of some centres each, (M, Q, P, w^3).
            is_encoded: booleans, one a centre.
        """
        if self.foreground is None:
            return torch.cat(list(encoded)).float()
        background = torch.tensor(self.foreground.background, device=is_encoded.device, dtype=torch.float32)
        network = self.network
        centers = len(network.center_indices) if network.attention_radius is None else 1
        filled = background[:, None].expand(len(is_encoded), centers, -1, prod(network.patch_size)).clone()
        if encoded:
            filled[is_encoded] = torch.cat(list(encoded)).float()
        return filled
