"""The content of ``quantities.json``: all measurements, and the versions and settings they were made with."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from nnunetv2_cfseg import __version__
from nnunetv2_cfseg.files.private_paths import told
from nnunetv2_cfseg.nnunet.classes import SegmentationClass
from nnunetv2_cfseg.quantify.case import MESH_FORMATS, CaseQuantities, mesh_name
from nnunetv2_cfseg.quantify.components import CONNECTIVITY
from nnunetv2_cfseg.quantify.inputs import Scan
from nnunetv2_cfseg.quantify.midline import BOTH_SHARE
from nnunetv2_cfseg.quantify.tables import CLASS_COLUMNS, LESION_COLUMNS, LONGITUDINAL_COLUMNS, class_row, lesion_rows

LIBRARIES = ("numpy", "scipy", "scikit-image", "SimpleITK", "connected-components-3d", "trimesh")
MESHES = "meshes"


@dataclass(frozen=True)
class QuantifySettings:
    """What is measured, and how scans are grouped.

    Attributes:
        smallest_ml: smaller components are no lesions.
        mesh: write surfaces.
        scans: table of the patients' scans, or None.
        patient_pattern: regular expression whose first group in a case's name is the patient, or None.
        series: which series of a DICOM folder, from 1, if there are several.
    """

    smallest_ml: float = 0.0
    mesh: bool = False
    scans: Path | None = None
    patient_pattern: str | None = None
    series: int | None = None


def record(
    cases: Sequence[CaseQuantities],
    scans: Sequence[Scan],
    foreground: Sequence[SegmentationClass],
    *,
    changes: Sequence[Mapping[str, Any]],
    settings: QuantifySettings,
    folder: Path,
) -> dict[str, Any]:
    """The content of ``quantities.json``.

    Args:
        cases: the measurements of each case.
        scans: the files of each case, in the same order.
        foreground: the classes.
        changes: rows of ``longitudinal.csv``.
        settings: that the cases were measured with.
        folder: of the record; paths are relative to it.
    """
    return {
        "versions": {
            "nnunetv2_cfseg": __version__,
            "python": platform.python_version(),
            **{library: version(library) for library in LIBRARIES},
        },
        "units": {"_ml": "ml", "_mm": "mm", "_percent": "percent", "_deg": "degrees", "days": "days"},
        "coordinates": "patient, LPS: x to the left, y to the back, z to the head",
        "settings": {
            **asdict(settings),
            "scans": None if settings.scans is None else told(settings.scans, folder),
            "connectivity": CONNECTIVITY,
            "both_share": BOTH_SHARE,
        },
        "columns": {"classes": CLASS_COLUMNS, "lesions": LESION_COLUMNS, "longitudinal": LONGITUDINAL_COLUMNS},
        "cases": [_case_record(case, scan, foreground, folder) for case, scan in zip(cases, scans, strict=True)],
        "longitudinal": list(changes),
    }


def _case_record(
    case: CaseQuantities, scan: Scan, foreground: Sequence[SegmentationClass], folder: Path
) -> dict[str, Any]:
    return {
        "case": case.case,
        "segmentation": told(scan.segmentation, folder),
        "image": None if scan.image is None else told(scan.image, folder),
        "shape_zyx": case.grid.shape,
        "spacing_mm_zyx": case.grid.spacing_mm,
        "midline": asdict(case.midline),
        "classes": [_class_record(case, entry) for entry in foreground],
    }


def _class_record(case: CaseQuantities, entry: SegmentationClass) -> dict[str, Any]:
    row = class_row(case, entry)
    return {
        "class": row.pop("class"),
        "label": row.pop("label"),
        "voxels": case.classes[entry.key].voxels,
        **_without(row, "case", "midline"),
        "mesh": _mesh(case, entry),
        "lesion_list": [_without(lesion, "case", "class", "label", "midline") for lesion in lesion_rows(case, entry)],
    }


def _mesh(case: CaseQuantities, entry: SegmentationClass) -> dict[str, Any] | None:
    if entry.key not in case.mesh_ml:
        return None
    name = mesh_name(case.case, entry)
    return {"volume_ml": case.mesh_ml[entry.key], "files": [f"{MESHES}/{name}.{ending}" for ending in MESH_FORMATS]}


def _without(row: Mapping[str, Any], *keys: str) -> dict[str, Any]:
    return {key: value for key, value in row.items() if key not in keys}
