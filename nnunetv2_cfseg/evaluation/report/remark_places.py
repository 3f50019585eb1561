"""Where in a scan a remark can be seen."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from nnunetv2_cfseg.evaluation.report.findings import Finding, thickest
from nnunetv2_cfseg.evaluation.report.observations import ENDS, class_boxes
from nnunetv2_cfseg.evaluation.report.remarks import Remark
from nnunetv2_cfseg.nnunet.classes import Classes
from nnunetv2_cfseg.quantify.components import find_components

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
    boxes = class_boxes(labels, classes)
    seen = [remark for remark in remarks if remark.kind != "empty"][:MOST_PLACES]
    found = []
    for remark in seen:
        one = by_name[remark.class_name]
        box = boxes[one.key]
        if box is None:  # the table is of another segmentation
            continue
        inside = _place(one.mask(labels[box]), remark, spacing_mm)
        z, y, x = (at + part.start for at, part in zip(inside, box, strict=True))
        at = (z, y, x)
        found.append(Finding(at, remark.text))
    return tuple(found)


def _place(mask: np.ndarray, remark: Remark, spacing_mm: Sequence[float]) -> tuple[int, int, int]:
    """Within a mask that the class fills from end to end."""
    if remark.kind == "border":
        mask = _only_end(mask, remark.words)
    if remark.kind == "pieces":
        mask = _second_piece(mask)
    return thickest(mask, spacing_mm)


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
