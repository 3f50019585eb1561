"""The last step of the augmentation of thin-thick training: a thin crop becomes thick blocks and the thin ones below.

Shapes: C channels, Z Y X voxels of the thin crop, M thick blocks, r thin slices in a thick one.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from nnunetv2_cfseg.data.blocks import BlockSampling, cut_blocks, draw_centers
from nnunetv2_cfseg.trainers.block_transform import DrawBlocks


class DrawSlabBlocks(DrawBlocks):
    """Turns ``image`` (C, Z, Y, X) into (M, 1 + r, C, *block_size) and ``segmentation`` into (M, R, r c_z, c_y, c_x).

    Of each M the first block is thick: cut out of the crop's average over slabs. Its centre, of the same number of
    voxels as a thin one, is r times as deep in mm; the r thin blocks after it are those whose centres fill it, from
    the first slice on. The segmentation is that of the thin centres together.

    Args:
        sampling: how thick centres are drawn, ``blocks_per_crop`` is M.
        factor: r.
        others: see :class:`~.block_transform.DrawBlocks`; sizes are voxels, thick or thin.
    """

    def __init__(self, sampling: BlockSampling, *, factor: int, **others: Any) -> None:
        super().__init__(sampling, **others)
        self.factor = factor

    def apply(self, data_dict: dict, **params: object) -> dict:
        """Replace image and segmentation.

        Raises:
            ValueError: the crop is not whole slabs.
        """
        image: Tensor = data_dict["image"]
        target: Tensor = data_dict["segmentation"]
        thick_image = average_slabs(image, self.factor)
        # nnU-Net seeds numpy's global stream in every worker; all of this step's randomness comes from there.
        starts = draw_centers(
            target[:, :: self.factor],
            self.sampling,
            center_size=self.center_size,
            block_size=self.block_size,
            ignore_label=self.ignore_label,
            rng=np.random.default_rng(np.random.randint(2**31, size=4)),
            looks_like_foreground=self._looks_like_foreground(thick_image),
        )
        thick = cut_blocks(thick_image, starts, size=self.block_size, margin=self.margin)
        depth = self.center_size[0]
        top = starts * np.array([self.factor, 1, 1])  # thick slices to thin ones
        thin = [
            cut_blocks(image, top + np.array([i * depth, 0, 0]), size=self.block_size, margin=self.margin)
            for i in range(self.factor)
        ]
        data_dict["image"] = torch.stack([thick, *thin], dim=1)
        whole = (self.factor * depth, *self.center_size[1:])
        data_dict["segmentation"] = cut_blocks(target, top, size=whole)
        return data_dict


def average_slabs(image: Tensor, factor: int) -> Tensor:
    """Average intensity projection of a crop, (C, Z, Y, X) to (C, Z / r, Y, X).

    nnU-Net's normalised CT is linear in HU over our clip range, so this is the average of the HU.

    Raises:
        ValueError: the crop is not whole slabs.
    """
    if image.shape[1] % factor:
        raise ValueError(f"a crop must be whole slabs of {factor} slices, got {image.shape[1]}")
    return image.unflatten(1, (-1, factor)).mean(dim=2)
