"""Prepare a case for the slice browser: turn it to the patient's axes, crop, reduce and compress it."""

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
from nnunetv2_cfseg.imaging.geometry import Volume
from nnunetv2_cfseg.imaging.orientation import LPS
from nnunetv2_cfseg.imaging.segmentations import check_same_grid
from nnunetv2_cfseg.nnunet.classes import Classes

Matrix = tuple[tuple[float, ...], ...]


@dataclass(frozen=True)
class BrowserCase:
    """The data of a case in the page. Arrays are (z, y, x): from feet to head, front to back, patient's right to left.

    Attributes:
        name: name of the case.
        caption: a few words for the list of cases.
        links: relative addresses of its files, by link text.
        shape: voxels (z, y, x).
        spacing_mm: (z, y, x).
        image: base64 of gzip of bytes (``hounsfield_bytes``), each minus the byte of the slice below it, modulo 256;
            None without an image.
        truth: base64 of gzip of label values, a byte each; None without a reference.
        prediction: label values in the same form.
        note: what the reader must know about the volumes; may be empty.
        places: places worth a look: the largest errors, largest first; without a reference the places of remarks.
        structure: the largest structure.
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

    Oblique volumes are turned to the patient's nearest axes. Above ``voxels`` after cropping, they are reduced by whole
    factors, finest axes first: the CT by averages, labels by the middle voxel of a group. Findings are measured before.

    Args:
        case: the files of prediction and, if any, ground truth.
        image: the CT, a file or a folder of DICOM slices; None leaves the labels on a plain background.
        classes: the dataset's.
        caption: a few words for the list of cases.
        links: relative addresses of the case's files, by link text.
        series: which DICOM series of the folder, from 1, if there are several.
        remarks: remarks on a case without ground truth.
        voxels: number of voxels at most.

    Raises:
        ValueError: grids differ, a label is unknown or above 255, or the image is not 3D with one channel.
    """
    prediction, truth, scan = _read_volumes(case, image, classes=classes, series=series)
    on_patient_axes = prediction.turned(LPS)
    spacing_mm, predicted = on_patient_axes.geometry.spacing_mm, on_patient_axes.values
    true, hu = (None if volume is None else volume.turned(LPS).values for volume in (truth, scan))
    box = box_to_show(hu, predicted > 0 if true is None else (true > 0) | (predicted > 0), spacing_mm)
    search = _Search(classes, spacing_mm, [part.start for part in box])
    places = search.remarked(predicted, remarks) if true is None else search.errors(true[box], predicted[box])
    structure = search.structure(None if true is None else true[box], predicted[box])
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


def _read_volumes(
    case: Case | Unreferenced, image: Path | None, *, classes: Classes, series: int | None
) -> tuple[Volume, Volume | None, Volume | None]:
    """Prediction, ground truth and scan of a case, which lie on the same grid; the latter two if they exist."""
    prediction = read_labels(case.prediction, classes)
    truth = None if case.truth is None else read_labels(case.truth, classes)
    if truth is not None:
        check_same_grid(prediction, truth, file=case.prediction)
    scan = None if image is None else read_scan(image, grid=prediction.geometry, series=series)
    return prediction, truth, scan


@dataclass(frozen=True)
class _Search:
    """Finds errors, structures and remarks in a case that is shown from the voxel ``first`` (z, y, x) on."""

    classes: Classes
    spacing_mm: Sequence[float]
    first: Sequence[int]

    @property
    def _names(self) -> list[str]:
        return [label_class.name for label_class in self.classes.foreground]

    def errors(self, truth: np.ndarray, prediction: np.ndarray) -> tuple[Finding, ...]:
        """The largest errors in the shown part."""
        true, predicted = (shown_class(labels, self.classes) for labels in (truth, prediction))
        if self.classes.ignore is not None:
            predicted[truth == self.classes.ignore] = 0
        return largest_errors(true, predicted, names=self._names, spacing_mm=self.spacing_mm)

    def structure(self, truth: np.ndarray | None, prediction: np.ndarray) -> Finding | None:
        """The largest structure in the shown part."""
        true = None if truth is None else shown_class(truth, self.classes)
        predicted = shown_class(prediction, self.classes)
        return largest_structure(true, predicted, names=self._names, spacing_mm=self.spacing_mm)

    def remarked(self, prediction: np.ndarray, remarks: Sequence[Remark]) -> tuple[Finding, ...]:
        """The places of remarks on the whole case, relative to the shown part."""
        places = remark_places(prediction, remarks, classes=self.classes, spacing_mm=self.spacing_mm)
        return tuple(replace(place, at=_less(place.at, self.first)) for place in places)


def _less(at: Sequence[int], first: Sequence[int]) -> tuple[int, int, int]:
    z, y, x = (index - start for index, start in zip(at, first, strict=True))
    return z, y, x


def _in_groups(finding: Finding, factors: Factors) -> Finding:
    z, y, x = (index // factor for index, factor in zip(finding.at, factors, strict=True))
    return replace(finding, at=(z, y, x))


def _note(factors: Factors) -> str:
    if factors == (1, 1, 1):
        return ""
    z, y, x = factors
    return f"A voxel shown here stands for {x} x {y} x {z} (x, y, z) of the files; all measures are of the files."


def _matrix(affine_xyz: np.ndarray) -> Matrix:
    left, back, head = (tuple(round(float(value), 6) for value in row) for row in affine_xyz[:3])
    return left, back, head
