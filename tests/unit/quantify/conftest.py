"""Segmentations small enough to measure by hand, and the same anatomy stored in other ways."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from scipy.spatial.transform import Rotation

from nnunetv2_cfseg.imaging.geometry import VolumeGeometry

SPACING_MM = (3.0, 2.0, 1.0)
ORIGIN = (-12.5, 30.0, 101.25)
STRAIGHT = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)


@pytest.fixture(scope="session")
def make_grid() -> Callable[..., VolumeGeometry]:
    """A function of a shape, and of what shall not be as in ``SPACING_MM``, ``ORIGIN`` and ``STRAIGHT``."""

    def make(
        shape: tuple[int, ...],
        spacing_mm: tuple[float, ...] = SPACING_MM,
        *,
        origin: tuple[float, ...] = ORIGIN,
        direction: tuple[float, ...] = STRAIGHT,
    ) -> VolumeGeometry:
        z, y, x = spacing_mm
        return VolumeGeometry((shape[0], shape[1], shape[2]), (z, y, x), origin, direction)

    return make


@pytest.fixture(scope="session")
def make_image() -> Callable[..., sitk.Image]:
    """A function of an array and, if they are not the usual ones, spacing, origin and rotation in degrees."""

    def make(
        values: np.ndarray,
        spacing_mm: tuple[float, ...] = SPACING_MM,
        *,
        origin: tuple[float, ...] = ORIGIN,
        degrees: tuple[float, ...] = (0.0, 0.0, 0.0),
    ) -> sitk.Image:
        image = sitk.GetImageFromArray(values)
        image.SetSpacing(spacing_mm[::-1])
        image.SetOrigin(origin)
        image.SetDirection(Rotation.from_euler("xyz", degrees, degrees=True).as_matrix().ravel().tolist())
        return image

    return make


@pytest.fixture(scope="session")
def of_image() -> Callable[[sitk.Image], tuple[np.ndarray, VolumeGeometry]]:
    """A function of an image: its mask and grid."""

    def split(image: sitk.Image) -> tuple[np.ndarray, VolumeGeometry]:
        mask = sitk.GetArrayFromImage(image).astype(bool)
        z, y, x = image.GetSpacing()[::-1]
        depth, height, width = mask.shape
        return mask, VolumeGeometry((depth, height, width), (z, y, x), image.GetOrigin(), image.GetDirection())

    return split


@pytest.fixture
def write_predictions(tmp_path: Path, make_image: Callable[..., sitk.Image]) -> Callable[..., Path]:
    """A function of label maps by case that writes them and ``dataset.json`` as ``nnUNetv2_predict`` does."""

    def write(cases: dict[str, np.ndarray], *, folder: str = "predictions", labels: dict | None = None) -> Path:
        into = tmp_path / folder
        into.mkdir()
        for case, values in cases.items():
            sitk.WriteImage(make_image(values), str(into / f"{case}.nii.gz"))
        content = {"labels": labels or {"background": 0, "edh": 1, "sdh": 2}, "file_ending": ".nii.gz"}
        (into / "dataset.json").write_text(json.dumps(content))
        return into

    return write
