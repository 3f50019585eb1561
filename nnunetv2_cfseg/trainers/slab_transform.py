"""The last step of the augmentation of thin-thick training: a thin crop becomes thick blocks and the thin ones below.

Shapes: C channels, Z Y X voxels of the thin crop, M thick blocks, r thin slices in a thick one.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from batchgeneratorsv2.transforms.base.basic_transform import BasicTransform
from torch import Tensor

from nnunetv2_cfseg.data.blocks import BlockSampling, cut_blocks, draw_centers


class DrawSlabBlocks(BasicTransform):
    """Turns ``image`` (C, Z, Y, X) into (M, 1 + r, C, *block_size) and ``segmentation`` into (M, R, r c_z, c_y, c_x).

    Of each M the first block is thick: cut out of the crop's average over slabs. Its centre, of the same number of
    voxels as a thin one, is r times as deep in mm; the r thin blocks after it are those whose centres fill it, from
    the first slice on. The segmentation is that of the thin centres together.

    Args:
        sampling: how thick centres are drawn, ``blocks_per_crop`` is M.
        block_size: voxels of a block along z, y, x, thick or thin.
        center_size: voxels of a centre.
        factor: r.
        ignore_label: of the dataset, if it has one.
        foreground_range: between which values of the first channel, normalised, foreground lies, if that is known.
    """

    def __init__(
        self,
        sampling: BlockSampling,
        *,
        block_size: Sequence[int],
        center_size: Sequence[int],
        factor: int,
        ignore_label: int | None,
        foreground_range: tuple[float, float] | None = None,
    ) -> None:
        super().__init__()
        self.sampling = sampling
        self.block_size = tuple(block_size)
        self.center_size = tuple(center_size)
        self.margin = tuple((b - c) // 2 for b, c in zip(self.block_size, self.center_size, strict=True))
        self.factor = factor
        self.ignore_label = ignore_label
        self.foreground_range = foreground_range

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

    def _looks_like_foreground(self, thick_image: Tensor) -> Tensor | None:
        if self.foreground_range is None:
            return None
        low, high = self.foreground_range
        return (thick_image[0] >= low) & (thick_image[0] <= high)


def average_slabs(image: Tensor, factor: int) -> Tensor:
    """Average intensity projection of a crop, (C, Z, Y, X) to (C, Z / r, Y, X).

    nnU-Net's normalised CT is linear in HU over our clip range, so this is the average of the HU.

    Raises:
        ValueError: the crop is not whole slabs.
    """
    if image.shape[1] % factor:
        raise ValueError(f"a crop must be whole slabs of {factor} slices, got {image.shape[1]}")
    return image.unflatten(1, (-1, factor)).mean(dim=2)
