"""The dense forward pass of a block-centre network, one row of centres along z at a time.

It gives the same as ``network(volume)``, but neither the volume nor its logits have to be in memory, embeddings and
tokens are kept only while a block needs them, and blocks of air can be skipped.

Shapes: C channels, P classes, Z Y X voxels; g patches of the continued volume along an axis, c of a centre, w voxels
along an axis of a patch; Q patches of a centre.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from nnunetv2_cfseg.inference.block_rows import BlockRows
from nnunetv2_cfseg.inference.lazy_volumes import LazyVolume
from nnunetv2_cfseg.inference.patch_rows import Foreground, PatchRows
from nnunetv2_cfseg.inference.shared_rows import SharedRows
from nnunetv2_cfseg.networks import BlockCenterTransformer
from nnunetv2_cfseg.networks.beyond_scan import BeyondScan

#: Blocks encoded at once; more do not run faster on a CPU, where their activations no longer fit the cache.
CHUNK_BLOCKS = 128


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
        self.shape = volume.shape
        #: Slices of logits in one row of centres.
        self.depth = network.center_size[0]
        self._shift = tuple(shift)
        beyond_scan = network.beyond_scan if beyond_scan is None else beyond_scan
        patch_rows = PatchRows(network, volume, beyond_scan=beyond_scan, shift=shift, foreground=foreground)
        self._rows: BlockRows | SharedRows = (
            BlockRows(patch_rows, chunk_blocks=chunk_blocks)
            if network.attention_radius is None
            else SharedRows(patch_rows, chunk_blocks=chunk_blocks)
        )
        self._logits: dict[int, Tensor] = {}

    @property
    def blocks_encoded(self) -> int:
        """Number of blocks encoded so far; of patches, if blocks share their tokens."""
        return self._rows.blocks_encoded

    @property
    def blocks(self) -> int:
        """Number of blocks so far including skipped ones; of patches, if blocks share their tokens."""
        return self._rows.blocks

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
        volume = self._rows.read(row)
        (_, y, x), (_, size_y, size_x) = self._shift, self.shape
        return volume[:, :, y : y + size_y, x : x + size_x]
