"""The last step of the training augmentation: a crop becomes the blocks the network trains on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from batchgeneratorsv2.transforms.base.basic_transform import BasicTransform

from nnunetv2_cfseg.networks.beyond_scan import ZEROS, BeyondScan
from nnunetv2_cfseg.trainers.beyond_scan import BEYOND_KEY, continue_labels
from nnunetv2_cfseg.trainers.blocks import BlockSampling, cut_blocks, draw_centers, inside_starts


class SampleBlocks(BasicTransform):
    """Turns ``image`` (C, Z, Y, X) into blocks (M, C, *block_size), and ``segmentation`` into the blocks' centres.

    It runs in nnU-Net's background workers, so the training process only ever sees blocks.

    Args:
        foreground_range: lower and upper value of foreground in the first channel, normalised; None if unknown.
        beyond_scan: how the crop is continued where blocks reach beyond it.
    """

    def __init__(
        self,
        sampling: BlockSampling,
        *,
        block_size: Sequence[int],
        center_size: Sequence[int],
        ignore_label: int | None,
        foreground_range: tuple[float, float] | None = None,
        beyond_scan: BeyondScan = ZEROS,
    ) -> None:
        super().__init__()
        self.sampling = sampling
        self.block_size = tuple(block_size)
        self.center_size = tuple(center_size)
        self.margin = tuple((b - c) // 2 for b, c in zip(self.block_size, self.center_size, strict=True))
        self.ignore_label = ignore_label
        self.foreground_range = foreground_range
        self.beyond_scan = beyond_scan

    def apply(self, data_dict: dict, **params: object) -> dict:
        """Replace image and segmentation by blocks and centres."""
        image: torch.Tensor = data_dict["image"]
        target: torch.Tensor = data_dict["segmentation"]
        beyond: torch.Tensor | None = data_dict.pop(BEYOND_KEY, None)
        if beyond is not None and self.beyond_scan.shows_scan and not inside_starts(beyond, self.center_size).any():
            target = continue_labels(target, beyond)
        starts = self.draw(self.sampling.blocks_per_crop, image, target, beyond, self.new_rng())
        data_dict["image"] = self.cut(image, starts)
        data_dict["segmentation"] = cut_blocks(target, starts, size=self.center_size)
        return data_dict

    def new_rng(self) -> np.random.Generator:
        """The source of all randomness of this step: numpy's global stream, which nnU-Net seeds in every worker."""
        return np.random.default_rng(np.random.randint(2**31, size=4))

    def draw(
        self,
        count: int,
        image: torch.Tensor,
        target: torch.Tensor,
        beyond: torch.Tensor | None,
        rng: np.random.Generator,
    ) -> np.ndarray:
        """Draw the starts of ``count`` centres, (count, 3)."""
        return draw_centers(
            target,
            replace(self.sampling, blocks_per_crop=count),
            center_size=self.center_size,
            block_size=self.block_size,
            ignore_label=self.ignore_label,
            rng=rng,
            looks_like_foreground=self._looks_like_foreground(image),
            beyond_scan=beyond,
        )

    def cut(self, image: torch.Tensor, starts: np.ndarray) -> torch.Tensor:
        """Cut out the blocks around centres with these starts."""
        return cut_blocks(image, starts, size=self.block_size, margin=self.margin, beyond_scan=self.beyond_scan)

    def _looks_like_foreground(self, image: torch.Tensor) -> torch.Tensor | None:
        if self.foreground_range is None:
            return None
        low, high = self.foreground_range
        return (image[0] >= low) & (image[0] <= high)
