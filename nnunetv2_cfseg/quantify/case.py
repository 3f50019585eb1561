"""Measures everything in one case."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from nnunetv2_cfseg.files.atomic_files import write_bytes
from nnunetv2_cfseg.imaging.case_images import read_case_image
from nnunetv2_cfseg.imaging.geometry import VolumeGeometry, grid_difference
from nnunetv2_cfseg.imaging.hounsfield import check_hounsfield
from nnunetv2_cfseg.imaging.labels import check_labels
from nnunetv2_cfseg.imaging.segmentations import read_segmentation
from nnunetv2_cfseg.nnunet.classes import Classes, SegmentationClass
from nnunetv2_cfseg.quantify.inputs import Scan
from nnunetv2_cfseg.quantify.measures import ClassQuantities, measure_class
from nnunetv2_cfseg.quantify.mesh import build_mesh
from nnunetv2_cfseg.quantify.midline import Midline, image_centre_midline
from nnunetv2_cfseg.quantify.symmetry import symmetry_midline

MESH_FORMATS = ("stl", "ply")


@dataclass(frozen=True)
class CaseQuantities:
    """The numbers of a case.

    Attributes:
        case: its name.
        grid: where its voxels lie.
        midline: the plane between the patient's left and right.
        classes: by nnU-Net's key.
        mesh_ml: volume of each mesh that was written, by nnU-Net's key.
    """

    case: str
    grid: VolumeGeometry
    midline: Midline
    classes: dict[str, ClassQuantities]
    mesh_ml: dict[str, float] = field(default_factory=dict)


def quantify_case(
    scan: Scan, classes: Classes, *, smallest_ml: float = 0.0, mesh_folder: Path | None = None
) -> CaseQuantities:
    """Measure all classes of a case.

    Args:
        scan: the case's files.
        classes: of the dataset.
        smallest_ml: smaller components are not counted as lesions.
        mesh_folder: where to write surfaces; None writes none. An older surface of a class that this case does not have
            is removed.

    Raises:
        ValueError: a file cannot be read, the dataset lacks a label, or the image is on another grid.
    """
    segmentation = read_segmentation(scan.segmentation)
    check_labels(segmentation.values, set(classes.values), scan.segmentation)
    grid = segmentation.geometry
    midline = _midline(scan, grid)
    quantities: dict[str, ClassQuantities] = {}
    mesh_ml: dict[str, float] = {}
    for entry in classes.foreground:
        mask = entry.mask(segmentation.values)
        quantities[entry.key] = measure_class(mask, grid, midline=midline, smallest_ml=smallest_ml)
        if mesh_folder is not None:
            volume_ml = _write_mesh(mask, grid, smallest_ml=smallest_ml, stem=mesh_folder / mesh_name(scan.case, entry))
            if volume_ml is not None:
                mesh_ml[entry.key] = volume_ml
    return CaseQuantities(scan.case, grid, midline, quantities, mesh_ml)


def mesh_name(case: str, entry: SegmentationClass) -> str:
    """File name of a surface without ending; characters that do not belong in a file name become underscores."""
    return re.sub(r"[^\w.+-]", "_", f"{case}_{entry.name}")


def _midline(scan: Scan, grid: VolumeGeometry) -> Midline:
    if scan.image is None:
        return image_centre_midline(grid, reason="no image was given")
    image = read_case_image(scan.image, series=scan.series, slices=grid.shape[0])
    if difference := grid_difference(image.geometry, grid):
        raise ValueError(f"an image must have its segmentation's {difference}: {scan.image}")
    check_hounsfield(image.values, scan.image)
    return symmetry_midline(image.to_sitk(), grid)


def _write_mesh(mask: np.ndarray, grid: VolumeGeometry, *, smallest_ml: float, stem: Path) -> float | None:
    """Write a class's surface and return its volume in ml; None if there is no surface."""
    mesh = build_mesh(mask, grid, smallest_ml=smallest_ml)
    for ending in MESH_FORMATS:
        file = stem.with_name(f"{stem.name}.{ending}")
        if mesh is None:
            file.unlink(missing_ok=True)
        else:
            file.parent.mkdir(parents=True, exist_ok=True)
            write_bytes(file, mesh.export(file_type=ending))
    return None if mesh is None else float(mesh.volume) / 1000
