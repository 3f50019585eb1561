"""Where the voxels of an image lie in the patient."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from nnunetv2_cfseg.data import checks

#: Deviation of the cosine of two axes from 0; files round direction cosines to some digits.
SHEAR_TOLERANCE = 5e-4
#: NIfTI codes of an sform that is the scanner's; others map to an atlas.
SCANNER_CODES = ("1", "2")
PATIENT_AXES = ("from right to left", "from front to back", "from feet to head")

Triple = tuple[float, float, float]


@dataclass(frozen=True)
class Grid:
    """The voxels of an image with axes z, y, x.

    Attributes:
        shape: along z, y, x.
        spacing_mm: along z, y, x.
        origin_mm: centre of the first voxel, in the patient's x, y, z.
        direction: SimpleITK's nine numbers.
    """

    shape: tuple[int, int, int]
    spacing_mm: Triple
    origin_mm: Triple
    direction: tuple[float, ...]

    @property
    def steps_mm(self) -> np.ndarray:
        """(3, 3): column a leads from a voxel to the next along the array's axis a, in the patient's x, y, z."""
        return np.reshape(self.direction, (3, 3))[:, ::-1] * self.spacing_mm

    @property
    def ascends(self) -> bool:
        """Whether the last slice is nearest to the head."""
        return self.direction[8] > 0

    def position_mm(self, index: Collection[float]) -> np.ndarray:
        """The patient's x, y, z at an index along z, y, x; indices may lie between voxels and outside."""
        return np.asarray(self.origin_mm) + self.steps_mm @ np.asarray(index, float)

    def flipped(self, axes: Collection[int]) -> Grid:
        """The grid of an array that is flipped along some of its axes: every voxel keeps its place."""
        last = [self.shape[axis] - 1 if axis in axes else 0 for axis in range(3)]
        signs = [-1 if 2 - column in axes else 1 for column in range(3)]
        direction = np.reshape(self.direction, (3, 3)) * signs
        return replace(self, origin_mm=_triple(self.position_mm(last)), direction=tuple(direction.ravel().tolist()))

    def with_slices(self, edge: float, spacing_mm: float, count: int) -> Grid:
        """Other slices along z.

        Args:
            edge: of the first one, counted in slices of this grid from its first edge.
            spacing_mm: of the new slices.
            count: of the new slices.
        """
        z, y, x = self.spacing_mm
        center = edge - 0.5 + spacing_mm / z / 2
        return replace(
            self,
            shape=(count, *self.shape[1:]),
            spacing_mm=(spacing_mm, y, x),
            origin_mm=_triple(self.position_mm((center, 0, 0))),
        )

    def place(self, values: np.ndarray) -> sitk.Image:
        """An image of these values (z, y, x)."""
        image = sitk.GetImageFromArray(values)
        image.SetSpacing(self.spacing_mm[::-1])
        image.SetOrigin(self.origin_mm)
        image.SetDirection(self.direction)
        return image


def read_grid(file: Path) -> Grid:
    """The grid of a file, by its header alone.

    Raises:
        ValueError: it cannot be read, is no volume, its axes are not at right angles (a tilted gantry), or its slices
            do not follow one another along the patient.
    """
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(file))
    try:
        reader.ReadImageInformation()
    except RuntimeError as error:
        if "orthonormal" in str(error):
            raise ValueError(_sheared("are not", file)) from error
        raise ValueError(f"the image cannot be read, it is missing or of an unknown format: {file}") from error
    size = reader.GetSize()
    if len(size) != 3 or reader.GetNumberOfComponents() != 1:
        raise ValueError(
            f"an image must be one volume of numbers, got size {size} of {reader.GetNumberOfComponents()}: {file}"
        )
    direction = reader.GetDirection()
    _check_right_angles(np.reshape(direction, (3, 3)), file)
    if _is_scanner_sform(reader):
        rows = [[float(number) for number in reader.GetMetaData(f"srow_{axis}").split()[:3]] for axis in "xyz"]
        _check_right_angles(np.array(rows), file)
    check_slice_axis(direction, file)
    return grid_of(reader)


def grid_of(image: sitk.Image | sitk.ImageFileReader) -> Grid:
    """The grid of an image, or of the header that was read."""
    (width, height, depth), (x, y, z) = image.GetSize(), image.GetSpacing()
    return Grid((depth, height, width), (z, y, x), _triple(image.GetOrigin()), tuple(image.GetDirection()))


def read_values(file: Path) -> np.ndarray:
    """The voxels (z, y, x) of a file that is whole.

    Raises:
        ValueError: it cannot be read.
    """
    return sitk.GetArrayFromImage(checks.read_image(str(file)))


def _is_scanner_sform(reader: sitk.ImageFileReader) -> bool:
    """SimpleITK falls back to a NIfTI's qform, which cannot say that it is sheared, where the sform does."""
    return reader.HasMetaDataKey("srow_x") and reader.GetMetaData("sform_code") in SCANNER_CODES


def _check_right_angles(axes: np.ndarray, file: Path) -> None:
    unit = axes / np.linalg.norm(axes, axis=0)
    cosine = float(np.abs(unit.T @ unit - np.eye(3)).max())
    if not cosine <= SHEAR_TOLERANCE:
        raise ValueError(_sheared(f"are off by {np.degrees(np.arcsin(min(cosine, 1))):.2g} degrees", file))


def _sheared(how: str, file: Path) -> str:
    return (
        f"the axes of an image must be at right angles, and {how}, as with a tilted gantry that was not corrected "
        f"for: {file}"
    )


def check_slice_axis(direction: Collection[float], file: Path) -> None:
    """Refuse slices that do not follow one another along the patient.

    Args:
        direction: SimpleITK's nine numbers.
        file: to name.

    Raises:
        ValueError: they run another way.
    """
    axis = int(np.abs(np.reshape(list(direction), (3, 3))[:, 2]).argmax())
    if axis != 2:
        raise ValueError(
            f"slices must follow one another {PATIENT_AXES[2]}, as CT is scanned, and run {PATIENT_AXES[axis]} along "
            f"the file's third axis: {file}"
        )


def _triple(numbers: Collection[float] | np.ndarray) -> Triple:
    x, y, z = (float(number) for number in numbers)
    return x, y, z
