"""Training on a few blocks of a crop: drawing the centres, and cutting their blocks out.

A crop holds hundreds of centres and a step need not see them all. Half of the drawn centres hold a foreground voxel,
whose class is drawn first, with equal probability: rare classes are seen as often as common ones. Half of the others
are drawn where background looks like foreground: most of a CT is air, which teaches nothing after the first steps.

Shapes: C channels, Z Y X voxels of the crop, M blocks, R regions.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from nnunetv2_cfseg.networks.beyond_scan import ZEROS, BeyondScan

#: How often a centre that reaches beyond the scan is redrawn, first with its block inside the crop, then without.
DRAWS = 10


@dataclass(frozen=True)
class BlockSampling:
    """How blocks are drawn from a crop, as :class:`~nnunetv2_cfseg.nnunet.cfseg_section.CFSegSection` has checked it.

    Attributes:
        blocks_per_crop: M.
        foreground_fraction: of the centres, drawn to hold a foreground voxel.
        hard_background_fraction: of the centres, drawn to hold a background voxel as bright as foreground.
        border_fraction: of the centres, allowed so near the crop's border that their block is cut there and continued
            as blocks at the border of a scan are. The others stay clear of the border.
    """

    blocks_per_crop: int
    foreground_fraction: float
    hard_background_fraction: float
    border_fraction: float


def draw_centers(
    target: Tensor,
    sampling: BlockSampling,
    *,
    center_size: Sequence[int],
    block_size: Sequence[int],
    ignore_label: int | None,
    rng: np.random.Generator,
    looks_like_foreground: Tensor | None = None,
    beyond_scan: Tensor | None = None,
) -> np.ndarray:
    """Draw where centres start.

    Args:
        target: labels (1, Z, Y, X), or regions (R, Z, Y, X) as booleans with the ignored voxels as the last one when
            ``ignore_label`` is given. With an ignore label every centre holds an annotated voxel, if the crop has any.
        center_size: voxels of a centre along z, y, x.
        block_size: voxels of a block along z, y, x.
        looks_like_foreground: booleans (Z, Y, X), voxels as bright as foreground; without them no hard background is
            drawn.
        beyond_scan: booleans (Z, Y, X), voxels outside the scan; centres avoid them if possible.

    Returns:
        (M, 3) int64, first voxel of each centre along z, y, x; every centre lies inside the crop.

    Raises:
        ValueError: the crop is smaller than a centre.
    """
    room = _room(target.shape[1:], center_size, block_size)
    voxels_of_kinds = _voxels_of_kinds(target, looks_like_foreground, ignore_label)
    is_inside = _inside_starts_if_any(beyond_scan, center_size)
    kinds, may_be_cut = _draw_kinds(sampling, rng)
    starts = np.empty((sampling.blocks_per_crop, 3), dtype=np.int64)
    for kind, voxels in enumerate(voxels_of_kinds):
        for is_clear in (True, False):
            group = (kinds == kind) & (may_be_cut != is_clear)
            low = room.clear_of_border if is_clear else np.zeros(3, dtype=np.int64)
            draw = partial(_draw_starts, voxels=voxels, last=room.last, center=room.center, rng=rng)
            count = int(group.sum())
            starts[group] = (
                draw(count, low=low) if is_inside is None else _draw_inside(draw, count, low, is_inside, rng)
            )
    return starts


@dataclass(frozen=True)
class _Room:
    """Where centres fit into a crop, in voxels along z, y, x.

    Attributes:
        center: (3,) size of a centre.
        last: (3,) last voxel at which a centre can start.
        clear_of_border: (3,) first voxel at which a centre can start whose block is not cut at the crop's border.
    """

    center: np.ndarray
    last: np.ndarray
    clear_of_border: np.ndarray


def _room(crop_size: Sequence[int], center_size: Sequence[int], block_size: Sequence[int]) -> _Room:
    shape, center = np.array(crop_size, dtype=np.int64), np.array(center_size, dtype=np.int64)
    if np.any(shape < center):
        raise ValueError(f"a crop must hold a centre of {tuple(center_size)} voxels, got {tuple(shape.tolist())}")
    last = shape - center
    # In a crop too small for a whole block, centres stay as far from the border as possible.
    return _Room(center, last, np.minimum((np.array(block_size) - center) // 2, last // 2))


Voxels = tuple[np.ndarray, np.ndarray]


def _voxels_of_kinds(
    target: Tensor, looks_like_foreground: Tensor | None, ignore_label: int | None
) -> tuple[Voxels | None, Voxels | None, Voxels | None]:
    """The voxels (V, 3) and their classes (V,) that the three kinds of centres hold; None for any voxel.

    The kinds are foreground, hard background and any annotated voxel, which also replaces what a crop does not have.
    """
    is_regions = target.dtype == torch.bool
    annotated = None if ignore_label is None else _annotated(target, ignore_label, is_regions)
    foreground = _foreground(target, ignore_label, is_regions)
    lookalikes = _lookalikes(target, looks_like_foreground, is_regions)
    return (
        foreground if len(foreground[0]) else annotated,
        lookalikes if lookalikes is not None and len(lookalikes[0]) else annotated,
        annotated,
    )


def _draw_kinds(sampling: BlockSampling, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """The kind of each centre (M,), 0 to 2 as in :func:`_voxels_of_kinds`, and whether its block may be cut (M,)."""
    blocks = sampling.blocks_per_crop
    fractions = np.cumsum([sampling.foreground_fraction, sampling.hard_background_fraction])
    ends = blocks * fractions
    if (ends % 1).any():  # of few blocks a fraction is no whole number: right on average
        ends = np.floor(ends + rng.random())
    kinds = np.searchsorted(ends, np.arange(blocks), side="right")
    return kinds, rng.random(blocks) < sampling.border_fraction


def _inside_starts_if_any(beyond_scan: Tensor | None, center_size: Sequence[int]) -> np.ndarray | None:
    """Where centres can start inside the scan; None if they may start anywhere, as there is no such place."""
    is_inside = None if beyond_scan is None else inside_starts(beyond_scan, center_size)
    return is_inside if is_inside is not None and is_inside.any() else None


def inside_starts(beyond_scan: Tensor, center_size: Sequence[int]) -> np.ndarray:
    """Where centres can start without including a voxel beyond the scan.

    Args:
        beyond_scan: booleans (Z, Y, X).
        center_size: voxels of a centre along z, y, x.

    Returns:
        Booleans (Z - c_z + 1, Y - c_y + 1, X - c_x + 1).
    """
    counts = F.pad(beyond_scan.int().cumsum(0).cumsum(1).cumsum(2), (1, 0, 1, 0, 1, 0))
    for axis, size in enumerate(center_size):
        length = counts.shape[axis] - size
        counts = counts.narrow(axis, size, length) - counts.narrow(axis, 0, length)
    return (counts == 0).numpy()


def cut_blocks(
    crop: Tensor,
    starts: np.ndarray,
    *,
    size: Sequence[int],
    margin: Sequence[int] = (0, 0, 0),
    beyond_scan: BeyondScan = ZEROS,
) -> Tensor:
    """Cut boxes out of a crop.

    Args:
        crop: (C, Z, Y, X).
        starts: (M, 3), first voxel of each box along z, y, x.
        size: voxels of a box along z, y, x, margins included.
        margin: voxels by which a box begins before its start.
        beyond_scan: how the crop is continued where boxes reach beyond it.

    Returns:
        (M, C, *size).
    """
    padded = beyond_scan.extend(crop, [(m, m) for m in margin])
    boxes = torch.empty((len(starts), crop.shape[0], *size), dtype=crop.dtype)
    for box, (z, y, x) in zip(boxes, starts.tolist(), strict=True):
        box.copy_(padded[:, z : z + size[0], y : y + size[1], x : x + size[2]])
    return boxes


def _draw_inside(
    draw: Callable[..., np.ndarray], count: int, low: np.ndarray, is_inside: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """Starts (count, 3) of centres inside the scan.

    Centres outside are redrawn up to ``DRAWS`` times, as often again with blocks that may be cut, then drawn anywhere
    inside.
    """
    starts = draw(count, low=low)
    for again in range(2 * DRAWS):
        outside = ~is_inside[tuple(starts.T)]
        if not outside.any():
            return starts
        starts[outside] = draw(int(outside.sum()), low=low if again < DRAWS else np.zeros_like(low))
    outside = ~is_inside[tuple(starts.T)]
    anywhere = np.argwhere(is_inside)
    starts[outside] = anywhere[rng.integers(len(anywhere), size=int(outside.sum()))]
    return starts


def _draw_starts(
    count: int,
    voxels: tuple[np.ndarray, np.ndarray] | None,
    *,
    low: np.ndarray,
    last: np.ndarray,
    center: np.ndarray,
    rng: np.random.Generator,
) -> np.ndarray:
    """Starts (count, 3) of centres at least ``low`` voxels from the crop's border, each holding one of ``voxels``.

    Voxels that no such centre can hold are skipped, unless there are no others: then blocks may be cut.
    """
    if voxels is None or not len(voxels[0]):
        return rng.integers(low, last - low + 1, size=(count, 3))
    positions, classes = voxels
    in_reach = np.all((positions >= low) & (positions < last - low + center), axis=1)
    if in_reach.any():
        positions, classes = positions[in_reach], classes[in_reach]
    else:
        low = np.zeros(3, dtype=np.int64)
    picks = _draw_class_by_class(positions, classes, count, rng)
    return np.clip(picks - rng.integers(0, center, size=picks.shape), low, last - low)


def _foreground(target: Tensor, ignore_label: int | None, is_regions: bool) -> tuple[np.ndarray, np.ndarray]:
    """Voxels (V, 3) of the foreground and the class or region of each, (V,)."""
    if is_regions:
        regions = target if ignore_label is None else target[:-1]
        indices = regions.nonzero().numpy()
        return indices[:, 1:], indices[:, 0]
    labels = target[0]
    mask = labels > 0
    if ignore_label is not None:
        mask &= labels != ignore_label
    return mask.nonzero().numpy(), labels[mask].numpy()


def _annotated(target: Tensor, ignore_label: int, is_regions: bool) -> tuple[np.ndarray, np.ndarray]:
    """Voxels (V, 3) that are not ignored, all of one class, (V,)."""
    voxels = (~target[-1] if is_regions else target[0] != ignore_label).nonzero().numpy()
    return voxels, np.zeros(len(voxels), dtype=np.int64)


def _lookalikes(
    target: Tensor, looks_like_foreground: Tensor | None, is_regions: bool
) -> tuple[np.ndarray, np.ndarray] | None:
    """Annotated background voxels (V, 3) that look like foreground, all of one class, (V,)."""
    if looks_like_foreground is None:
        return None
    # This leaves out ignored voxels too: they are the last region, or a label above 0.
    background = ~target.any(dim=0) if is_regions else target[0] == 0
    voxels = (background & looks_like_foreground).nonzero().numpy()
    return voxels, np.zeros(len(voxels), dtype=np.int64)


def _draw_class_by_class(voxels: np.ndarray, classes: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """Draw a class for each of ``count`` voxels, then one of its voxels: (count, 3)."""
    order = np.argsort(classes, kind="stable")
    _, first, sizes = np.unique(classes[order], return_index=True, return_counts=True)
    drawn = rng.integers(len(sizes), size=count)
    return voxels[order[first[drawn] + rng.integers(0, sizes[drawn])]]
