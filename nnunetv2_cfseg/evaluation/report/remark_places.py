"""Where in a scan a remark can be seen."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import ndimage

from nnunetv2_cfseg.evaluation.classes import Classes
from nnunetv2_cfseg.evaluation.quantify.components import find_components
from nnunetv2_cfseg.evaluation.report.findings import Finding, thickest
from nnunetv2_cfseg.evaluation.report.observations import ENDS
from nnunetv2_cfseg.evaluation.report.remarks import Remark

#: Of a case.
MOST_PLACES = 24


def remark_places(
    labels: np.ndarray, remarks: Sequence[Remark], *, classes: Classes, spacing_mm: Sequence[float]
) -> tuple[Finding, ...]:
    """A place for each remark on something that is there: within the piece apart, on the scan's end, or in the class.

    Args:
        labels: (z, y, x) of the whole scan, from feet to head, front to back, right to left.
        remarks: on this case.
        classes: of the dataset.
        spacing_mm: (z, y, x).
    """
    by_name = {one.name: one for one in classes.foreground}
    seen = [remark for remark in remarks if remark.kind != "empty"][:MOST_PLACES]
    found = []
    for remark in seen:
        at = _place(by_name[remark.class_name].mask(labels), remark, spacing_mm)
        found.append(Finding(at, f"{remark.class_name}: {remark.words}"))
    return tuple(found)


def _place(mask: np.ndarray, remark: Remark, spacing_mm: Sequence[float]) -> tuple[int, int, int]:
    (box,) = ndimage.find_objects(mask.view(np.uint8))
    inside = mask[box]
    if remark.kind == "border":
        inside = _only_end(inside, remark.words)
    if remark.kind == "pieces":
        inside = _second_piece(inside)
    z, y, x = (at + part.start for at, part in zip(thickest(inside, spacing_mm), box, strict=True))
    return z, y, x


def _only_end(mask: np.ndarray, words: str) -> np.ndarray:
    """The first slice or the last one along the axis of the first end that the words name."""
    name = words.rpartition(": ")[2].split(", ")[0]
    axis, end = next((axis, ends.index(name)) for axis, ends in enumerate(ENDS) if name in ends)
    only = np.zeros_like(mask)
    places: list[slice | int] = [slice(None)] * 3
    places[axis] = -end
    only[tuple(places)] = mask[tuple(places)]
    return only


def _second_piece(mask: np.ndarray) -> np.ndarray:
    components = find_components(mask)
    if components is None or len(components.voxels) < 3:
        return mask
    second = int(np.argsort(-components.voxels[1:].astype(np.int64), kind="stable")[1]) + 1
    return components.labels == second
