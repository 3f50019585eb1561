"""What ``quantities.json`` holds: everything, and what it was made with."""

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
        smallest_ml: components below it are no lesions.
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
    """Everything that was measured.

    Args:
        cases: that were measured.
        scans: the files of each of them, in their order.
        foreground: the classes.
        changes: rows of ``longitudinal.csv``.
        settings: of the measures.
        folder: in which the record will be; paths lead from there.
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
        "cases": [_of_case(case, scan, foreground, folder) for case, scan in zip(cases, scans, strict=True)],
        "longitudinal": list(changes),
    }


def _of_case(case: CaseQuantities, scan: Scan, foreground: Sequence[SegmentationClass], folder: Path) -> dict[str, Any]:
    return {
        "case": case.case,
        "segmentation": told(scan.segmentation, folder),
        "image": None if scan.image is None else told(scan.image, folder),
        "shape_zyx": case.grid.shape,
        "spacing_mm_zyx": case.grid.spacing_mm,
        "midline": asdict(case.midline),
        "classes": [_of_class(case, one) for one in foreground],
    }


def _of_class(case: CaseQuantities, one: SegmentationClass) -> dict[str, Any]:
    row = class_row(case, one)
    return {
        "class": row.pop("class"),
        "label": row.pop("label"),
        "voxels": case.classes[one.key].voxels,
        **_without(row, "case", "midline"),
        "mesh": _mesh(case, one),
        "lesion_list": [_without(lesion, "case", "class", "label", "midline") for lesion in lesion_rows(case, one)],
    }


def _mesh(case: CaseQuantities, one: SegmentationClass) -> dict[str, Any] | None:
    if one.key not in case.mesh_ml:
        return None
    name = mesh_name(case.case, one)
    return {"volume_ml": case.mesh_ml[one.key], "files": [f"{MESHES}/{name}.{ending}" for ending in MESH_FORMATS]}


def _without(row: Mapping[str, Any], *keys: str) -> dict[str, Any]:
    return {key: value for key, value in row.items() if key not in keys}
