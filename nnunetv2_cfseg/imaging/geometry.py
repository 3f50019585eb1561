"""Where the voxels of an image lie in the patient."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from itertools import product
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from nnunetv2_cfseg.imaging.orientation import order_of, turn

if TYPE_CHECKING:
    import SimpleITK as sitk

Triple = tuple[float, float, float]
#: Direction cosines of axes that run to the patient's left, back and head.
STRAIGHT = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)
#: How far apart, in voxels, the corners of two equal grids may lie. Files round a grid's numbers, in DICOM to 16
#: characters and in NIfTI to float32, which moves a corner by about a thousandth of a voxel; a twentieth is another
#: grid.
TOLERANCE_VOXELS = 0.05


@dataclass(frozen=True)
class VolumeGeometry:
    """The voxels of an image with axes z, y, x.

    Indices are (z, y, x) as in arrays, points (x, y, z) as in SimpleITK: to the patient's left, back and head (LPS).
    Only indices depend on the order and direction in which a file stores its axes.

    Attributes:
        shape: along z, y, x.
        spacing_mm: along z, y, x.
        origin_mm: centre of the first voxel, in the patient's x, y, z (to the left, to the back, to the head).
        direction: 3 x 3 direction cosines, row by row, as SimpleITK gives them.
    """

    shape: tuple[int, int, int]
    spacing_mm: Triple
    origin_mm: Triple
    direction: tuple[float, ...]

    @property
    def steps_mm(self) -> np.ndarray:
        """(3, 3): row a leads from a voxel to the next along the array's axis a, in the patient's x, y, z."""
        return np.reshape(self.direction, (3, 3)).T[::-1] * np.reshape(self.spacing_mm, (3, 1))

    @property
    def order(self) -> str:
        """Which way the file's axes x, y, z run, such as ``LPS``; the nearest order for an oblique image."""
        return order_of(self.direction)

    @property
    def ascends(self) -> bool:
        """Whether the last slice is nearest to the head."""
        return self.direction[8] > 0

    @property
    def voxel_ml(self) -> float:
        """Volume of a voxel in ml."""
        return prod(self.spacing_mm) / 1000

    @property
    def slice_axis(self) -> int:
        """The array's axis that is closest to head-foot; axial slices lie across it."""
        return int(np.abs(np.reshape(self.direction, (3, 3))[2][::-1]).argmax())

    @property
    def centre_mm(self) -> np.ndarray:
        """(3,): the patient's x, y, z in the middle of the volume."""
        return self.position_mm((np.array(self.shape) - 1) / 2)

    def position_mm(self, index: ArrayLike) -> np.ndarray:
        """Points (..., 3) x, y, z in the patient.

        Args:
            index: (..., 3) along z, y, x; may lie between voxels or outside.
        """
        return np.asarray(self.origin_mm) + np.asarray(index, float) @ self.steps_mm

    def slice_z_mm(self, index: int) -> float:
        """Height in mm (the patient's z) of the middle of an axial slice."""
        middle = (np.array(self.shape) - 1) / 2
        middle[self.slice_axis] = index
        return float(self.position_mm(middle)[2])

    def flipped(self, axes: Collection[int]) -> VolumeGeometry:
        """The grid of an array that is flipped along some of its axes: every voxel keeps its place."""
        last = [self.shape[axis] - 1 if axis in axes else 0 for axis in range(3)]
        signs = [-1 if 2 - column in axes else 1 for column in range(3)]
        direction = np.reshape(self.direction, (3, 3)) * signs
        return replace(self, origin_mm=_triple(self.position_mm(last)), direction=tuple(direction.ravel().tolist()))

    def transposed(self, axes: Sequence[int]) -> VolumeGeometry:
        """The grid of an array after numpy's ``transpose`` with these axes."""
        columns = np.reshape(self.direction, (3, 3))[:, ::-1][:, list(axes)][:, ::-1]
        z, y, x = (self.shape[axis] for axis in axes)
        return replace(
            self,
            shape=(z, y, x),
            spacing_mm=_triple([self.spacing_mm[axis] for axis in axes]),
            direction=tuple(columns.ravel().tolist()),
        )

    def turned(self, order: str) -> VolumeGeometry:
        """The grid of an array that is turned to another storage order: every voxel keeps its place."""
        change = turn(self.order, to=order)
        return self.transposed(change.axes).flipped(change.flips)

    def with_slices(self, edge: float, spacing_mm: float, count: int) -> VolumeGeometry:
        """Other slices along z.

        Args:
            edge: start of the first new slice, in slices of this grid from its first edge.
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

    def image_of(self, values: np.ndarray) -> sitk.Image:
        """A SimpleITK image of these values (Z, Y, X) on this grid."""
        import SimpleITK as sitk

        image = sitk.GetImageFromArray(values)
        image.SetSpacing(self.spacing_mm[::-1])
        image.SetOrigin(self.origin_mm)
        image.SetDirection(self.direction)
        return image


@dataclass(frozen=True)
class Volume:
    """An image: voxels, and where they lie.

    Attributes:
        values: (Z, Y, X).
        geometry: of the same shape.
    """

    values: np.ndarray
    geometry: VolumeGeometry

    def turned(self, order: str) -> Volume:
        """The same voxels in the same places, stored in another order; values are a view."""
        return Volume(turn(self.geometry.order, to=order).apply(self.values), self.geometry.turned(order))

    def to_sitk(self) -> sitk.Image:
        """The volume as a SimpleITK image."""
        return self.geometry.image_of(self.values)


def geometry_of(image: Any) -> VolumeGeometry:
    """The grid of a SimpleITK image with three axes, or of the header that a SimpleITK reader has read."""
    (width, height, depth), (x, y, z) = image.GetSize(), image.GetSpacing()
    return VolumeGeometry((depth, height, width), (z, y, x), _triple(image.GetOrigin()), tuple(image.GetDirection()))


def grid_difference(found: VolumeGeometry, expected: VolumeGeometry) -> str | None:
    """How two grids differ, as the end of a message "must have its image's ..."; None if they are the same grid.

    They are the same if they have the same shape and all corners lie within :data:`TOLERANCE_VOXELS`. This is the only
    comparison of grids in the package.
    """
    if found.shape != expected.shape:
        return f"size {_numbers(expected.shape)} (z, y, x), got {_numbers(found.shape)}"
    if corner_distance(found, expected) <= TOLERANCE_VOXELS:
        return None
    if found.order != expected.order:
        return f"storage order {expected.order}, got {found.order}"
    last = np.array(expected.shape) - 1
    stretched = np.abs(np.divide(found.spacing_mm, expected.spacing_mm) - 1) * np.maximum(last, 1)
    if stretched.max() > TOLERANCE_VOXELS:
        return f"spacing {_numbers(expected.spacing_mm)} mm (z, y, x), got {_numbers(found.spacing_mm)}"
    turned = np.abs(np.subtract(found.direction, expected.direction)).max() * max(last.max(), 1)
    if turned > TOLERANCE_VOXELS:
        return f"direction {_numbers(expected.direction)}, got {_numbers(found.direction)}"
    return f"origin {_numbers(expected.origin_mm)} mm (x, y, z), got {_numbers(found.origin_mm)}"


def corner_distance(found: VolumeGeometry, expected: VolumeGeometry) -> float:
    """The largest distance between corners of two grids of the same shape, in voxels of the second one."""
    to_voxels = np.linalg.inv(expected.steps_mm)
    corners = list(product(*((0, size - 1) for size in expected.shape)))
    apart = (found.position_mm(corners) - expected.position_mm(corners)) @ to_voxels
    return float(np.abs(apart).max())


def _triple(numbers: Collection[float] | np.ndarray) -> Triple:
    x, y, z = (float(number) for number in numbers)
    return x, y, z


def _numbers(values: Sequence[float]) -> str:
    return "(" + ", ".join(f"{value:.6g}" for value in values) + ")"
