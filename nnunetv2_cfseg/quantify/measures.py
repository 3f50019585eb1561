"""Measures one class in one case."""

from __future__ import annotations

from dataclasses import dataclass
from math import nan

import numpy as np

from nnunetv2_cfseg.imaging.geometry import VolumeGeometry
from nnunetv2_cfseg.quantify.components import Component, Components, fewest_voxels, find_components
from nnunetv2_cfseg.quantify.diameters import axial_diameters, face_centres, largest_diameter
from nnunetv2_cfseg.quantify.midline import Midline, left_share, side

#: Centroids are in the same place if they agree to so many decimals of a mm.
DECIMALS = 4


@dataclass(frozen=True)
class Lesion:
    """One component of a class. Diameters and extents reach from outer face to outer face of voxels.

    Attributes:
        number: from 1, by decreasing volume; equal ones from top to bottom, then back to front, then left to right.
        voxels: number of voxels.
        volume_ml: their volume.
        extent_mm: left-right, anterior-posterior, head-foot.
        diameter_mm: the largest in 3D.
        axial_diameter_mm: the largest within an axial slice.
        perpendicular_diameter_mm: the longest across it in the same slice.
        diameter_slice: index of that slice.
        centroid_mm: x to the left, y to the back, z to the head.
        first_slice: the lower index of its outermost axial slices, from 0.
        last_slice: the higher one.
        first_slice_z_mm: height of the middle of the first slice.
        last_slice_z_mm: height of the middle of the last slice.
        left_ml: volume to the left of the midline.
        right_ml: volume to the right of it.
        side: left, right or both.
    """

    number: int
    voxels: int
    volume_ml: float
    extent_mm: tuple[float, float, float]
    diameter_mm: float
    axial_diameter_mm: float
    perpendicular_diameter_mm: float
    diameter_slice: int
    centroid_mm: tuple[float, float, float]
    first_slice: int
    last_slice: int
    first_slice_z_mm: float
    last_slice_z_mm: float
    left_ml: float
    right_ml: float
    side: str


@dataclass(frozen=True)
class ClassQuantities:
    """One class in a case. For an absent class, diameters are NaN and the side is empty.

    Attributes:
        voxels: of the class, including components that are too small for a lesion.
        volume_ml: their volume.
        lesions: by decreasing volume.
        left_ml: volume to the left of the midline.
        right_ml: volume to the right of it.
        side: of the class as a whole.
    """

    voxels: int
    volume_ml: float
    lesions: tuple[Lesion, ...]
    left_ml: float
    right_ml: float
    side: str

    @property
    def largest_lesion_ml(self) -> float:
        """Volume of the largest lesion; 0 without lesions."""
        return max((lesion.volume_ml for lesion in self.lesions), default=0.0)

    @property
    def largest_diameter_mm(self) -> float:
        """Largest 3D diameter of all lesions; NaN without lesions."""
        return max((lesion.diameter_mm for lesion in self.lesions), default=nan)

    @property
    def largest_axial_diameter_mm(self) -> float:
        """Largest axial diameter of all lesions; NaN without lesions."""
        return max((lesion.axial_diameter_mm for lesion in self.lesions), default=nan)


def measure_class(
    mask: np.ndarray, grid: VolumeGeometry, *, midline: Midline, smallest_ml: float = 0.0
) -> ClassQuantities:
    """Measure a class.

    Args:
        mask: (Z, Y, X) bool.
        grid: where its voxels lie.
        midline: the plane between the patient's left and right.
        smallest_ml: smaller components are no lesions; they count only for the class's volume and side.

    Raises:
        ValueError: the smallest volume is negative.
    """
    if not smallest_ml >= 0:
        raise ValueError(f"the smallest volume of a lesion must be >= 0 ml, got {smallest_ml:g} ml")
    components = find_components(mask)
    if components is None:
        return ClassQuantities(0, 0.0, (), 0.0, 0.0, "")
    left_ml = _left_ml(components, grid, midline)
    fewest = fewest_voxels(smallest_ml, grid.voxel_ml)
    kept = sorted(components.at_least(fewest), key=lambda component: _rank(component, grid))
    lesions = (
        _measure(component, grid, number=number, left_ml=float(left_ml[component.label]))
        for number, component in enumerate(kept, 1)
    )
    voxels = int(components.voxels[1:].sum())
    left, volume_ml = float(left_ml.sum()), voxels * grid.voxel_ml
    return ClassQuantities(voxels, volume_ml, tuple(lesions), left, volume_ml - left, side(left, volume_ml - left))


def _rank(component: Component, grid: VolumeGeometry) -> tuple[float, ...]:
    x, y, z = np.round(grid.position_mm(component.centroid), DECIMALS).tolist()
    return (-component.voxels, -z, -y, -x)


def _left_ml(components: Components, grid: VolumeGeometry, midline: Midline) -> np.ndarray:
    """(labels + 1,): the volume of each component to the left of the midline."""
    mask = components.labels > 0
    share = left_share(grid, midline, corner=components.corner, shape=mask.shape)[mask]
    return np.bincount(components.labels[mask], weights=share, minlength=len(components.voxels)) * grid.voxel_ml


def _measure(component: Component, grid: VolumeGeometry, *, number: int, left_ml: float) -> Lesion:
    volume_ml = component.voxels * grid.voxel_ml
    axial = axial_diameters(component.mask, grid.steps_mm, grid.slice_axis)
    first = int(component.corner[grid.slice_axis])
    last = first + component.mask.shape[grid.slice_axis] - 1
    return Lesion(
        number=number,
        voxels=component.voxels,
        volume_ml=volume_ml,
        extent_mm=_xyz(np.ptp(face_centres(component.mask) @ grid.steps_mm, axis=0)),
        diameter_mm=largest_diameter(component.mask, grid.steps_mm),
        axial_diameter_mm=axial.longest_mm,
        perpendicular_diameter_mm=axial.perpendicular_mm,
        diameter_slice=first + axial.slice_index,
        centroid_mm=_xyz(grid.position_mm(component.centroid)),
        first_slice=first,
        last_slice=last,
        first_slice_z_mm=grid.slice_z_mm(first),
        last_slice_z_mm=grid.slice_z_mm(last),
        left_ml=left_ml,
        right_ml=volume_ml - left_ml,
        side=side(left_ml, volume_ml - left_ml),
    )


def _xyz(values: np.ndarray) -> tuple[float, float, float]:
    x, y, z = values.tolist()
    return x, y, z
