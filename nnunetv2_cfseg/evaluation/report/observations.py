"""Measure segmentations without a reference: volumes, pieces, and the ends of the scan that a class reaches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy import ndimage

from nnunetv2_cfseg.imaging.labels import check_labels
from nnunetv2_cfseg.imaging.orientation import LPS
from nnunetv2_cfseg.imaging.segmentations import read_segmentation
from nnunetv2_cfseg.nnunet.classes import Classes, SegmentationClass
from nnunetv2_cfseg.processes.parallel_map import parallel_map
from nnunetv2_cfseg.processes.progress_bar import progress_bar
from nnunetv2_cfseg.quantify.components import find_components

#: Columns of the table, which has one row per case and class.
COLUMNS = ("case", "class", "label", "volume_ml", "pieces", "largest_piece_ml", "border")
#: The ends of the scan along z, y and x, first and last.
ENDS = (("feet", "head"), ("front", "back"), ("right", "left"))
#: An axis of fewer voxels consists only of its ends.
FEWEST_VOXELS = 3

Box = tuple[slice, ...]


@dataclass(frozen=True)
class Unreferenced:
    """A segmentation without a reference."""

    name: str
    prediction: Path
    truth: None = None


@dataclass(frozen=True)
class Observations:
    """Measures of segmentations without a reference.

    Attributes:
        table: a row for each case and class, cases sorted, classes in order; its columns are COLUMNS. ``border`` names
            the ends of the scan that the class reaches, separated by commas.
        classes: the dataset's.
        cases: in the order of the table.
    """

    table: pd.DataFrame
    classes: Classes
    cases: list[Unreferenced]


def observe_folder(
    files: dict[str, Path], classes: Classes, *, num_processes: int = 1, progress: bool = True
) -> Observations:
    """Measure every class of every segmentation.

    Args:
        files: segmentations by case name.
        classes: the dataset's.
        num_processes: number of measuring processes; each holds one case.
        progress: show a bar.

    Raises:
        ValueError: ``num_processes`` is below 1, a file cannot be read, or a label is not in the dataset.
    """
    if num_processes < 1:
        raise ValueError(f"the number of processes must be >= 1, got {num_processes}")
    cases = [Unreferenced(name, file) for name, file in sorted(files.items())]
    jobs = [(case, classes) for case in cases]
    rows_by_case: dict[str, list[dict[str, Any]]] = {}
    with progress_bar(doing="Measuring", total=len(jobs), show=progress) as bar:
        for name, rows in parallel_map(_observe, jobs, num_processes=min(num_processes, len(jobs))):
            rows_by_case[name] = rows
            bar.update()
    rows = [row for case in cases for row in rows_by_case[case.name]]
    return Observations(pd.DataFrame(rows, columns=list(COLUMNS)), classes, cases)


def _observe(job: tuple[Unreferenced, Classes]) -> tuple[str, list[dict[str, Any]]]:
    case, classes = job
    segmentation = read_segmentation(case.prediction)
    check_labels(segmentation.values, set(classes.values), case.prediction)
    labels, voxel_ml = segmentation.turned(LPS).values, segmentation.geometry.voxel_ml
    boxes = class_boxes(labels, classes)
    return case.name, [
        {
            "case": case.name,
            "class": label_class.name,
            "label": label_class.key,
            **observe(labels, label_class, boxes[label_class.key], voxel_ml),
        }
        for label_class in classes.foreground
    ]


def observe(labels: np.ndarray, one: SegmentationClass, box: Box | None, voxel_ml: float) -> dict[str, Any]:
    """Measure volume, pieces and reached ends of the scan of a class.

    Args:
        labels: (z, y, x) from feet to head, front to back, right to left.
        one: the class.
        box: box around the class; None if it has no voxel.
        voxel_ml: volume of a voxel.
    """
    components = None if box is None else find_components(one.mask(labels[box]))
    if box is None or components is None:
        return {"volume_ml": 0.0, "pieces": 0, "largest_piece_ml": 0.0, "border": ""}
    voxels = components.voxels[1:]
    return {
        "volume_ml": float(voxels.sum()) * voxel_ml,
        "pieces": len(voxels),
        "largest_piece_ml": float(voxels.max()) * voxel_ml,
        "border": ", ".join(ends_reached(box, labels.shape)),
    }


def ends_reached(box: Box, shape: Sequence[int]) -> list[str]:
    """The ends of a scan that a box reaches; axes of one or two voxels, which are all border, are left out."""
    reached = []
    for part, size, (first, last) in zip(box, shape, ENDS, strict=True):
        if size >= FEWEST_VOXELS:
            reached += [first] * (part.start == 0) + [last] * (part.stop == size)
    return reached


def class_boxes(labels: np.ndarray, classes: Classes) -> dict[str, Box | None]:
    """The box of each class by its key, None if it has no voxel, found in one pass over the volume."""
    value_boxes = ndimage.find_objects(labels)  # of the values from 1
    boxes: dict[str, Box | None] = {}
    for label_class in classes.foreground:
        parts = [value_boxes[value - 1] for value in label_class.values if 0 < value <= len(value_boxes)]
        boxes[label_class.key] = _around([box for box in parts if box is not None])
    return boxes


def _around(boxes: Sequence[Box]) -> Box | None:
    if not boxes:
        return None
    return tuple(
        slice(min(box[axis].start for box in boxes), max(box[axis].stop for box in boxes)) for axis in range(3)
    )
