"""Read and check the volumes that the slice browser shows."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from nnunetv2_cfseg.imaging.case_images import read_case_image
from nnunetv2_cfseg.imaging.geometry import Volume, VolumeGeometry, grid_difference
from nnunetv2_cfseg.imaging.labels import check_labels
from nnunetv2_cfseg.imaging.segmentations import read_segmentation
from nnunetv2_cfseg.nnunet.classes import Classes

#: The largest label that fits into a byte.
MAX_LABEL = 255


def read_labels(file: Path, classes: Classes) -> Volume:
    """Read a segmentation as uint8.

    Raises:
        ValueError: a label is not one of the dataset's, or is above 255.
    """
    labels = read_segmentation(file)
    check_labels(labels.values, set(classes.values), file)
    if (largest := int(labels.values.max())) > MAX_LABEL:
        raise ValueError(f"labels must be at most {MAX_LABEL} to be shown, got {largest}: {file}")
    return Volume(labels.values.astype(np.uint8), labels.geometry)


def read_scan(file: Path, *, grid: VolumeGeometry, series: int | None = None) -> Volume:
    """Read the HU of an image that lies on the grid of its segmentations.

    Args:
        file: the image, or a folder of DICOM slices.
        grid: grid of the segmentations.
        series: which DICOM series, from 1, if there are several.

    Raises:
        ValueError: the file cannot be read, its image is not 3D with one channel, or it lies on another grid.
    """
    scan = read_case_image(file, series=series, slices=grid.shape[0])
    if difference := grid_difference(scan.geometry, grid):
        raise ValueError(f"an image must have its segmentation's {difference}: {file}")
    return Volume(scan.values, grid)
