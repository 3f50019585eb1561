"""Renders a scene to voxels: each is the mean of samples inside it.

A sample's tissue is determined at a point in mm, so that scans with other voxels show the same head: thick slices that
are rendered directly equal the average of the thin ones.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from nnunetv2_cfseg.data.phantom.geometry import Grid
from nnunetv2_cfseg.data.phantom.scene import Layer, Scene

#: Largest label of a scene's lesions.
NUM_LABELS = 5


@dataclass(frozen=True)
class Voxels:
    """The voxels of a scan, centred on the scanner's origin.

    Attributes:
        shape: along z, y, x.
        spacing_mm: along z, y, x.
        samples: in each voxel, along z, y, x.
    """

    shape: tuple[int, int, int]
    spacing_mm: tuple[float, float, float]
    samples: tuple[int, int, int]

    def centres_mm(self, axis: int) -> np.ndarray:
        """Centres of the voxels in mm along axis 0, 1 or 2 (z, y, x)."""
        return (np.arange(self.shape[axis]) - (self.shape[axis] - 1) / 2) * self.spacing_mm[axis]

    def samples_mm(self, axis: int) -> np.ndarray:
        """Positions of the samples in mm along an axis, in order: the centres of equal parts of a voxel."""
        n = self.samples[axis]
        offsets = ((np.arange(n) + 0.5) / n - 0.5) * self.spacing_mm[axis]
        return (self.centres_mm(axis)[:, None] + offsets).ravel()


@dataclass(frozen=True)
class Rendered:
    """What a perfect scanner sees.

    Attributes:
        hu: (Z, Y, X) float32.
        share: (Z, Y, X) for each label that occurs: the fraction of a voxel's samples that lie in the lesion.
        empty: (Z, Y, X) the fraction of a voxel's samples on which nothing was painted.
    """

    hu: np.ndarray
    share: dict[int, np.ndarray]
    empty: np.ndarray

    @property
    def labels(self) -> np.ndarray:
        """(Z, Y, X) uint8: the label that fills most of a voxel if at least half of the voxel is lesion, else 0."""
        labels = np.zeros(self.hu.shape, np.uint8)
        total, largest = np.zeros(self.hu.shape, np.float32), np.zeros(self.hu.shape, np.float32)
        for label, share in self.share.items():
            labels[share > largest] = label
            np.maximum(largest, share, out=largest)
            total += share
        labels[total < 0.5] = 0
        return labels


def render(scene: Scene, voxels: Voxels) -> Rendered:
    """Compute the mean HU and the fraction of each lesion in every voxel."""
    return _Renderer(scene, voxels).run()


class _Renderer:
    def __init__(self, scene: Scene, voxels: Voxels) -> None:
        self.scene, self.voxels = scene, voxels
        self.z, self.y, self.x = (_linear_taps(scene.grid, axis, voxels.samples_mm(axis)) for axis in range(3))
        self.y_weights, self.x_weights = self.y.matrix(), self.x.matrix()
        materials = list(scene.materials.values())
        self.hu = np.array([m.hu for m in materials], np.float32)
        self.fine = np.array([m.fine_hu for m in materials], np.float32)
        self.coarse = np.array([m.coarse_hu for m in materials], np.float32)
        self.label = np.array([m.label for m in materials], np.uint8)
        self.textured = (self.fine > 0) | (self.coarse > 0) | (self.label > 0)

    def run(self) -> Rendered:
        shape, samples = self.voxels.shape, self.voxels.samples
        hu = np.full(shape, self.hu[0], np.float32)
        share = {int(label): np.zeros(shape, np.float32) for label in np.unique(self.label[self.label > 0])}
        empty = np.ones(shape, np.float32)
        scale = 1 / float(np.prod(samples))
        for plane in map(int, np.flatnonzero(self.z.inside)):
            z = plane // samples[0]
            material, textured = self._materials(plane)
            empty[z] -= scale * _pool((material > 0).astype(np.float32), samples[1:])
            hu[z] += scale * _pool(self._values(plane, material, textured) - self.hu[0], samples[1:])
            lesion = self.label[material[textured]]
            if not lesion.any():
                continue
            for label, volume in share.items():
                if (lesion == label).any():
                    mask = np.zeros(material.shape, np.float32)
                    mask[textured] = lesion == label
                    volume[z] += scale * _pool(mask, samples[1:])
        return Rendered(hu, {label: volume for label, volume in share.items() if volume.any()}, empty)

    def _materials(self, plane: int) -> tuple[np.ndarray, tuple[slice, slice]]:
        """(Y samples, X samples) uint8: each sample's material; and the box around all textured materials."""
        material = np.zeros((len(self.y.low), len(self.x.low)), np.uint8)
        boxes = []
        for layer in self.scene.layers:
            depth = self._at(layer, layer.depth, plane)
            if depth is None:
                continue
            inside = depth > 0
            in_rows, in_columns = np.flatnonzero(inside.any(axis=1)), np.flatnonzero(inside.any(axis=0))
            if not len(in_rows):
                continue
            kept = _around(in_rows, depth.shape[0]), _around(in_columns, depth.shape[1])
            part = _within(layer.part[1], kept[0]), _within(layer.part[2], kept[1])
            box = self.y.range(part[0]), self.x.range(part[1])
            where = self._spread(depth[kept], part, box)
            sheet = None if layer.sheet is None else self._at(layer, layer.sheet, plane)
            if sheet is not None:
                where -= np.abs(self._spread(sheet[kept], part, box))
            np.copyto(material[box], np.uint8(layer.material), where=where > 0)
            if self.textured[layer.material]:
                boxes.append(box)
        return material, _union(boxes)

    def _values(self, plane: int, material: np.ndarray, textured: tuple[slice, slice]) -> np.ndarray:
        """(Y samples, X samples) float32 HU, with the tissues' texture."""
        y, x = self.y_weights[textured[0]], self.x_weights[textured[1]]
        values = self.hu[material]
        inside = material[textured]
        for weight, texture in ((self.fine, self.scene.fine), (self.coarse, self.scene.coarse)):
            values[textured] += weight[inside] * (y @ self.z.between(texture, plane) @ x.T)
        return values

    def _at(self, layer: Layer, field: np.ndarray, plane: int) -> np.ndarray | None:
        """The layer's field at the height of a plane of samples; None if the plane is above or below the layer."""
        low = self.z.low[plane] - layer.part[0].start
        if not 0 <= low < len(field) - 1:
            return None
        t = self.z.weight[plane]
        return (1 - t) * field[low] + t * field[low + 1]

    def _spread(self, field: np.ndarray, part: tuple[slice, slice], box: tuple[slice, slice]) -> np.ndarray:
        """A field on a part of the grid, interpolated to all samples of a box."""
        return self.y_weights[box[0], part[0]] @ field @ self.x_weights[box[1], part[1]].T


def _around(indices: np.ndarray, size: int) -> slice:
    """From one before the first index to one after the last, because the surface lies in between."""
    return slice(max(0, int(indices[0]) - 1), min(size, int(indices[-1]) + 2))


def _within(whole: slice, kept: slice) -> slice:
    return slice(whole.start + kept.start, whole.start + kept.stop)


def _union(boxes: list[tuple[slice, slice]]) -> tuple[slice, slice]:
    if not boxes:
        return slice(0, 0), slice(0, 0)
    return (
        slice(min(rows.start for rows, _ in boxes), max(rows.stop for rows, _ in boxes)),
        slice(min(columns.start for _, columns in boxes), max(columns.stop for _, columns in boxes)),
    )


@dataclass(frozen=True)
class _Taps:
    """Linear interpolation from a grid's points to samples along one axis.

    Attributes:
        low: (samples,) index of the point before a sample.
        weight: (samples,) weight of the point behind it.
        inside: (samples,) whether both points exist.
        size: number of points.
    """

    low: np.ndarray
    weight: np.ndarray
    inside: np.ndarray
    size: int

    def matrix(self) -> np.ndarray:
        """(samples, points) weights, zero for samples outside the grid."""
        matrix = np.zeros((len(self.low), self.size), np.float32)
        rows = np.flatnonzero(self.inside)
        matrix[rows, self.low[rows]] = 1 - self.weight[rows]
        matrix[rows, self.low[rows] + 1] = self.weight[rows]
        return matrix

    def between(self, field: np.ndarray, sample: int) -> np.ndarray:
        """The field, whose first axis is this one, at a sample."""
        low, t = self.low[sample], self.weight[sample]
        return (1 - t) * field[low] + t * field[low + 1]

    def range(self, part: slice) -> slice:
        """The samples between a part's first and last point."""
        return slice(int(np.searchsorted(self.low, part.start)), int(np.searchsorted(self.low, part.stop - 1)))


def _linear_taps(grid: Grid, axis: int, where_mm: np.ndarray) -> _Taps:
    size = grid.shape[axis]
    position = (where_mm - grid.origin_mm[2 - axis]) / grid.step_mm
    low = np.floor(position).astype(int)
    return _Taps(low, (position - low).astype(np.float32), (low >= 0) & (low < size - 1), size)


def _pool(values: np.ndarray, samples: tuple[int, ...]) -> np.ndarray:
    """(Y * n, X * m) -> (Y, X): sums over n x m samples."""
    rows = np.sum([values[start :: samples[0]] for start in range(samples[0])], axis=0)
    return np.sum([rows[:, start :: samples[1]] for start in range(samples[1])], axis=0)
