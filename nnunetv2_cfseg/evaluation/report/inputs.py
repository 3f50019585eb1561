"""What the slice browser reads of a case, with checks."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from nnunetv2_cfseg.data.checks import read_image
from nnunetv2_cfseg.evaluation.classes import Classes
from nnunetv2_cfseg.evaluation.files import Segmentation, read_segmentation
from nnunetv2_cfseg.evaluation.report.grid import affine, as_image

#: One byte a voxel holds them.
MAX_LABEL = 255
#: Of a voxel: an image and its reference may lie that far apart.
GRID_TOLERANCE = 1e-2


def read_labels(file: Path, classes: Classes) -> Segmentation:
    """A segmentation whose values fit into a byte.

    Raises:
        ValueError: a label is not among the dataset's, or above 255.
    """
    labels = read_segmentation(file)
    values = set(np.unique(labels.values).tolist())
    if values - classes.values:
        raise ValueError(f"labels must be among the dataset's, got {min(values - classes.values)}: {file}")
    if max(values) > MAX_LABEL:
        raise ValueError(f"labels must be at most {MAX_LABEL} to be shown, got {max(values)}: {file}")
    return replace(labels, values=labels.values.astype(np.uint8))


def read_scan(file: Path, *, grid: Segmentation) -> Segmentation:
    """The HU of an image on the grid of its segmentations.

    Raises:
        ValueError: the file cannot be read, its image is not 3D with one channel, or it lies on another grid.
    """
    image = read_image(str(file))
    if image.GetDimension() != 3 or image.GetNumberOfComponentsPerPixel() != 1:
        size, values = image.GetSize()[::-1], image.GetNumberOfComponentsPerPixel()
        raise ValueError(f"an image must be 3D with one value a voxel, got {values} in a size of {size}: {file}")
    scan = replace(grid, values=sitk.GetArrayFromImage(image))
    found, expected = affine(image), affine(as_image(grid))
    tolerance_mm = GRID_TOLERANCE * min(grid.spacing_mm)
    if scan.values.shape != grid.values.shape or not np.allclose(found, expected, rtol=0, atol=tolerance_mm):
        raise ValueError(
            f"an image must lie on its reference's grid of {grid.values.shape} voxels (z, y, x), "
            f"got {scan.values.shape} or another place or direction: {file}"
        )
    return scan
