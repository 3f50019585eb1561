"""Aligns the voxels of an annotation with those of a scan, by physical coordinates."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from nnunetv2_cfseg.imaging.geometry import Triple, VolumeGeometry

#: Edges are the same if they are at most so many scan voxels apart.
TOLERANCE = 0.05


@dataclass(frozen=True)
class Placement:
    """Where the voxels of an annotation lie in a scan, along the scan's axes z, y, x.

    Attributes:
        flips: axes of the annotation that run the other way; the other attributes describe it after flipping them.
        shape: of the annotation.
        ratio: scan voxels in one voxel of the annotation.
        first: index in the scan of the centre of the annotation's first voxel.
        scan_shape: of the scan.
    """

    flips: tuple[int, ...]
    shape: tuple[int, int, int]
    ratio: Triple
    first: Triple
    scan_shape: tuple[int, int, int]

    def edges(self, axis: int = 0) -> np.ndarray:
        """(n + 1,) edges of the annotation's n voxels, counted in scan voxels from the scan's first edge."""
        return self.first[axis] + 0.5 + self.ratio[axis] * (np.arange(self.shape[axis] + 1) - 0.5)

    def every(self, step: int, phase: int) -> Placement:
        """The placement of only every ``step``-th slice from ``phase`` on, each as thick as their distance."""
        z, y, x = self.first
        return replace(
            self,
            shape=(len(range(phase, self.shape[0], step)), *self.shape[1:]),
            ratio=(self.ratio[0] * step, *self.ratio[1:]),
            first=(z + phase * self.ratio[0], y, x),
        )

    def is_same(self, axis: int) -> bool:
        """Whether annotation and scan have the same voxels along an axis."""
        return self.shape[axis] == self.scan_shape[axis] and bool(
            np.abs(self.edges(axis) - np.arange(self.shape[axis] + 1)).max() <= TOLERANCE
        )

    def outside(self, axis: int) -> np.ndarray:
        """(n,) how far each of the annotation's voxels reaches beyond the scan; 0 for those that overlap the scan."""
        lower, upper, end = self.edges(axis)[:-1], self.edges(axis)[1:], self.scan_shape[axis]
        gap = np.maximum(-upper, lower - end)
        return np.where(gap >= -TOLERANCE, np.maximum(-lower, upper - end), 0.0)

    def nearest(self, axis: int) -> np.ndarray:
        """For each voxel of the scan, the index of the annotation's voxel that it lies in or next to."""
        within = (np.arange(self.scan_shape[axis]) - self.first[axis]) / self.ratio[axis]
        return np.clip(np.floor(within + 0.5).astype(int), 0, self.shape[axis] - 1)

    def uncovered(self, axis: int) -> float:
        """The most scan voxels beyond either edge of the annotation; 0 or more."""
        edges = self.edges(axis)
        return float(max(edges[0], self.scan_shape[axis] - edges[-1], 0))


def locate(annotation: VolumeGeometry, scan: VolumeGeometry, *, file: Path) -> Placement:
    """Find where an annotation lies on a scan.

    Args:
        file: of the annotation, for the message.

    Raises:
        ValueError: the axes of the two are not parallel.
    """
    to_scan = np.linalg.inv(scan.steps_mm)
    steps = annotation.steps_mm @ to_scan
    ratio = np.diag(steps)
    drift = (np.array(annotation.shape) - 1) @ np.abs(steps - np.diag(ratio))
    if drift.max() > TOLERANCE or not ratio.all():
        raise ValueError(
            f"the slices of a scan and of its annotation must be parallel, and are turned by "
            f"{_angle_degrees(annotation, scan):.2g} degrees: {file}"
        )
    flips = tuple(int(axis) for axis in np.flatnonzero(ratio < 0))
    origin = np.array(annotation.flipped(flips).origin_mm)
    z, y, x = ((origin - scan.origin_mm) @ to_scan).tolist()
    dz, dy, dx = np.abs(ratio).tolist()
    return Placement(flips, annotation.shape, (dz, dy, dx), (z, y, x), scan.shape)


def onto_plane(values: np.ndarray, placement: Placement) -> np.ndarray:
    """Resample an annotation (z, y, x), flipped already, to the scan's nearest pixels; slices stay as they are."""
    for axis in (1, 2):
        if not placement.is_same(axis):
            values = values.take(placement.nearest(axis), axis)
    return values


def _angle_degrees(first: VolumeGeometry, second: VolumeGeometry) -> float:
    axes = [np.reshape(grid.direction, (3, 3)) for grid in (first, second)]
    cosines = np.abs((axes[0] * axes[1]).sum(axis=0))
    return float(np.degrees(np.arccos(np.clip(cosines, 0, 1))).max())
