"""Finds the slices of a thick annotation that divide a thin scan into whole slabs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nnunetv2_cfseg.data.pairing.align import TOLERANCE, Placement

#: Relative tolerance, as thicknesses are given as round numbers.
THICKNESS_TOLERANCE = 0.01
#: New thin slices must not be thinner than this fraction of the scan's own, which would invent detail.
THINNEST = 0.8


@dataclass(frozen=True)
class Slabs:
    """Thick slices on a scan.

    Attributes:
        taken: indices of the annotation's slices that are used, evenly spaced.
        edges: (S + 1,) of their slabs, counted in slices from the scan's first edge.
        factor: slices that each slab is to have.
    """

    taken: range
    edges: np.ndarray
    factor: int

    @property
    def whole(self) -> range | None:
        """The scan's slices in the slabs; None if a slab's edge cuts a slice."""
        start = round(float(self.edges[0]))
        if np.abs(self.edges - start - self.factor * np.arange(len(self.edges))).max() > TOLERANCE:
            return None
        return range(start, start + self.factor * len(self.taken))

    def thin_edges(self) -> np.ndarray:
        """(S * factor + 1,) edges of the slabs' slices."""
        return np.linspace(self.edges[0], self.edges[-1], self.factor * len(self.taken) + 1)


def lay_slabs(
    placement: Placement,
    foreground: np.ndarray,
    *,
    factor: int,
    spacing_mm: float,
    thickness_mm: float | None,
    ascends: bool,
    file: Path,
) -> Slabs:
    """Find the slabs that lie completely in the scan.

    Slices that are thicker than their distance overlap. If they overlap by whole slices, every n-th one is used, chosen
    to keep most foreground, then most slabs.

    Args:
        placement: of the annotation on the scan.
        foreground: (Z,) voxels annotated in each of the annotation's slices, flipped to the scan's order.
        factor: slices in a slab.
        spacing_mm: of the annotation's slices.
        thickness_mm: of the annotation's slices; None: as much as they are apart.
        ascends: whether the scan's slices run to the head; decides between choices that keep equally much.
        file: the annotation.

    Raises:
        ValueError: slices have gaps or overlap by a part, no slab lies in the scan, or the factor would give slices
            that are too thin.
    """
    step = slices_in_thickness(spacing_mm, thickness_mm, file=file)
    count = placement.shape[0]
    phases = [phase if ascends else (count - 1 - phase) % step for phase in range(min(step, count))]
    slabs_of_phases = [_inside(placement, step, phase, factor) for phase in phases]
    choices = [slabs for slabs in slabs_of_phases if slabs is not None]
    if not choices:
        raise ValueError(
            f"at least one thick slice must lie in the scan, and none of {placement.shape[0]} lies wholly in its "
            f"{placement.scan_shape[0]} slices: {file}"
        )
    slabs = max(choices, key=lambda slabs: (foreground[list(slabs.taken)].sum(), len(slabs.taken)))
    ratio = placement.ratio[0] * step
    if slabs.whole is None and ratio / factor < THINNEST:
        raise ValueError(
            f"cut by the factor, a thick slice must give slices of at least {THINNEST:g} of the scan's, and one of "
            f"{ratio:.4g} thin slices gives {ratio / factor:.2g} with a factor of {factor}: {file}"
        )
    return slabs


def slices_in_thickness(spacing_mm: float, thickness_mm: float | None, *, file: Path) -> int:
    """How many slices of an annotation start within the thickness of one.

    Raises:
        ValueError: there are gaps between slices, or they do not overlap by whole slices.
    """
    ratio = (thickness_mm or spacing_mm) / spacing_mm
    if ratio < 1 - THICKNESS_TOLERANCE:
        raise ValueError(
            f"thick slices must not leave gaps without annotation, and slices of {thickness_mm:.4g} mm lie "
            f"{spacing_mm:.4g} mm apart: {file}"
        )
    if abs(ratio / round(ratio) - 1) > THICKNESS_TOLERANCE:
        raise ValueError(
            f"thick slices that overlap must do so by whole slices, so that every n-th one can be used, and slices of "
            f"{thickness_mm:.4g} mm lie {spacing_mm:.4g} mm apart: {file}"
        )
    return round(ratio)


def _inside(placement: Placement, step: int, phase: int, factor: int) -> Slabs | None:
    edges = placement.every(step, phase).edges()
    inside = np.flatnonzero((edges[:-1] >= -TOLERANCE) & (edges[1:] <= placement.scan_shape[0] + TOLERANCE))
    if not len(inside):
        return None
    first, last = int(inside[0]), int(inside[-1])
    taken = range(phase + first * step, phase + last * step + 1, step)
    return Slabs(taken, edges[first : last + 2], factor)
