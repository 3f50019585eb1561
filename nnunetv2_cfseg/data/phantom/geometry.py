"""Shapes as depths: fields in mm that are positive inside a shape, zero on its surface and negative outside.

All shapes of a phantom are sampled on one grid of a few mm and interpolated linearly in between. So surfaces stay
smooth, and their position does not depend on the voxels of the scan.

Axes are z, y, x in arrays; coordinates in mm run to the patient's left (x), back (y) and head (z).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from scipy import ndimage

Point = tuple[float, float, float]


@dataclass(frozen=True)
class Grid:
    """Regularly spaced points.

    Attributes:
        origin_mm: first point, in x, y, z.
        shape: points along z, y, x.
        step_mm: distance between neighbours, the same along each axis.
    """

    origin_mm: Point
    shape: tuple[int, int, int]
    step_mm: float

    def axis_mm(self, axis: str) -> np.ndarray:
        """Coordinates of the points in mm along "x", "y" or "z"."""
        number = "xyz".index(axis)
        return (self.origin_mm[number] + self.step_mm * np.arange(self.shape[2 - number])).astype(np.float32)

    def smooth_noise(self, rng: np.random.Generator, wavelength_mm: float) -> np.ndarray:
        """(Z, Y, X): a Gaussian random field of mean 0 and variance 1 that varies over about this wavelength."""
        if wavelength_mm < 2 * self.step_mm:
            raise ValueError(f"noise must vary over at least {2 * self.step_mm} mm here, got {wavelength_mm} mm")
        coarse_mm = wavelength_mm / 3
        size = [max(4, int(np.ceil(n * self.step_mm / coarse_mm)) + 4) for n in self.shape]
        white = rng.standard_normal(size).astype(np.float32)
        field = ndimage.gaussian_filter(white, 0.8, mode="wrap")
        field = (field - field.mean()) / field.std()
        positions = [1 + np.arange(n) * self.step_mm / coarse_mm for n in self.shape]
        return _interpolate(field, positions)

    def slope(self, field: np.ndarray) -> np.ndarray:
        """(Z, Y, X): length of a field's gradient, per mm."""
        z, y, x = np.gradient(field, self.step_mm)
        return np.sqrt(x * x + y * y + z * z)

    def depth(self, field: np.ndarray, *, smallest_slope: float = 1e-3) -> np.ndarray:
        """Turn any field that is positive inside into a depth in mm, to first order: field over slope."""
        return field / np.maximum(self.slope(field), smallest_slope)


def _interpolate(field: np.ndarray, positions: list[np.ndarray]) -> np.ndarray:
    """Cubic interpolation along one axis after the other: as smooth as all at once, and much faster."""
    for axis, where in enumerate(positions):
        matrix = cubic_matrix(field.shape[axis], where)
        field = np.moveaxis(np.tensordot(matrix, field, axes=(1, axis)), 0, axis)
    return np.ascontiguousarray(field, dtype=np.float32)


def cubic_matrix(size: int, positions: np.ndarray) -> np.ndarray:
    """(positions, size): weights of Catmull-Rom interpolation at fractional indices."""
    low = np.floor(positions).astype(int)
    t = (positions - low)[:, None]
    weights = 0.5 * np.concatenate(
        [-t + 2 * t**2 - t**3, 2 - 5 * t**2 + 3 * t**3, t + 4 * t**2 - 3 * t**3, -(t**2) + t**3], axis=1
    )
    matrix = np.zeros((len(positions), size), np.float32)
    for tap in range(4):
        np.add.at(matrix, (np.arange(len(positions)), np.clip(low + tap - 1, 0, size - 1)), weights[:, tap])
    return matrix


@dataclass(frozen=True)
class Pose:
    """How a head lies in the scanner: head = size * rotation @ (scanner - centre), all in mm.

    Attributes:
        centre_mm: of the head, in the scanner.
        rotation: (3, 3), from scanner to head.
        size: of the head along x, y, z, relative to the mean head.
    """

    centre_mm: Point
    rotation: np.ndarray
    size: Point

    @property
    def to_head(self) -> np.ndarray:
        """(3, 3): maps a difference vector in the scanner to one in the head."""
        return self.rotation / np.asarray(self.size)[:, None]

    def scanner(self, point: Point) -> np.ndarray:
        """The scanner coordinates of a point of the head, in mm."""
        return np.linalg.solve(self.to_head, np.asarray(point)) + np.asarray(self.centre_mm)


@dataclass(frozen=True)
class Space:
    """A part of the grid, and where each of its points lies in the head.

    Attributes:
        grid: of the whole head.
        pose: of the head.
        x, y, z: (Z, Y, X) coordinates in the head, mm, of the part's points.
        part: the part's slices in the grid.
        margin_mm: how far a point may lie from where the pose alone would put it.
    """

    grid: Grid
    pose: Pose
    x: np.ndarray
    y: np.ndarray
    z: np.ndarray
    part: tuple[slice, slice, slice]
    margin_mm: float

    @cached_property
    def folded(self) -> Space:
        """The space with |x| for x: what is built at x > 0 here appears on both sides of the head."""
        return replace(self, x=np.abs(self.x))

    def pair(self, *points: Point, radius_mm: float) -> Space:
        """The part that holds balls around these points and their mirror images, folded."""
        mirrored = [(-x, y, z) for x, y, z in points]
        return self.around(*points, *mirrored, radius_mm=radius_mm).folded

    def around(self, *points: Point, radius_mm: float) -> Space:
        """The part that holds balls around these points of the head."""
        corners = np.array([self.pose.scanner(point) for point in points])
        reach = radius_mm * max(self.pose.size) + self.margin_mm
        low, high = corners.min(axis=0) - reach, corners.max(axis=0) + reach
        slices = []
        for number in (2, 1, 0):
            first = int(np.floor((low[number] - self.grid.origin_mm[number]) / self.grid.step_mm))
            last = int(np.ceil((high[number] - self.grid.origin_mm[number]) / self.grid.step_mm)) + 1
            size = self.grid.shape[2 - number]
            first, last = np.clip([first, last], 0, size)
            slices.append(slice(int(min(first, size - 2)), int(max(last, min(first, size - 2) + 2))))
        part = (slices[0], slices[1], slices[2])
        return Space(self.grid, self.pose, self.x[part], self.y[part], self.z[part], part, self.margin_mm)


def ellipsoid(space: Space, centre: Point, radii: Point) -> np.ndarray:
    """Depth in an ellipsoid with these half axes, to first order."""
    p = [(axis - c) / r for axis, c, r in zip((space.x, space.y, space.z), centre, radii, strict=True)]
    distance = np.sqrt(p[0] ** 2 + p[1] ** 2 + p[2] ** 2) + 1e-6
    slope = np.sqrt(sum((axis / r) ** 2 for axis, r in zip(p, radii, strict=True))) + 1e-6 / min(radii)
    return np.minimum((1 - distance) * distance / slope, min(radii)).astype(np.float32)


def tube(space: Space, points: Sequence[Point], radii: Sequence[float]) -> np.ndarray:
    """Depth in a chain of straight tubes through these points, with linearly changing radii in between."""
    depth = np.full(space.x.shape, -np.inf, np.float32)
    for start, end, r0, r1 in zip(points, points[1:], radii, radii[1:], strict=False):
        along = np.subtract(end, start)
        length2 = float(along @ along)
        dx, dy, dz = space.x - start[0], space.y - start[1], space.z - start[2]
        t = np.clip((dx * along[0] + dy * along[1] + dz * along[2]) / length2, 0, 1)
        distance = np.sqrt((dx - t * along[0]) ** 2 + (dy - t * along[1]) ** 2 + (dz - t * along[2]) ** 2)
        np.maximum(depth, r0 + (r1 - r0) * t - distance, out=depth)
    return depth


def blend(a: np.ndarray, b: np.ndarray, radius_mm: float) -> np.ndarray:
    """Union of two shapes, with the seam filled over this radius."""
    overlap = np.maximum(radius_mm - np.abs(a - b), 0) / radius_mm
    return np.maximum(a, b) + overlap**2 * radius_mm / 4


def carve(a: np.ndarray, b: np.ndarray, radius_mm: float) -> np.ndarray:
    """Intersection of two shapes, with the edge rounded over this radius."""
    return -blend(-a, -b, radius_mm)


def step(field: np.ndarray, width: float) -> np.ndarray:
    """A smooth step: 0 far below zero, 1 far above, rising over about four widths."""
    return 0.5 + 0.5 * np.tanh(field / (2 * width))


def bump(*offsets: tuple[np.ndarray, float | np.ndarray]) -> np.ndarray:
    """A Gaussian bump that is 1 where all offsets are 0; each offset comes with its width."""
    return np.exp(-0.5 * sum((offset / width) ** 2 for offset, width in offsets))
