"""Checks whether a thick scan is the average of a thin one at the place that its header gives."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nnunetv2_cfseg.data.pairing.slabs import resample_slabs

#: Values are clipped to this range; metal and padding lie beyond.
CLIP_HU = (-1024, 3071)
#: Most rows and columns that are looked at.
MOST_PIXELS = 128
#: A shift counts if its unexplained variance is at most this fraction of that at the header's place.
MARGIN = 0.95
#: On head, neck, trunk and phantoms, thick scans with smoother kernels, 100 HU of noise or a Gaussian slice profile
#: correlated by 0.978 or more with the average of thin slices; scans of other patients and mirrored ones by at most
#: 0.846.
LEAST_CORRELATION = 0.9
FLAT_HU2 = 1e-6


@dataclass(frozen=True)
class Shift:
    """Where a thick scan lies according to its voxels.

    Attributes:
        correlation: of the thick scan with the average of the thin one at the header's place; None if one of the two is
            constant.
        best: thin slices by which the thick scan lies further along the thin scan's slices than its header says;
            0 if no other place is clearly better.
        best_correlation: correlation at that place.
    """

    correlation: float | None
    best: int
    best_correlation: float | None


def measure_shift(thin: np.ndarray, thick: np.ndarray, edges: np.ndarray, *, most: int) -> Shift:
    """Compare a thick scan with averages of a thin one, at the header's place and around it.

    Args:
        thin: (Z, Y, X) HU, all slices.
        thick: (S, Y, X) HU, the slabs' thick slices on the same pixels.
        edges: (S + 1,) of the slabs, counted in thin slices from the first edge.
        most: largest shift to try, in thin slices, to either side.
    """
    rows, columns = (-(-pixels // MOST_PIXELS) for pixels in thin.shape[1:])
    thin, thick = (np.clip(volume[:, ::rows, ::columns], *CLIP_HU) for volume in (thin, thick))
    here = resample_slabs(thin, edges)
    best = Shift(_correlation(here, thick), 0, _correlation(here, thick))
    if best.correlation is None:
        return best
    least_unexplained = MARGIN
    for slices in sorted(range(-most, most + 1), key=abs):
        moved = edges + slices
        kept = np.flatnonzero((moved[:-1] >= -1e-6) & (moved[1:] <= len(thin) + 1e-6))
        if slices == 0 or not len(kept):
            continue
        there = resample_slabs(thin, moved[kept[0] : kept[-1] + 2])
        before, after = _correlation(here[kept], thick[kept]), _correlation(there, thick[kept])
        if before is None or after is None:
            continue
        unexplained = (1 - after**2 + 1e-9) / (1 - before**2 + 1e-9)
        if after > 0 and unexplained < least_unexplained:
            least_unexplained, best = unexplained, Shift(best.correlation, slices, after)
    return best


def check_shift(shift: Shift, *, slice_mm: float, most: int, file: Path) -> None:
    """Refuse a thick scan that is not where its header says.

    Args:
        slice_mm: thickness of a thin slice.
        most: largest shift that was tried, to either side.
        file: the thick scan.

    Raises:
        ValueError: it is shifted, or correlates too little at every place.
    """
    if shift.best_correlation is not None and shift.best_correlation < LEAST_CORRELATION:
        raise ValueError(
            f"a thick scan must be the same scan as the thin one, and correlate with its average by "
            f"{LEAST_CORRELATION:g} or more, got {shift.best_correlation:.3f}: {file}"
        )
    if shift.best:
        further = "or more " if abs(shift.best) == most else ""
        raise ValueError(
            f"a thick scan must lie where its header says, and its voxels lie {abs(shift.best)} {further}thin slices "
            f"({shift.best * slice_mm:+.4g} mm) off: there it correlates by {shift.best_correlation:.4f} with the "
            f"average of the thin scan, where the header says by {shift.correlation:.4f}: {file}"
        )


def _correlation(here: np.ndarray, there: np.ndarray) -> float | None:
    first, second = (volume.astype(np.float64) - volume.mean(dtype=np.float64) for volume in (here, there))
    variance = float((first**2).mean()), float((second**2).mean())
    if min(variance) < FLAT_HU2:
        return None
    return float((first * second).mean() / (variance[0] * variance[1]) ** 0.5)
