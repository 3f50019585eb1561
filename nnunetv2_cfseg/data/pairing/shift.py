"""Is a thick scan the average of a thin one where its header says it is?"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nnunetv2_cfseg.data.pairing.slabs import resample_slabs

#: Metal and padding lie beyond.
CLIP_HU = (-1024, 3071)
#: Rows and columns looked at, so many at most.
MOST_PIXELS = 128
#: A shift must leave at most this share of the variance unexplained that the header's place leaves.
MARGIN = 0.95
#: On head, neck, trunk and phantoms thick scans of smoother kernels, with 100 HU of noise or with a Gaussian slice
#: profile correlated by .978 or more with the average of thin slices; those of others and mirrored ones by at most
#: .846.
LEAST_CORRELATION = 0.9
FLAT_HU2 = 1e-6


@dataclass(frozen=True)
class Shift:
    """What the voxels say of a thick scan's place.

    Attributes:
        correlation: of the thick scan with the average of the thin one where the headers say; None where it cannot be
            told, one of the two being constant.
        best: thin slices by which the thick scan lies further along the thin scan's slices than its header says;
            0 where no other place is clearly better.
        best_correlation: at that place.
    """

    correlation: float | None
    best: int
    best_correlation: float | None


def measure_shift(thin: np.ndarray, thick: np.ndarray, edges: np.ndarray, *, most: int) -> Shift:
    """Compare a thick scan with averages of a thin one, at the place of the headers and around it.

    Args:
        thin: (Z, Y, X) HU, all slices.
        thick: (S, Y, X) HU, the slabs' thick slices on the same pixels.
        edges: (S + 1,) of the slabs, counted in thin slices from the first edge.
        most: thin slices to look further, to either side.
    """
    rows, columns = (-(-pixels // MOST_PIXELS) for pixels in thin.shape[1:])
    thin, thick = (np.clip(volume[:, ::rows, ::columns], *CLIP_HU) for volume in (thin, thick))
    here = resample_slabs(thin, edges)
    found = Shift(_correlation(here, thick), 0, _correlation(here, thick))
    if found.correlation is None:
        return found
    least = MARGIN
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
        if after > 0 and unexplained < least:
            least, found = unexplained, Shift(found.correlation, slices, after)
    return found


def check_shift(shift: Shift, *, slice_mm: float, most: int, file: Path) -> None:
    """Refuse a thick scan that is not where its header says.

    Args:
        slice_mm: of a thin slice.
        most: what was looked at to either side.
        file: the thick scan.

    Raises:
        ValueError: with the shift, or with the correlation where there is no place for it.
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


def _correlation(one: np.ndarray, other: np.ndarray) -> float | None:
    first, second = (volume.astype(np.float64) - volume.mean(dtype=np.float64) for volume in (one, other))
    variance = float((first**2).mean()), float((second**2).mean())
    if min(variance) < FLAT_HU2:
        return None
    return float((first * second).mean() / (variance[0] * variance[1]) ** 0.5)
