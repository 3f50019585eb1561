"""A case as the slice browser shows it: turned to the patient's axes, cropped, small enough, and compressed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from nnunetv2_cfseg.evaluation.files import Case
from nnunetv2_cfseg.evaluation.report.body_box import box_to_show
from nnunetv2_cfseg.evaluation.report.findings import Finding, largest_errors, largest_structure, shown_class
from nnunetv2_cfseg.evaluation.report.grid import (
    Factors,
    affine,
    average,
    group_centres,
    pick,
    reduced_shape,
    reduction,
)
from nnunetv2_cfseg.evaluation.report.hounsfield_bytes import to_bytes
from nnunetv2_cfseg.evaluation.report.inputs import read_labels, read_scan
from nnunetv2_cfseg.evaluation.report.observations import Unreferenced
from nnunetv2_cfseg.evaluation.report.packing import pack, slice_differences
from nnunetv2_cfseg.evaluation.report.remark_places import remark_places
from nnunetv2_cfseg.evaluation.report.remarks import Remark
from nnunetv2_cfseg.imaging.orientation import LPS
from nnunetv2_cfseg.imaging.segmentations import check_same_grid
from nnunetv2_cfseg.nnunet.classes import Classes

Matrix = tuple[tuple[float, ...], ...]


@dataclass(frozen=True)
class BrowserCase:
    """What the page holds of a case. Arrays are (z, y, x): from feet to head, front to back, patient's right to left.

    Attributes:
        name: of the case.
        caption: a few words for the list of cases.
        links: relative addresses of its files, by the words to show.
        shape: voxels (z, y, x).
        spacing_mm: (z, y, x).
        image: base64 of gzip of bytes (``hounsfield_bytes``), each less the byte of the slice below it, modulo 256;
            None without an image.
        truth: base64 of gzip of label values, a byte each; None without a reference.
        prediction: the same.
        note: what the reader must know of the volumes; empty if there is nothing.
        places: worth a look: the largest errors, largest first; without a reference those of the remarks.
        structure: the largest one.
        to_patient_mm: 3 x 4, from a voxel (x, y, z, 1) to the patient's left, back and head.
        to_file: 3 x 4, from a voxel (x, y, z, 1) to the voxel (i, j, k) of the files, from 0.
    """

    name: str
    caption: str
    links: Mapping[str, str]
    shape: tuple[int, int, int]
    spacing_mm: tuple[float, float, float]
    image: str | None
    truth: str | None
    prediction: str
    note: str
    places: tuple[Finding, ...]
    structure: Finding | None
    to_patient_mm: Matrix
    to_file: Matrix


def browser_case(
    case: Case | Unreferenced,
    *,
    image: Path | None,
    classes: Classes,
    caption: str,
    links: Mapping[str, str],
    series: int | None = None,
    remarks: Sequence[Remark] = (),
    voxels: int = 6_000_000,
) -> BrowserCase:
    """Read a case and make it fit for the page.

    Oblique volumes are turned to the nearest axes of the patient. What is larger than ``voxels`` after cropping is
    reduced by whole factors, the finest axes first: the CT by averages, labels by the voxel in the middle of each
    group. Errors and structures are looked for, and measured, before that.

    Args:
        case: its ground truth, if there is one, and prediction.
        image: the CT, a file or a folder of DICOM slices; None leaves the labels on a plain background.
        classes: of the dataset.
        caption: a few words for the list of cases.
        links: relative addresses of its files, by the words to show.
        series: which DICOM series of the folder, from 1, if there are several.
        remarks: on a case without ground truth.
        voxels: as many at most.

    Raises:
        ValueError: grids differ, a label is not among the dataset's or above 255, or the image is not one channel in
            three dimensions.
    """
    prediction = read_labels(case.prediction, classes)
    truth = None if case.truth is None else read_labels(case.truth, classes)
    if truth is not None:
        check_same_grid(prediction, truth, file=case.prediction)
    scan = None if image is None else read_scan(image, grid=prediction.geometry, series=series)
    on_patient_axes = prediction.turned(LPS)
    spacing_mm, predicted = on_patient_axes.geometry.spacing_mm, on_patient_axes.values
    true, hu = (None if volume is None else volume.turned(LPS).values for volume in (truth, scan))

    box = box_to_show(hu, predicted > 0 if true is None else (true > 0) | (predicted > 0), spacing_mm)
    look = _Look(classes, spacing_mm, [part.start for part in box])
    places = look.remarked(predicted, remarks) if true is None else look.errors(true[box], predicted[box])
    structure = look.structure(None if true is None else true[box], predicted[box])
    factors = reduction(predicted[box].shape, spacing_mm, voxels=voxels)
    z, y, x = (mm * factor for mm, factor in zip(spacing_mm, factors, strict=True))
    to_patient_mm = affine(on_patient_axes.geometry) @ group_centres([part.start for part in box], factors)
    return BrowserCase(
        name=case.name,
        caption=caption,
        links=dict(links),
        shape=reduced_shape(predicted[box].shape, factors),
        spacing_mm=(z, y, x),
        image=None if hu is None else pack(slice_differences(to_bytes(average(hu[box], factors)))),
        truth=None if true is None else pack(pick(true[box], factors)),
        prediction=pack(pick(predicted[box], factors)),
        note=_note(factors),
        places=tuple(_in_groups(place, factors) for place in places),
        structure=None if structure is None else _in_groups(structure, factors),
        to_patient_mm=_matrix(to_patient_mm),
        to_file=_matrix(np.linalg.inv(affine(prediction.geometry)) @ to_patient_mm),
    )


@dataclass(frozen=True)
class _Look:
    """What there is to find in a case whose part from ``first`` (z, y, x) on is shown."""

    classes: Classes
    spacing_mm: Sequence[float]
    first: Sequence[int]

    @property
    def _names(self) -> list[str]:
        return [one.name for one in self.classes.foreground]

    def errors(self, truth: np.ndarray, prediction: np.ndarray) -> tuple[Finding, ...]:
        """The largest ones of the part that is shown."""
        true, predicted = (shown_class(labels, self.classes) for labels in (truth, prediction))
        if self.classes.ignore is not None:
            predicted[truth == self.classes.ignore] = 0
        return largest_errors(true, predicted, names=self._names, spacing_mm=self.spacing_mm)

    def structure(self, truth: np.ndarray | None, prediction: np.ndarray) -> Finding | None:
        """The largest one of the part that is shown."""
        true = None if truth is None else shown_class(truth, self.classes)
        predicted = shown_class(prediction, self.classes)
        return largest_structure(true, predicted, names=self._names, spacing_mm=self.spacing_mm)

    def remarked(self, prediction: np.ndarray, remarks: Sequence[Remark]) -> tuple[Finding, ...]:
        """Places of remarks on the whole case."""
        found = remark_places(prediction, remarks, classes=self.classes, spacing_mm=self.spacing_mm)
        return tuple(replace(place, at=_less(place.at, self.first)) for place in found)


def _less(at: Sequence[int], first: Sequence[int]) -> tuple[int, int, int]:
    z, y, x = (place - start for place, start in zip(at, first, strict=True))
    return z, y, x


def _in_groups(finding: Finding, factors: Factors) -> Finding:
    z, y, x = (place // factor for place, factor in zip(finding.at, factors, strict=True))
    return replace(finding, at=(z, y, x))


def _note(factors: Factors) -> str:
    if factors == (1, 1, 1):
        return ""
    z, y, x = factors
    return f"A voxel shown here stands for {x} x {y} x {z} (x, y, z) of the files; all measures are of the files."


def _matrix(affine_xyz: np.ndarray) -> Matrix:
    left, back, head = (tuple(round(float(value), 6) for value in row) for row in affine_xyz[:3])
    return left, back, head
