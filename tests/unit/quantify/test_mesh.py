"""Meshes are closed, smooth, face outwards, and hold the mask's volume where it lies."""

from __future__ import annotations

from collections.abc import Callable
from math import pi

import numpy as np
import pytest
import SimpleITK as sitk
import trimesh
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from nnunetv2_cfseg.imaging.geometry import VolumeGeometry
from nnunetv2_cfseg.quantify.mesh import build_mesh

MASKS = hnp.arrays(bool, hnp.array_shapes(min_dims=3, max_dims=3, max_side=6))
SPACINGS = st.tuples(*[st.sampled_from([0.5, 1.0, 2.5, 5.0])] * 3)


def ball(radius_mm: float, spacing_mm: tuple[float, ...]) -> np.ndarray:
    sizes = [int(radius_mm // mm) + 2 for mm in spacing_mm]
    axes = np.ogrid[tuple(slice(-n, n + 1) for n in sizes)]
    return sum((axis * mm) ** 2 for axis, mm in zip(axes, spacing_mm, strict=True)) <= radius_mm**2


def built(mask: np.ndarray, grid: VolumeGeometry, *, smallest_ml: float = 0.0) -> trimesh.Trimesh:
    """The mesh, after a look at what every mesh must be."""
    mesh = build_mesh(mask, grid, smallest_ml=smallest_ml)
    assert mesh is not None
    assert mesh.is_watertight
    assert mesh.is_winding_consistent
    assert mesh.volume > 0
    return mesh


def off_centre(mesh: trimesh.Trimesh, mask: np.ndarray, grid: VolumeGeometry) -> float:
    """Distance of mesh and mask in voxels."""
    centre = grid.position_mm(np.argwhere(mask)).mean(axis=0)
    return float(np.linalg.norm(np.linalg.solve(grid.steps_mm.T, mesh.center_mass - centre)))


@pytest.mark.parametrize("spacing_mm", [(1.0, 1.0, 1.0), (3.0, 1.0, 1.0)])
def test_of_a_ball_is_smooth(spacing_mm: tuple[float, ...], make_grid: Callable[..., VolumeGeometry]) -> None:
    """Voxels have half as much area again."""
    mask = ball(12, spacing_mm)
    grid = make_grid(mask.shape, spacing_mm)
    mesh = built(mask, grid)
    assert mesh.volume / 1000 == pytest.approx(mask.sum() * grid.voxel_ml, rel=0.02)
    assert mesh.area == pytest.approx(4 * pi * 12**2, rel=0.05)
    faces = [(np.diff(np.pad(mask, 1).astype(int), axis=axis) != 0).sum() for axis in range(3)]
    z, y, x = spacing_mm
    assert faces[0] * y * x + faces[1] * z * x + faces[2] * z * y > 1.4 * 4 * pi * 12**2


@pytest.mark.parametrize("spacing_mm", [(1.0, 1.0, 1.0), (5.0, 0.5, 0.5), (2.5, 4.0, 4.0)])
def test_of_a_box_lies_where_the_box_lies(
    spacing_mm: tuple[float, ...], make_grid: Callable[..., VolumeGeometry]
) -> None:
    mask = np.zeros((12, 14, 16), bool)
    mask[3:9, 2:12, 5:12] = True
    grid = make_grid(mask.shape, spacing_mm)
    mesh = built(mask, grid)
    assert mesh.volume / 1000 == pytest.approx(mask.sum() * grid.voxel_ml, rel=0.02)
    assert off_centre(mesh, mask, grid) < 0.1
    low, high = grid.position_mm(np.array([[3, 2, 5], [8, 11, 11]]))
    half = np.array(spacing_mm[::-1]) / 2
    np.testing.assert_allclose(mesh.bounds, [low - half, high + half], atol=0.35 * max(spacing_mm))


def test_of_two_components_has_two(make_grid: Callable[..., VolumeGeometry]) -> None:
    mask = np.zeros((20, 20, 40), bool)
    mask[2:12, 2:12, 2:12] = True
    mask[5:9, 5:9, 25:29] = True
    grid = make_grid(mask.shape, (1.0, 1.0, 1.0))
    parts = built(mask, grid).split()
    assert sorted(part.volume for part in parts) == pytest.approx([64, 1000], rel=0.02)
    (large,) = built(mask, grid, smallest_ml=0.1).split()
    assert large.volume == pytest.approx(1000, rel=0.02)


def test_of_a_speck_is_a_blob_of_its_volume(make_grid: Callable[..., VolumeGeometry]) -> None:
    mask = np.zeros((3, 3, 9), bool)
    mask[1, 1, 1] = mask[1, 1, 7] = True
    mesh = built(mask, make_grid(mask.shape))
    assert [part.volume for part in mesh.split()] == pytest.approx([6, 6], rel=0.02)


def test_of_voxels_that_touch_by_an_edge_has_their_volume(make_grid: Callable[..., VolumeGeometry]) -> None:
    """Where their surfaces join no level has it: there the volume leaps by a seventh."""
    mesh = built(np.array([[[True, False], [False, True]]]), make_grid((1, 2, 2), (0.5, 2.5, 2.5)))
    assert mesh.volume == pytest.approx(2 * 0.5 * 2.5 * 2.5, rel=0.02)


def test_of_nothing_is_none(make_grid: Callable[..., VolumeGeometry]) -> None:
    assert build_mesh(np.zeros((3, 3, 3), bool), make_grid((3, 3, 3))) is None
    assert build_mesh(np.ones((1, 1, 1), bool), make_grid((1, 1, 1)), smallest_ml=1.0) is None


def test_closes_at_the_border_and_keeps_cavities(make_grid: Callable[..., VolumeGeometry]) -> None:
    mask = np.ones((16, 16, 16), bool)
    mask[5:11, 5:11, 5:11] = False
    mesh = built(mask, make_grid(mask.shape, (1.0, 1.0, 1.0)))
    assert mesh.volume == pytest.approx(16**3 - 6**3, rel=0.02)
    assert mesh.body_count == 2


@pytest.mark.parametrize("flips", [(False, False, False), (True, False, False), (True, True, True)])
@pytest.mark.parametrize("degrees", [(0, 0, 0), (20, -15, 35)])
def test_faces_outwards_in_every_direction(
    flips: tuple[bool, ...], degrees: tuple[float, ...], make_image: Callable[..., sitk.Image], of_image: Callable
) -> None:
    """A file whose axes are flipped once or thrice has a left-handed direction matrix."""
    values = np.zeros((9, 12, 14), np.uint8)
    values[2:7, 3:9, 2:12] = 1
    values[2:7, 6:9, 8:] = 0
    image = make_image(values, (2.0, 1.5, 1.0), degrees=degrees)
    stored = sitk.Flip(image, flips)
    # Flip negates the direction of an axis and moves the origin: the anatomy stays.
    mask, grid = of_image(stored)
    assert np.sign(np.linalg.det(np.reshape(stored.GetDirection(), (3, 3)))) == (-1) ** sum(flips)
    mesh = built(mask, grid)
    assert mesh.volume / 1000 == pytest.approx(mask.sum() * grid.voxel_ml, rel=0.02)
    assert off_centre(mesh, mask, grid) < 0.5
    np.testing.assert_allclose(mesh.center_mass, built(*of_image(image)).center_mass, atol=0.05)


@given(mask=MASKS, spacing_mm=SPACINGS, degrees=st.tuples(*[st.floats(-180, 180)] * 3))
def test_of_any_mask_is_closed_with_its_volume(
    make_image: Callable[..., sitk.Image],
    of_image: Callable,
    mask: np.ndarray,
    spacing_mm: tuple[float, ...],
    degrees: tuple[float, ...],
) -> None:
    assume(mask.any())
    _, grid = of_image(make_image(mask.astype(np.uint8), spacing_mm, degrees=degrees))
    assert built(mask, grid).volume / 1000 == pytest.approx(mask.sum() * grid.voxel_ml, rel=0.02)
