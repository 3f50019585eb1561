"""The last step of thin-thick training's augmentation: a thin crop becomes thick and thin blocks.

Shapes: C channels, Z Y X voxels of the thin crop, r thin slices in a thick one, R channels of the target, blocks as
counted by :class:`SlabBlocks`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from nnunetv2_cfseg.trainers.beyond_scan import BEYOND_KEY, continue_labels
from nnunetv2_cfseg.trainers.blocks import BlockSampling, cut_blocks
from nnunetv2_cfseg.trainers.sample_blocks import SampleBlocks


@dataclass(frozen=True)
class SlabBlocks:
    """How many blocks of which kind are drawn from a crop.

    Attributes:
        columns: thick blocks together with the r thin blocks whose centres fill theirs, for the feature term.
        thick: thick blocks alone.
        thin: thin blocks alone.

    Raises:
        ValueError: a number is below 0, or all are 0.
    """

    columns: int
    thick: int
    thin: int

    def __post_init__(self) -> None:
        if min(self.columns, self.thick, self.thin) < 0 or self.columns + self.thick + self.thin < 1:
            raise ValueError(f"columns, thick and thin blocks must be >= 0 and not all 0, got {self}")


class SlabTargets(NamedTuple):
    """The labels of a crop's blocks; in a batch every tensor has one more axis in front, the crops.

    nnU-Net's loader stacks the tensors of a list, not of a tuple, and its pinning turns a named tuple into a plain one.
    So the labels are passed from the augmentation to the loss as ``list(targets)``, and read from a batch with
    ``SlabTargets(*batch["target"])``.

    Attributes:
        thick: (columns + thick, R, c_z, c_y, c_x), the labels of thick centres, on thick slices.
        slabs: (columns r + thin, R, c_z / r + 3, c_y, c_x), the labels of the slabs that thin centres touch, on thick
            slices, with one slab before them and one after.
        offset: (columns r + thin,), the slice of the first touched slab at which each thin centre begins, from 0.
    """

    thick: Tensor
    slabs: Tensor
    offset: Tensor


class SampleSlabBlocks(SampleBlocks):
    """Turns ``image`` (C, Z, Y, X) into blocks, ``segmentation`` (R, Z, Y, X) into the thick labels of their centres.

    A thick block is cut out of the crop's average over slabs. Its centre has as many voxels as a thin one and is r
    times as deep in mm. The depth of a thin centre is a whole number of slabs. Thin centres of columns start at a slab;
    the others start anywhere: a network that knew where slabs start could learn to copy their labels.

    ``image`` becomes (columns + thick + columns r + thin, C, *block_size): the thick blocks, those of columns first;
    then each column's thin blocks in the order of their slices; then the other thin blocks. ``segmentation`` becomes
    the list of a :class:`SlabTargets`. Beyond the crop its first and last slabs are repeated.

    Args:
        sampling: how centres are drawn; ``blocks`` says how many.
        blocks: number of blocks of each kind.
        factor: r.
        others: see :class:`~.sample_blocks.SampleBlocks`; sizes are in voxels, which may be thick or thin.

    Raises:
        ValueError: a thin centre is not whole slabs.
    """

    def __init__(self, sampling: BlockSampling, *, blocks: SlabBlocks, factor: int, **others: Any) -> None:
        super().__init__(sampling, **others)
        if self.center_size[0] % factor:
            raise ValueError(f"a block's centre must be whole slabs of {factor} slices, got {self.center_size[0]}")
        self.blocks = blocks
        self.factor = factor

    def apply(self, data_dict: dict, **params: object) -> dict:
        """Replace image and segmentation by blocks and their labels.

        Raises:
            ValueError: the crop is not whole slabs.
        """
        image: Tensor = data_dict["image"]
        target: Tensor = data_dict["segmentation"]
        beyond: Tensor | None = data_dict.pop(BEYOND_KEY, None)
        thick_image, thick_target = average_slabs(image, self.factor), target[:, :: self.factor]
        thick_beyond = None
        if beyond is not None:
            thick_beyond = beyond.unflatten(0, (-1, self.factor)).any(1)
            if self.beyond_scan.shows_scan:  # the slabs next to a centre's show where its labels change
                thick_target = continue_labels(thick_target, thick_beyond)
        rng = self.new_rng()
        thick = self.draw(self.blocks.columns + self.blocks.thick, thick_image, thick_target, thick_beyond, rng)
        alone = self.draw(self.blocks.thin, image, target, beyond, rng)
        thin = np.concatenate([self._below(thick[: self.blocks.columns]), alone])
        data_dict["image"] = torch.cat([self.cut(thick_image, thick), self.cut(image, thin)])
        data_dict["segmentation"] = list(self._targets(thick_target, thick=thick, thin=thin))
        return data_dict

    def _below(self, columns: np.ndarray) -> np.ndarray:
        """Starts (columns r, 3) of the thin centres below thick centres with starts (columns, 3).

        A thick centre covers c_z slabs, which r thin centres of c_z slices fill one after another.
        """
        steps = [[i * self.center_size[0], 0, 0] for i in range(self.factor)]
        return (columns[:, None] * (self.factor, 1, 1) + steps).reshape(-1, 3)

    def _targets(self, thick_target: Tensor, *, thick: np.ndarray, thin: np.ndarray) -> SlabTargets:
        """The labels of centres, from the labels of all slabs and the starts of thick and thin centres."""
        depth, *in_plane = self.center_size
        with_neighbours = torch.cat([thick_target[:, :1], thick_target, *[thick_target[:, -1:]] * 2], dim=1)
        first_slabs = thin // (self.factor, 1, 1)
        return SlabTargets(
            thick=cut_blocks(thick_target, thick, size=self.center_size),
            slabs=cut_blocks(with_neighbours, first_slabs, size=(depth // self.factor + 3, *in_plane)),
            offset=torch.from_numpy(thin[:, 0] % self.factor),
        )

    def draw(
        self, count: int, image: Tensor, target: Tensor, beyond: Tensor | None, rng: np.random.Generator
    ) -> np.ndarray:
        """Draw as for other blocks, but maybe none: no term of the loss may want this kind."""
        if not count:
            return np.empty((0, 3), dtype=np.int64)
        return super().draw(count, image, target, beyond, rng)


def average_slabs(image: Tensor, factor: int) -> Tensor:
    """Average intensity projection of a crop, (C, Z, Y, X) to (C, Z / r, Y, X).

    nnU-Net's normalised CT is linear in HU over our clip range, so this is the average of the HU.

    Raises:
        ValueError: the crop is not whole slabs.
    """
    if image.shape[1] % factor:
        raise ValueError(f"a crop must be whole slabs of {factor} slices, got {image.shape[1]}")
    return image.unflatten(1, (-1, factor)).mean(dim=2)
