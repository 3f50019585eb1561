"""Chooses the whole slabs of thin labels that are kept."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from nnunetv2_cfseg.data.pairing.align import TOLERANCE, Placement


def common_slices(placement: Placement, *, file: Path) -> tuple[range, range]:
    """The slices that a scan and its thin label have in common.

    Args:
        placement: of the label on the scan.
        file: the label.

    Returns:
        Indices in the scan, and as many in the label after flipping it to the scan's order.

    Raises:
        ValueError: the label's slices are not the scan's, or they have none in common.
    """
    edges = placement.edges()
    start = round(float(edges[0]))
    off = float(np.abs(edges - start - np.arange(len(edges))).max())
    if off > TOLERANCE:
        raise ValueError(
            f"thin labels must lie on the scan's slices, and lie up to {off:.2g} slices beside them, each "
            f"{placement.ratio[0]:.5g} slices thick: {file}"
        )
    first, last = max(start, 0), min(start + placement.shape[0], placement.scan_shape[0])
    if first >= last:
        raise ValueError(
            f"a label must lie on its scan's slices, and lies on none of {placement.scan_shape[0]}: {file}"
        )
    return range(first, last), range(first - start, last - start)


def whole_slabs(foreground: np.ndarray, factor: int, *, ascends: bool, file: Path) -> range:
    """Choose as many slices as fill whole slabs, leaving out those at the ends with the least foreground.

    Args:
        foreground: (Z,) voxels in each slice.
        factor: slices in a slab.
        ascends: whether slices run to the head; of choices that lose equally much, those nearest to the head go.
        file: the label.

    Raises:
        ValueError: there are fewer slices than one slab has.
    """
    slices = len(foreground)
    surplus = slices % factor
    if slices < factor:
        raise ValueError(f"a scan must have a whole slab of {factor} labelled slices, got {slices}: {file}")
    starts = range(surplus + 1) if ascends else range(surplus, -1, -1)
    start = min(starts, key=lambda first: foreground.sum() - foreground[first : first + slices - surplus].sum())
    return range(start, start + slices - surplus)
