"""Find places in a scan at which remarks can be seen."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from nnunetv2_cfseg.evaluation.report.findings import Finding, thickest
from nnunetv2_cfseg.evaluation.report.observations import ENDS, class_boxes
from nnunetv2_cfseg.evaluation.report.remarks import Remark
from nnunetv2_cfseg.nnunet.classes import Classes
from nnunetv2_cfseg.quantify.components import find_components

#: Number of places in a case at most.
MOST_PLACES = 24


def remark_places(
    labels: np.ndarray, remarks: Sequence[Remark], *, classes: Classes, spacing_mm: Sequence[float]
) -> tuple[Finding, ...]:
    """Find a place for each remark on a class that is present: in a separate piece, at the scan's end, or in the class.

    Args:
        labels: (z, y, x) of the whole scan, from feet to head, front to back, right to left.
        remarks: remarks on this case.
        classes: the dataset's.
        spacing_mm: (z, y, x).
    """
    by_name = {label_class.name: label_class for label_class in classes.foreground}
    boxes = class_boxes(labels, classes)
    visible = [remark for remark in remarks if remark.kind != "empty"][:MOST_PLACES]
    places = []
    for remark in visible:
        label_class = by_name[remark.class_name]
        box = boxes[label_class.key]
        if box is None:  # the table belongs to another segmentation
            continue
        inside = _place(label_class.mask(labels[box]), remark, spacing_mm)
        z, y, x = (at + part.start for at, part in zip(inside, box, strict=True))
        at = (z, y, x)
        places.append(Finding(at, remark.text))
    return tuple(places)


def _place(mask: np.ndarray, remark: Remark, spacing_mm: Sequence[float]) -> tuple[int, int, int]:
    """The voxel (z, y, x) of a remark within the mask of its class, cropped to the class."""
    if remark.kind == "border":
        mask = _only_end(mask, remark.words)
    if remark.kind == "pieces":
        mask = _second_piece(mask)
    return thickest(mask, spacing_mm)


def _only_end(mask: np.ndarray, words: str) -> np.ndarray:
    """The mask reduced to its slice at the first end of the scan that the words name."""
    name = words.rpartition(": ")[2].split(", ")[0]
    axis, end = next((axis, ends.index(name)) for axis, ends in enumerate(ENDS) if name in ends)
    only = np.zeros_like(mask)
    index: list[slice | int] = [slice(None)] * 3
    index[axis] = -end  # 0 is the first slice, -1 the last
    only[tuple(index)] = mask[tuple(index)]
    return only


def _second_piece(mask: np.ndarray) -> np.ndarray:
    components = find_components(mask)
    if components is None or len(components.voxels) < 3:
        return mask
    second = int(np.argsort(-components.voxels[1:].astype(np.int64), kind="stable")[1]) + 1
    return components.labels == second
