"""Makes surfaces of segmentations that are smooth and keep the segmentation's volume."""

from __future__ import annotations

from math import ceil, prod

import numpy as np
import trimesh
from scipy import ndimage
from skimage.measure import marching_cubes

from nnunetv2_cfseg.imaging.geometry import VolumeGeometry
from nnunetv2_cfseg.quantify.components import Component, fewest_voxels, find_components

#: Standard deviation of the Gaussian, in edges of a cube of a voxel's volume. With it the area of a ball of 12 voxels'
#: radius is 3 % too large (6 % for voxels of 5 x 0.5 x 0.5 mm). At 0.7 the area is right, but the mean of a jaw in 4 mm
#: voxels moves by 0.8 voxels instead of 0.4, because its thin ends recede.
SMOOTHING = 0.5
#: The Gaussian is 0 beyond so many standard deviations.
TRUNCATE = 4.0
#: The search for a surface's level ends when its volume is off by less than this fraction.
VOLUME_TOLERANCE = 0.005
MOST_HALVINGS = 50


def build_mesh(mask: np.ndarray, grid: VolumeGeometry, *, smallest_ml: float = 0.0) -> trimesh.Trimesh | None:
    """The surface of a mask in patient coordinates (LPS), mm; closed, its normals outwards.

    Each component is smoothed separately by a Gaussian in mm, and cut at the level that preserves its volume. So a
    single voxel becomes a blob of the same volume, and nothing vanishes; thin ends of a larger component may recede,
    while the rest of it grows by as much. Cavities are kept, and their normals point into them.

    Args:
        mask: (Z, Y, X) bool.
        grid: where its voxels lie.
        smallest_ml: smaller components are left out.

    Returns:
        The mesh; None if there is no component.
    """
    components = find_components(mask)
    if components is None:
        return None
    parts = [_surface(part, grid) for part in components.at_least(fewest_voxels(smallest_ml, grid.voxel_ml))]
    if not parts:
        return None
    first_vertices = np.cumsum([0, *(len(vertices) for vertices, _ in parts)])
    return trimesh.Trimesh(
        np.concatenate([vertices for vertices, _ in parts]),
        np.concatenate([faces + first for (_, faces), first in zip(parts, first_vertices[:-1], strict=True)]),
        process=False,
    )


def _surface(component: Component, grid: VolumeGeometry) -> tuple[np.ndarray, np.ndarray]:
    """Vertices (n, 3) in mm and faces (m, 3)."""
    sigma = SMOOTHING * prod(grid.spacing_mm) ** (1 / 3) / np.array(grid.spacing_mm)
    margin = [ceil(TRUNCATE * s) + 1 for s in sigma]
    padded = np.pad(component.mask, [(n, n) for n in margin]).astype(np.float32)
    field = ndimage.gaussian_filter(padded, sigma, mode="constant", truncate=TRUNCATE)
    vertices, faces = _cut(field, component.voxels)
    points = grid.position_mm(vertices + component.corner - margin)
    if np.linalg.det(grid.steps_mm) * _voxels(vertices, faces) < 0:
        faces = faces[:, ::-1]
    # Files hold 32-bit coordinates, and the surface must be closed there too.
    return _without_slivers(points.astype(np.float32), faces)


def _cut(field: np.ndarray, voxels: int) -> tuple[np.ndarray, np.ndarray]:
    """Cut a field at the level whose surface holds that many voxels, by bisection; vertices are indices.

    The first guess is the level that as many voxels exceed.
    """
    low, high = 0.0, float(field.max())
    rank = field.size - voxels
    level = float(np.partition(field, rank, axis=None)[rank])
    if not low < level < high:
        level = (low + high) / 2
    for _ in range(MOST_HALVINGS):
        vertices, faces, _, _ = marching_cubes(field, level)
        vertices = vertices.astype(np.float64)
        off = abs(_voxels(vertices, faces)) / voxels - 1
        if abs(off) < VOLUME_TOLERANCE:
            return vertices, faces
        low, high = (level, high) if off > 0 else (low, level)
        level = (low + high) / 2
    # The volume jumps where the surfaces of a small component's voxels join, so no level may give it: scale instead.
    middle = vertices.mean(axis=0)
    return middle + (vertices - middle) / (1 + off) ** (1 / 3), faces


def _voxels(vertices: np.ndarray, faces: np.ndarray) -> float:
    """Signed volume in voxels by the divergence theorem."""
    first, second, third = (vertices[faces[:, corner]] for corner in range(3))
    return float(np.einsum("ij,ij->", first, np.cross(second, third))) / 6


def _without_slivers(points: np.ndarray, faces: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Merge points that are equal in 32 bits, and drop the triangles that lose their area by that."""
    unique, index = np.unique(points, axis=0, return_inverse=True)
    merged = index.reshape(-1)[faces]
    flat = (merged == np.roll(merged, 1, axis=1)).any(axis=1)
    return unique, merged[~flat]
