"""A case as the slice browser shows it: turned to the patient's axes, cropped, small enough, and compressed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from nnunetv2_cfseg.evaluation.classes import Classes
from nnunetv2_cfseg.evaluation.files import Case, check_same_grid
from nnunetv2_cfseg.evaluation.report.body_box import box_to_show
from nnunetv2_cfseg.evaluation.report.findings import Finding, largest_errors, largest_structure, shown_class
from nnunetv2_cfseg.evaluation.report.grid import (
    Factors,
    affine,
    as_image,
    average,
    group_centres,
    pick,
    reduced_shape,
    reduction,
    turned,
)
from nnunetv2_cfseg.evaluation.report.hounsfield_bytes import to_bytes
from nnunetv2_cfseg.evaluation.report.inputs import read_labels, read_scan
from nnunetv2_cfseg.evaluation.report.packing import pack, slice_differences

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
        truth: base64 of gzip of label values, a byte each.
        prediction: the same.
        note: what the reader must know of the volumes; empty if there is nothing.
        errors: the largest ones, largest first.
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
    truth: str
    prediction: str
    note: str
    errors: tuple[Finding, ...]
    structure: Finding | None
    to_patient_mm: Matrix
    to_file: Matrix


def browser_case(
    case: Case,
    *,
    image: Path | None,
    classes: Classes,
    caption: str,
    links: Mapping[str, str],
    voxels: int = 6_000_000,
) -> BrowserCase:
    """Read a case and make it fit for the page.

    Oblique volumes are turned to the nearest axes of the patient. What is larger than ``voxels`` after cropping is
    reduced by whole factors, the finest axes first: the CT by averages, labels by the voxel in the middle of each
    group. Errors and structures are looked for, and measured, before that.

    Args:
        case: its ground truth and prediction.
        image: the CT; None leaves the labels on a plain background.
        classes: of the dataset.
        caption: a few words for the list of cases.
        links: relative addresses of its files, by the words to show.
        voxels: as many at most.

    Raises:
        ValueError: grids differ, a label is not among the dataset's or above 255, or the image is not one channel in
            three dimensions.
    """
    truth, prediction = read_labels(case.truth, classes), read_labels(case.prediction, classes)
    check_same_grid(prediction, truth, file=case.prediction)
    on_patient_axes = turned(truth)
    spacing_mm = _zyx(on_patient_axes.GetSpacing())
    true = sitk.GetArrayFromImage(on_patient_axes)
    predicted = sitk.GetArrayFromImage(turned(replace(truth, values=prediction.values)))
    hu = None if image is None else sitk.GetArrayFromImage(turned(read_scan(image, grid=truth)))

    box = box_to_show(hu, (true > 0) | (predicted > 0), spacing_mm)
    true, predicted = true[box], predicted[box]
    factors = reduction(true.shape, spacing_mm, voxels=voxels)
    errors, structure = _findings(true, predicted, classes=classes, spacing_mm=spacing_mm)
    z, y, x = (mm * factor for mm, factor in zip(spacing_mm, factors, strict=True))
    to_patient_mm = affine(on_patient_axes) @ group_centres([part.start for part in box], factors)
    return BrowserCase(
        name=case.name,
        caption=caption,
        links=dict(links),
        shape=reduced_shape(true.shape, factors),
        spacing_mm=(z, y, x),
        image=None if hu is None else pack(slice_differences(to_bytes(average(hu[box], factors)))),
        truth=pack(pick(true, factors)),
        prediction=pack(pick(predicted, factors)),
        note=_note(factors),
        errors=tuple(_in_groups(error, factors) for error in errors),
        structure=None if structure is None else _in_groups(structure, factors),
        to_patient_mm=_matrix(to_patient_mm),
        to_file=_matrix(np.linalg.inv(affine(as_image(truth))) @ to_patient_mm),
    )


def _findings(
    truth: np.ndarray, prediction: np.ndarray, *, classes: Classes, spacing_mm: Sequence[float]
) -> tuple[tuple[Finding, ...], Finding | None]:
    names = [a_class.name for a_class in classes.foreground]
    true, predicted = shown_class(truth, classes), shown_class(prediction, classes)
    if classes.ignore is not None:
        predicted[truth == classes.ignore] = 0
    errors = largest_errors(true, predicted, names=names, spacing_mm=spacing_mm)
    return errors, largest_structure(true, predicted, names=names, spacing_mm=spacing_mm)


def _in_groups(finding: Finding, factors: Factors) -> Finding:
    z, y, x = (place // factor for place, factor in zip(finding.at, factors, strict=True))
    return replace(finding, at=(z, y, x))


def _note(factors: Factors) -> str:
    if factors == (1, 1, 1):
        return ""
    z, y, x = factors
    return f"A voxel shown here stands for {x} x {y} x {z} (x, y, z) of the files; all measures are of the files."


def _zyx(xyz: Sequence[float]) -> tuple[float, float, float]:
    x, y, z = (float(value) for value in xyz)
    return z, y, x


def _matrix(affine_xyz: np.ndarray) -> Matrix:
    left, back, head = (tuple(round(float(value), 6) for value in row) for row in affine_xyz[:3])
    return left, back, head
