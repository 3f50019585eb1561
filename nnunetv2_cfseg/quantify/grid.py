"""Where the voxels of a segmentation lie in the patient."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from math import prod

import numpy as np

from nnunetv2_cfseg.imaging.geometry import VolumeGeometry
from nnunetv2_cfseg.imaging.segmentations import Segmentation


@dataclass(frozen=True)
class Grid:
    """Voxels in patient coordinates: x to the patient's left, y to the back, z to the head (LPS), mm.

    Indices are (z, y, x) as in arrays, points (x, y, z) as in SimpleITK. Nothing depends on the order or the sense in
    which a file stores its axes, except indices themselves.

    Attributes:
        shape: (z, y, x).
        spacing_mm: z, y, x.
        origin: x, y, z: the centre of the first voxel.
        direction: 3 x 3 direction cosines, row by row, as SimpleITK gives them.
    """

    shape: tuple[int, int, int]
    spacing_mm: tuple[float, float, float]
    origin: tuple[float, ...]
    direction: tuple[float, ...]

    @classmethod
    def of(cls, segmentation: Segmentation) -> Grid:
        """The grid of a segmentation."""
        z, y, x = segmentation.values.shape
        return cls((z, y, x), segmentation.spacing_mm, segmentation.origin, segmentation.direction)

    @property
    def geometry(self) -> VolumeGeometry:
        """The same, as images are read and compared."""
        right, back, up = self.origin
        return VolumeGeometry(self.shape, self.spacing_mm, (right, back, up), self.direction)

    @cached_property
    def steps_mm(self) -> np.ndarray:
        """(3, 3): row a is the way (x, y, z) from a voxel to its next one along the array's axis a."""
        columns = np.reshape(self.direction, (3, 3)).T[::-1]
        return columns * np.reshape(self.spacing_mm, (3, 1))

    @property
    def voxel_ml(self) -> float:
        """Volume of a voxel."""
        return prod(self.spacing_mm) / 1000

    @cached_property
    def slice_axis(self) -> int:
        """The array's axis that is closest to head-foot: axial slices are those across it."""
        return int(np.argmax(np.abs(np.reshape(self.direction, (3, 3))[2][::-1])))

    @property
    def centre_mm(self) -> np.ndarray:
        """(3,): x, y, z of the middle of the volume."""
        return self.to_patient((np.array([self.shape]) - 1) / 2)[0]

    def to_patient(self, indices: np.ndarray) -> np.ndarray:
        """Points (n, 3) in mm of indices (n, 3), which may lie between voxels."""
        return np.asarray(indices, np.float64) @ self.steps_mm + np.asarray(self.origin)

    def slice_z_mm(self, index: int) -> float:
        """Height of the middle of an axial slice."""
        middle = (np.array([self.shape]) - 1) / 2
        middle[0, self.slice_axis] = index
        return float(self.to_patient(middle)[0, 2])
