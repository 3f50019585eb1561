"""The plane between a patient's left and right half, and the side on which a lesion lies."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from nnunetv2_cfseg.imaging.geometry import VolumeGeometry

SYMMETRY = "symmetry"
IMAGE_CENTRE = "image centre"
#: Fraction of a lesion that must lie on either side if it is to be called bilateral.
BOTH_SHARE = 0.1
#: Rounding error that the fraction may have.
TOLERANCE = 1e-9


@dataclass(frozen=True)
class Midline:
    """A plane in patient coordinates (x to the left, y to the back, z to the head, mm).

    Attributes:
        normal: (3,) unit vector x, y, z towards the patient's left.
        offset_mm: of the plane along its normal from the origin.
        source: ``symmetry`` or ``image centre``.
        reason: why it is not the plane of symmetry; empty if it is.
        agreement: the numbers that the plane of symmetry was judged by; empty if none was looked for.
    """

    normal: tuple[float, float, float]
    offset_mm: float
    source: str
    reason: str = ""
    agreement: dict[str, float] = field(default_factory=dict)


def image_centre_midline(grid: VolumeGeometry, *, reason: str, agreement: dict[str, float] | None = None) -> Midline:
    """The sagittal plane through the middle of the image."""
    return Midline((1.0, 0.0, 0.0), float(grid.centre_mm[0]), IMAGE_CENTRE, reason, agreement or {})


def left_share(grid: VolumeGeometry, midline: Midline, *, corner: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """The fraction of each voxel of a crop that lies to the left of the midline, (Z, Y, X) in [0, 1].

    It rises linearly over the voxel's width across the plane, which is exact if an axis of the image is normal to it.

    Args:
        corner: index (z, y, x) of the crop's first voxel.
        shape: (z, y, x) of the crop.
    """
    normal = np.asarray(midline.normal)
    steps = grid.steps_mm @ normal
    first = float(grid.position_mm(corner) @ normal) - midline.offset_mm
    z, y, x = np.ogrid[tuple(slice(n) for n in shape)]
    return np.clip(0.5 + (first + z * steps[0] + y * steps[1] + x * steps[2]) / np.abs(steps).sum(), 0, 1)


def side(left: float, right: float) -> str:
    """``left``, ``right``, or ``both`` if at least a tenth lies on either side."""
    if min(left, right) >= (BOTH_SHARE - TOLERANCE) * (left + right):
        return "both"
    return "left" if left > right else "right"
