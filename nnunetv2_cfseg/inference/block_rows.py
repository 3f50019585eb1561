"""A row of centres, each predicted by its own block.

Shapes: M blocks, N tokens and Q centre tokens a block, P classes, w voxels along an axis of a patch; g patches of the
continued volume along an axis, c of a centre.
"""

from __future__ import annotations

import torch
from torch import Tensor

from nnunetv2_cfseg.inference.patch_rows import PatchRows
from nnunetv2_cfseg.networks.patches import block_token_indices, unpatch_centers


class BlockRows:
    """Rows of centres of a network whose tokens attend to their whole block.

    Args:
        rows: the volume's patches.
        chunk_blocks: blocks encoded at once.
    """

    def __init__(self, rows: PatchRows, *, chunk_blocks: int) -> None:
        network = rows.network
        self.rows, self.network, self.chunk_blocks = rows, network, chunk_blocks
        row_of_blocks = (network.block_patches[0], *rows.grid[1:])
        self._centers = tuple(
            (g - n) // c + 1
            for g, n, c in zip(row_of_blocks, network.block_patches, network.center_patches, strict=True)
        )
        self._indices = block_token_indices(
            row_of_blocks, network.block_patches, network.center_patches, network.embedding.weight.device
        )  # (M, N)
        self._tokens: dict[int, Tensor] = {}
        #: Number of blocks encoded so far, and of all blocks including skipped ones.
        self.blocks_encoded, self.blocks = 0, 0

    def read(self, row: int) -> Tensor:
        """Logits of a row of centres, (P, c_z w_z, Y, X), Y and X including the padding of the last centres."""
        network = self.network
        first = row * network.center_patches[0]
        planes = range(first, first + network.block_patches[0])
        self.rows.keep(planes)
        kept = self._tokens
        self._tokens = {plane: kept[plane] if plane in kept else self.rows.tokens(plane) for plane in planes}
        tokens = torch.cat(list(self._tokens.values()))
        patches = torch.cat([self.rows.patches(plane) for plane in planes])
        is_encoded = torch.cat([self.rows.may_be_foreground(plane) for plane in planes])[self._indices].any(1)
        indices = self._indices[is_encoded]
        self.blocks += len(self._indices)
        self.blocks_encoded += len(indices)
        centers = [
            network.decode(network.encode(tokens[chunk]), patches[chunk[:, network.center_indices]])
            for chunk in indices.split(self.chunk_blocks)
            if len(chunk)
        ]  # (M, Q, P, w^3) each
        logits = self.rows.with_background(centers, is_encoded, centers=len(network.center_indices))
        return unpatch_centers(logits.flatten(2), 1, self._centers, network.center_patches, network.patch_size)[0]
