"""The rows of the tables that ``cfseg quantify`` writes, and what their columns mean."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import nan
from typing import Any

from nnunetv2_cfseg.nnunet.classes import SegmentationClass
from nnunetv2_cfseg.quantify.case import CaseQuantities
from nnunetv2_cfseg.quantify.measures import ClassQuantities, Lesion
from nnunetv2_cfseg.quantify.timepoints import Timepoint

CLASS_COLUMNS = {
    "case": "name of the segmentation",
    "class": "name in dataset.json",
    "label": "its value, or a region's values",
    "volume_ml": "voxels times the volume of one",
    "lesions": "components that touch by face, edge or corner, and are not below the smallest volume",
    "largest_lesion_ml": "volume of the largest lesion",
    "largest_diameter_mm": "largest 3D diameter of all lesions",
    "largest_axial_diameter_mm": "largest diameter within an axial slice of all lesions",
    "side": "left, right, or both: a tenth of the volume or more lies on either side of the midline",
    "left_ml": "volume on the patient's left",
    "right_ml": "volume on the patient's right",
    "midline": "symmetry: the head's plane of symmetry; image centre: the sagittal plane through the image's middle",
}

LESION_COLUMNS = {
    "case": "name of the segmentation",
    "class": "name in dataset.json",
    "label": "its value, or a region's values",
    "lesion": "number in the class by falling volume",
    "volume_ml": "voxels times the volume of one",
    "extent_left_right_mm": "extent along the patient's axis from left to right",
    "extent_anterior_posterior_mm": "extent from front to back",
    "extent_head_foot_mm": "extent from head to foot",
    "diameter_mm": "largest distance in 3D between outer faces of voxels, from middle to middle (IBSI)",
    "axial_diameter_mm": "largest such distance within an axial slice",
    "perpendicular_diameter_mm": "longest at a right angle to it in the same slice",
    "diameter_slice": "that slice's index from 0",
    "centroid_x_mm": "towards the patient's left",
    "centroid_y_mm": "towards the patient's back",
    "centroid_z_mm": "towards the patient's head",
    "first_slice": "lower index, from 0, of the outermost axial slices",
    "last_slice": "higher index",
    "first_slice_z_mm": "height of the middle of the first slice",
    "last_slice_z_mm": "height of the middle of the last slice",
    "side": "left, right, or both: a tenth of the volume or more lies on either side of the midline",
    "left_ml": "volume on the patient's left",
    "right_ml": "volume on the patient's right",
    "midline": "symmetry: the head's plane of symmetry; image centre: the sagittal plane through the image's middle",
}

LONGITUDINAL_COLUMNS = {
    "patient": "as scans are grouped",
    "class": "name in dataset.json",
    "label": "its value, or a region's values",
    "scan": "number of the patient's scan, from 1",
    "case": "name of the segmentation",
    "date": "as given",
    "days": "since the first scan",
    "volume_ml": "voxels times the volume of one",
    "change_from_first_ml": "volume less that of the first scan",
    "change_from_first_percent": "the same in percent of the first scan's volume; empty if that is 0",
    "change_from_previous_ml": "volume less that of the previous scan",
    "change_from_previous_percent": "the same in percent of the previous scan's volume; empty if that is 0",
    "lesions": "number of lesions",
}


def class_row(case: CaseQuantities, entry: SegmentationClass) -> dict[str, Any]:
    """The row of ``classes.csv`` for one class of a case."""
    quantities = case.classes[entry.key]
    return {
        "case": case.case,
        "class": entry.name,
        "label": entry.key,
        "volume_ml": quantities.volume_ml,
        "lesions": len(quantities.lesions),
        "largest_lesion_ml": quantities.largest_lesion_ml,
        "largest_diameter_mm": quantities.largest_diameter_mm,
        "largest_axial_diameter_mm": quantities.largest_axial_diameter_mm,
        "side": quantities.side,
        "left_ml": quantities.left_ml,
        "right_ml": quantities.right_ml,
        "midline": case.midline.source,
    }


def lesion_rows(case: CaseQuantities, entry: SegmentationClass) -> list[dict[str, Any]]:
    """The rows of ``lesions.csv`` for one class of a case."""
    named = {"case": case.case, "class": entry.name, "label": entry.key}
    lesions = case.classes[entry.key].lesions
    return [{**named, **_lesion_columns(lesion), "midline": case.midline.source} for lesion in lesions]


def longitudinal_rows(
    visits: Sequence[Timepoint], cases: Mapping[str, CaseQuantities], classes: Sequence[SegmentationClass]
) -> list[dict[str, Any]]:
    """Rows of ``longitudinal.csv``, sorted by patient, then class, then scan.

    Args:
        visits: of all patients; each patient's visits are in order.
        cases: by name.
        classes: of the dataset.
    """
    patients: dict[str, list[Timepoint]] = {}
    for visit in visits:
        patients.setdefault(visit.patient, []).append(visit)
    rows = []
    for scans in patients.values():
        for entry in classes:
            series = [cases[visit.case].classes[entry.key] for visit in scans]
            for index, visit in enumerate(scans):
                rows.append(_visit_row(visit, entry, series[index], series[0], series[index - 1] if index else None))
    return rows


def _lesion_columns(lesion: Lesion) -> dict[str, Any]:
    return {
        "lesion": lesion.number,
        "volume_ml": lesion.volume_ml,
        **dict(zip(list(LESION_COLUMNS)[5:8], lesion.extent_mm, strict=True)),
        "diameter_mm": lesion.diameter_mm,
        "axial_diameter_mm": lesion.axial_diameter_mm,
        "perpendicular_diameter_mm": lesion.perpendicular_diameter_mm,
        "diameter_slice": lesion.diameter_slice,
        **{f"centroid_{axis}_mm": mm for axis, mm in zip("xyz", lesion.centroid_mm, strict=True)},
        "first_slice": lesion.first_slice,
        "last_slice": lesion.last_slice,
        "first_slice_z_mm": lesion.first_slice_z_mm,
        "last_slice_z_mm": lesion.last_slice_z_mm,
        "side": lesion.side,
        "left_ml": lesion.left_ml,
        "right_ml": lesion.right_ml,
    }


def _visit_row(
    visit: Timepoint,
    entry: SegmentationClass,
    now: ClassQuantities,
    first: ClassQuantities,
    previous: ClassQuantities | None,
) -> dict[str, Any]:
    return {
        "patient": visit.patient,
        "class": entry.name,
        "label": entry.key,
        "scan": visit.number,
        "case": visit.case,
        "date": visit.date,
        "days": visit.days,
        "volume_ml": now.volume_ml,
        **_change(now, first, "first"),
        **_change(now, previous, "previous"),
        "lesions": len(now.lesions),
    }


def _change(now: ClassQuantities, before: ClassQuantities | None, since: str) -> dict[str, float]:
    change = nan if before is None else now.volume_ml - before.volume_ml
    percent = nan if before is None or not before.volume_ml else 100 * change / before.volume_ml
    return {f"change_from_{since}_ml": change, f"change_from_{since}_percent": percent}
