"""Training on a few blocks of a crop: which centres to learn from, and cutting their blocks out.

A crop holds hundreds of centres and a step need not see them all. Half of the drawn centres hold a foreground voxel,
its class drawn first and evenly: rare classes are seen as often as common ones.

Shapes: C channels, Z Y X voxels of the crop, M blocks, R regions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True)
class BlockSampling:
    """How blocks are drawn from a crop.

    Attributes:
        blocks_per_crop: M.
        foreground_share: share of the centres drawn to hold a foreground voxel, in [0, 1].
        cut_share: share of the centres that may lie so near the crop's border that their block is cut there and
            filled up with zeros, as blocks at the border of a scan are, in [0, 1]. The others stay clear of it.

    Raises:
        ValueError: a value out of range.
    """

    blocks_per_crop: int
    foreground_share: float = 0.5
    cut_share: float = 0.25

    def __post_init__(self) -> None:
        if self.blocks_per_crop < 1:
            raise ValueError(f"blocks_per_crop must be >= 1, got {self.blocks_per_crop}")
        for name in ("foreground_share", "cut_share"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} must be between 0 and 1, got {getattr(self, name)}")


def draw_centers(
    target: Tensor,
    sampling: BlockSampling,
    *,
    center_size: Sequence[int],
    block_size: Sequence[int],
    ignore_label: int | None,
    rng: np.random.Generator,
) -> np.ndarray:
    """Draw where centres start.

    Args:
        target: labels (1, Z, Y, X), or regions (R, Z, Y, X) as booleans with the ignored voxels as the last one when
            ``ignore_label`` is given. With an ignore label every centre holds a voxel that is annotated.
        center_size: voxels of a centre along z, y, x.
        block_size: voxels of a block along z, y, x.

    Returns:
        (M, 3) int64, first voxel of each centre along z, y, x; every centre lies inside the crop.

    Raises:
        ValueError: the crop is smaller than a centre.
    """
    shape = np.array(target.shape[1:], dtype=np.int64)
    center = np.array(center_size, dtype=np.int64)
    if np.any(shape < center_size):
        raise ValueError(f"a crop must hold a centre of {tuple(center_size)} voxels, got {tuple(shape)}")
    count = sampling.blocks_per_crop
    high = shape - center
    starts = rng.integers(0, high + 1, size=(count, 3))

    is_regions = target.dtype == torch.bool
    wanted = np.arange(count) < round(count * sampling.foreground_share)
    voxels, classes = _foreground(target, ignore_label, is_regions)
    if len(voxels):
        starts[wanted] = _around(_draw_class_by_class(voxels, classes, wanted.sum(), rng), center_size, rng)
    if ignore_label is not None:
        annotated = _annotated(target, ignore_label, is_regions)
        rest = ~wanted if len(voxels) else np.ones(count, dtype=bool)
        if len(annotated):
            picks = annotated[rng.integers(len(annotated), size=rest.sum())]
            starts[rest] = _around(picks, center_size, rng)

    return np.clip(starts, *_limits(shape, sampling, center_size, block_size, rng))


def cut_blocks(crop: Tensor, starts: np.ndarray, *, size: Sequence[int], margin: Sequence[int] = (0, 0, 0)) -> Tensor:
    """Cut boxes out of a crop.

    Args:
        crop: (C, Z, Y, X).
        starts: (M, 3), first voxel of each box along z, y, x.
        size: voxels of a box along z, y, x, margins included.
        margin: voxels by which a box begins before its start; what lies outside the crop is zero.

    Returns:
        (M, C, *size).
    """
    pads = [side for m in reversed(tuple(margin)) for side in (m, m)]
    padded = F.pad(crop, pads) if any(pads) else crop
    boxes = torch.empty((len(starts), crop.shape[0], *size), dtype=crop.dtype)
    for box, (z, y, x) in zip(boxes, starts.tolist(), strict=True):
        box.copy_(padded[:, z : z + size[0], y : y + size[1], x : x + size[2]])
    return boxes


def _limits(
    shape: np.ndarray,
    sampling: BlockSampling,
    center_size: Sequence[int],
    block_size: Sequence[int],
    rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray]:
    """Lowest and highest start of every centre, (M, 3) each: the whole crop, or clear of its border."""
    margin = (np.array(block_size) - center_size) // 2
    high = shape - center_size
    margin = np.minimum(margin, high // 2)  # a crop too small for a whole block: as clear as it gets
    may_be_cut = rng.random((sampling.blocks_per_crop, 1)) < sampling.cut_share
    low = np.where(may_be_cut, 0, margin)
    return low, high - low


def _foreground(target: Tensor, ignore_label: int | None, is_regions: bool) -> tuple[np.ndarray, np.ndarray]:
    """Voxels (V, 3) of the foreground and the class or region of each, (V,)."""
    if is_regions:
        regions = target if ignore_label is None else target[:-1]
        found = regions.nonzero().numpy()
        return found[:, 1:], found[:, 0]
    labels = target[0]
    mask = labels > 0
    if ignore_label is not None:
        mask &= labels != ignore_label
    return mask.nonzero().numpy(), labels[mask].numpy()


def _annotated(target: Tensor, ignore_label: int, is_regions: bool) -> np.ndarray:
    """Voxels (V, 3) that are not ignored."""
    return (~target[-1] if is_regions else target[0] != ignore_label).nonzero().numpy()


def _draw_class_by_class(voxels: np.ndarray, classes: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """Draw a class for each of ``count`` voxels, then one of its voxels: (count, 3)."""
    order = np.argsort(classes, kind="stable")
    _, first, sizes = np.unique(classes[order], return_index=True, return_counts=True)
    drawn = rng.integers(len(sizes), size=count)
    return voxels[order[first[drawn] + rng.integers(0, sizes[drawn])]]


def _around(voxels: np.ndarray, center_size: Sequence[int], rng: np.random.Generator) -> np.ndarray:
    """Starts of centres that hold each voxel at a place drawn evenly."""
    return voxels - rng.integers(0, np.array(center_size), size=voxels.shape)
