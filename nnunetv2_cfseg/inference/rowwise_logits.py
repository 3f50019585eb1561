"""The dense forward pass of a block-centre network, one row of centres along z at a time.

It gives the same as ``network(volume)``, but neither the volume nor its logits have to be in memory, embeddings of
patches are kept only while a block needs them, and blocks of air can be skipped.

Shapes: C channels, P classes, Z Y X voxels; patches along an axis: g in the volume, n in a block, c in a centre; w
voxels along an axis of a patch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from nnunetv2_cfseg.inference.lazy_volumes import Continued, LazyVolume
from nnunetv2_cfseg.networks import BlockCenterTransformer
from nnunetv2_cfseg.networks.beyond_scan import BeyondScan
from nnunetv2_cfseg.networks.patches import block_pads, block_token_indices, patch_grid, patchify, unpatch_centers

#: Blocks encoded at once; more do not run faster on a CPU, where their activations no longer fit the cache.
CHUNK_BLOCKS = 128


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
class _PatchRow:
    """A row of patches, padding included.

    Attributes:
        patches: (g_y g_x, C w^3), windowed intensities.
        tokens: (g_y g_x, D), embedded.
        may_be_foreground: (g_y g_x,) bool; a voxel beyond the scan counts like the voxel that it repeats.
    """

    patches: Tensor
    tokens: Tensor
    may_be_foreground: Tensor


class RowwiseLogits:
    """The logits of a volume, put together from every block's prediction of its own centre.

    Args:
        network: on its device, in the precision to compute in.
        volume: normalised intensities, (C, Z, Y, X).
        beyond_scan: what blocks see beyond its ends; None for what the network was built with.
        shift: how many voxels before the volume the grid of centres begins, z, y, x.
        chunk_blocks: blocks encoded at once.
        foreground: blocks without a voxel in its range are skipped and become background; None encodes all blocks.
    """

    def __init__(
        self,
        network: BlockCenterTransformer,
        volume: LazyVolume,
        *,
        beyond_scan: BeyondScan | None = None,
        shift: Sequence[int] = (0, 0, 0),
        chunk_blocks: int = CHUNK_BLOCKS,
        foreground: Foreground | None = None,
    ) -> None:
        self.network = network
        self.volume = volume
        self.shape = volume.shape
        self.chunk_blocks = chunk_blocks
        self.foreground = foreground
        #: Slices of logits in one row of centres.
        self.depth = network.center_size[0]
        weight = network.embedding.weight
        self._device, self._dtype = weight.device, weight.dtype
        self._shift = tuple(shift)
        on_grid = [size + voxels for size, voxels in zip(self.shape, self._shift, strict=True)]
        pads = block_pads(on_grid, network.patch_size, network.block_patches, network.center_patches)
        beyond_scan = network.beyond_scan if beyond_scan is None else beyond_scan
        self._continued = Continued(
            volume,
            beyond_scan,
            [(before + voxels, behind) for (before, behind), voxels in zip(pads, self._shift, strict=True)],
        )
        # Voxels beyond the scan cannot be foreground, except those that a shift puts before the scan.
        self._on_grid = None if beyond_scan.shows_scan else [
            slice(before, before + size) for (before, _), size in zip(pads, on_grid, strict=True)
        ]  # fmt: skip
        _, grid_y, grid_x = patch_grid(self._continued.shape, network.patch_size)
        row_of_blocks = (network.block_patches[0], grid_y, grid_x)
        self._centers = tuple(
            (g - n) // c + 1
            for g, n, c in zip(row_of_blocks, network.block_patches, network.center_patches, strict=True)
        )
        self._indices = block_token_indices(
            row_of_blocks, network.block_patches, network.center_patches, self._device
        )  # (blocks, N)
        self._patch_rows: dict[int, _PatchRow] = {}
        self._logits: dict[int, Tensor] = {}
        #: Number of blocks encoded so far, and of all blocks including skipped ones.
        self.blocks_encoded, self.blocks = 0, 0

    def read(self, start: int, stop: int) -> Tensor:
        """Logits, (P, stop - start, Y, X) float32, on the network's device."""
        start, stop = start + self._shift[0], stop + self._shift[0]
        rows = range(start // self.depth, -(-stop // self.depth))
        self._logits = {row: self._logits[row] if row in self._logits else self._predict_row(row) for row in rows}
        first = start - rows.start * self.depth
        logits = torch.cat([self._logits[row] for row in rows], dim=1) if len(rows) > 1 else self._logits[rows.start]
        return logits[:, first : first + stop - start]

    @torch.inference_mode()
    def _predict_row(self, row: int) -> Tensor:
        """Logits of one row of centres, (P, depth, Y, X)."""
        network = self.network
        first = row * network.center_patches[0]
        needed = range(first, first + network.block_patches[0])
        kept = self._patch_rows
        self._patch_rows = {index: kept[index] if index in kept else self._embed_row(index) for index in needed}
        rows = self._patch_rows.values()
        tokens = torch.cat([patch_row.tokens for patch_row in rows])
        patches = torch.cat([patch_row.patches for patch_row in rows])
        indices = self._indices
        is_encoded = None
        if self.foreground is not None:
            is_encoded = torch.cat([patch_row.may_be_foreground for patch_row in rows])[indices].any(1)
            indices = indices[is_encoded]
        self.blocks += len(self._indices)
        self.blocks_encoded += len(indices)
        centers = [
            network.decode(network.encode(tokens[chunk]), patches[chunk[:, network.center_indices]])
            for chunk in indices.split(self.chunk_blocks)
            if len(chunk)
        ]
        logits = torch.cat(centers).float() if centers else tokens.new_zeros(0)  # (blocks, Q, P, w^3)
        if self.foreground is not None and is_encoded is not None:
            logits = self._with_background(logits, is_encoded, self.foreground.background)
        volume = unpatch_centers(logits.flatten(2), 1, self._centers, network.center_patches, network.patch_size)[0]
        (_, y, x), (_, size_y, size_x) = self._shift, self.shape
        return volume[:, :, y : y + size_y, x : x + size_x]

    def _with_background(self, logits: Tensor, is_encoded: Tensor, background: Sequence[float]) -> Tensor:
        """Logits of all blocks, from those of the encoded ones and the logits of background."""
        logits_of_air = torch.tensor(background, device=self._device, dtype=torch.float32)
        voxels = self.network.patch_size[0] * self.network.patch_size[1] * self.network.patch_size[2]
        shape = (len(is_encoded), len(self.network.center_indices), len(logits_of_air), voxels)
        filled = logits_of_air[:, None].expand(shape).clone()
        if len(logits):
            filled[is_encoded] = logits
        return filled

    def _embed_row(self, row: int) -> _PatchRow:
        """Patches of one row of the continued volume, with their embeddings."""
        network = self.network
        depth = network.patch_size[0]
        window = self._continued.read(row * depth, (row + 1) * depth).to(self._device)
        patches = patchify(network.windows(window[None]), network.patch_size).flatten(0, 3).to(self._dtype)
        may_be_foreground = self._may_be_foreground(window, row * depth)
        anywhere = patchify(may_be_foreground[None, None], network.patch_size).flatten(0, 3).any(-1)
        return _PatchRow(patches, network.embedding(patches), anywhere)

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
