"""Finds the lesions of a class, the connected components of its mask."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import ceil

import cc3d
import numpy as np
from scipy import ndimage

CONNECTIVITY = 26
#: Fraction of a voxel that rounding may take from the smallest volume.
TOLERANCE = 1e-6


@dataclass(frozen=True)
class Component:
    """Voxels that touch by a face, an edge or a corner.

    Attributes:
        mask: (Z, Y, X) bool, cropped to the component.
        corner: index (z, y, x) in the whole volume of the crop's first voxel.
        voxels: how many.
        label: in ``Components.labels``.
        centroid: index (z, y, x) in the whole volume, between voxels.
    """

    mask: np.ndarray
    corner: np.ndarray
    voxels: int
    label: int
    centroid: np.ndarray


@dataclass(frozen=True)
class Components:
    """All components of a mask.

    Attributes:
        labels: (Z, Y, X) integers, 0 outside, cropped to the mask.
        corner: index (z, y, x) in the whole volume of the crop's first voxel.
        voxels: (n + 1,) voxels of each label.
        boxes: for each label its crop within ``labels``.
        centroids: (n + 1, 3) indices (z, y, x) within ``labels``.
    """

    labels: np.ndarray
    corner: np.ndarray
    voxels: np.ndarray
    boxes: list[tuple[slice, slice, slice]]
    centroids: np.ndarray

    def at_least(self, voxels: int) -> Iterator[Component]:
        """Yield the components with at least that many voxels."""
        for label in np.flatnonzero(self.voxels[1:] >= voxels) + 1:
            box = self.boxes[label]
            yield Component(
                mask=self.labels[box] == label,
                corner=self.corner + [axis.start for axis in box],
                voxels=int(self.voxels[label]),
                label=int(label),
                centroid=self.corner + self.centroids[label],
            )


def find_components(mask: np.ndarray) -> Components | None:
    """Connected components of a mask (Z, Y, X) bool; None if it is empty."""
    boxes = ndimage.find_objects(mask.view(np.uint8))
    if not boxes:
        return None
    # cc3d 4.1 fails on a single row of voxels; a margin avoids that.
    padded = np.pad(mask[boxes[0]], 1)
    labels = cc3d.connected_components(padded, connectivity=CONNECTIVITY, binary_image=True)[1:-1, 1:-1, 1:-1]
    statistics = cc3d.statistics(labels)
    corner = np.array([axis.start for axis in boxes[0]])
    return Components(labels, corner, statistics["voxel_counts"], statistics["bounding_boxes"], statistics["centroids"])


def fewest_voxels(smallest_ml: float, voxel_ml: float) -> int:
    """Fewest voxels of a lesion with at least the smallest volume; 1 or more."""
    return max(1, ceil(smallest_ml / voxel_ml - TOLERANCE))
