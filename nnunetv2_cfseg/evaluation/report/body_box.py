"""Crop a scan to the body and all labelled voxels, without the air around them."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil

import cc3d
import numpy as np

#: Voxels below this are air.
BODY_HU = -300
MARGIN_MM = 5.0
#: The body is searched in a scan reduced to about this many voxels.
COARSE_VOXELS = 1_000_000
CONNECTIVITY = 6

Box = tuple[slice, slice, slice]


def box_to_show(image_hu: np.ndarray | None, labelled: np.ndarray, spacing_mm: Sequence[float]) -> Box:
    """The box around the largest body and the labelled voxels, with a margin of 5 mm; the whole volume if there is
    neither.

    Args:
        image_hu: (z, y, x) HU, or None.
        labelled: (z, y, x) bool, true where the truth or the prediction has a class.
        spacing_mm: (z, y, x).
    """
    boxes = [box for box in (_body(image_hu), _extent(labelled)) if box is not None]
    if not boxes:
        return slice(0, labelled.shape[0]), slice(0, labelled.shape[1]), slice(0, labelled.shape[2])
    z, y, x = (
        _with_margin([box[axis] for box in boxes], size=size, margin=ceil(MARGIN_MM / mm))
        for axis, (size, mm) in enumerate(zip(labelled.shape, spacing_mm, strict=True))
    )
    return z, y, x


def _with_margin(extents: Sequence[slice], *, size: int, margin: int) -> slice:
    first, last = min(extent.start for extent in extents), max(extent.stop for extent in extents)
    return slice(max(0, first - margin), min(size, last + margin))


def _body(image_hu: np.ndarray | None) -> Box | None:
    """The box of the largest connected component that is not air, leaving out table, blanket and headrest."""
    if image_hu is None:
        return None
    step = ceil((image_hu.size / COARSE_VOXELS) ** (1 / 3))
    body = image_hu[::step, ::step, ::step] > BODY_HU
    if not body.any():
        return None
    coarse = _extent(cc3d.largest_k(np.ascontiguousarray(body), k=1, connectivity=CONNECTIVITY) > 0)
    if coarse is None:
        return None
    z, y, x = (slice(max(0, (part.start - 1) * step + 1), part.stop * step) for part in coarse)
    return z, y, x


def _extent(mask: np.ndarray) -> Box | None:
    if not mask.any():
        return None
    z, y, x = (np.flatnonzero(mask.any(axes)) for axes in ((1, 2), (0, 2), (0, 1)))
    return slice(int(z[0]), int(z[-1]) + 1), slice(int(y[0]), int(y[-1]) + 1), slice(int(x[0]), int(x[-1]) + 1)
