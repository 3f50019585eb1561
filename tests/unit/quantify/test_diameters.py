"""Diameters reach from middle to middle of the outer faces of voxels."""

from __future__ import annotations

from math import sqrt

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis.extra import numpy as hnp
from scipy.spatial.distance import pdist

from nnunetv2_cfseg.quantify.diameters import axial_diameters, face_centres, largest_diameter

STEPS_MM = np.array([[0, 0, 3], [0, 2, 0], [1, 0, 0]], np.float64)
ISOTROPIC = np.eye(3)[::-1]
MASKS = hnp.arrays(bool, hnp.array_shapes(min_dims=3, max_dims=3, max_side=6))


def test_of_a_voxel_are_its_edges() -> None:
    """Faces across z are farthest apart in 3D, within the slice those across y are."""
    voxel = np.ones((1, 1, 1), bool)
    assert largest_diameter(voxel, STEPS_MM) == pytest.approx(3)
    axial = axial_diameters(voxel, STEPS_MM, 0)
    assert (axial.longest_mm, axial.perpendicular_mm, axial.slice_index) == (pytest.approx(2), pytest.approx(1), 0)


def test_of_a_box() -> None:
    """2 x 4 x 6 voxels of 3 x 2 x 1 mm: farthest are faces across y, 5, 8 and 3 mm apart along x, y and z.

    In the slice they are 5 and 8 mm apart. Lines across that one run between the sides, 6 mm apart along x.
    """
    box = np.ones((2, 4, 6), bool)
    assert largest_diameter(box, STEPS_MM) == pytest.approx(sqrt(25 + 64 + 9))
    axial = axial_diameters(box, STEPS_MM, 0)
    assert axial.longest_mm == pytest.approx(sqrt(25 + 64))
    assert axial.perpendicular_mm == pytest.approx(6 * sqrt(89) / 8, abs=1e-5)


def test_of_a_crescent_across_is_its_thickness() -> None:
    """Its convex hull is 9 voxels wide, but no line across its length meets more than its thickness."""
    y, x = np.ogrid[-25:26, -25:26]
    crescent = (y**2 + x**2 < 24.5**2) & ((y + 4) ** 2 + x**2 > 24.5**2) & (y > 14)
    axial = axial_diameters(crescent[None], ISOTROPIC, 0)
    assert axial.longest_mm == pytest.approx(39, abs=2)
    assert axial.perpendicular_mm == pytest.approx(4, abs=1)


def test_name_the_slice_and_its_axis() -> None:
    mask = np.zeros((4, 5, 9), bool)
    mask[:, 2, 4] = True
    mask[2, 2, 1:8] = True
    axial = axial_diameters(mask, ISOTROPIC, 0)
    assert (axial.slice_index, axial.longest_mm) == (2, pytest.approx(7))
    assert axial_diameters(mask, ISOTROPIC, 2).longest_mm == pytest.approx(4)


def test_of_equal_slices_are_those_nearest_to_the_head() -> None:
    assert axial_diameters(np.ones((5, 2, 2), bool), ISOTROPIC, 0).slice_index == 4
    assert axial_diameters(np.ones((5, 2, 2), bool), ISOTROPIC * [1, 1, -1], 0).slice_index == 0


@pytest.mark.parametrize("flip", [(1,), (2,), (1, 2)])
def test_of_equal_diagonals_are_those_of_one_whatever_the_order_of_voxels(flip: tuple[int, ...]) -> None:
    """Both diagonals of the bounding box are as long, but across one of them the outline reaches farther."""
    mask = np.zeros((1, 5, 9), bool)
    mask[0, ::4, ::8] = mask[0, 1, 2:4] = mask[0, 3, 5:7] = True
    steps_mm = ISOTROPIC.copy()
    steps_mm[list(flip)] *= -1
    mirrored = axial_diameters(np.flip(mask, 1), ISOTROPIC, 0).perpendicular_mm
    found = axial_diameters(mask, ISOTROPIC, 0).perpendicular_mm
    assert abs(found - mirrored) > 0.1
    assert axial_diameters(np.flip(mask, flip), steps_mm, 0).perpendicular_mm == pytest.approx(found)


@pytest.mark.parametrize("radius", [5, 10, 20])
def test_of_a_ball_are_right_within_a_voxel(radius: int) -> None:
    z, y, x = np.ogrid[-radius : radius + 1, -radius : radius + 1, -radius : radius + 1]
    ball = z**2 + y**2 + x**2 <= radius**2
    axial = axial_diameters(ball, ISOTROPIC, 0)
    for found in (largest_diameter(ball, ISOTROPIC), axial.longest_mm, axial.perpendicular_mm):
        assert found == pytest.approx(2 * radius, abs=1.1)


@given(MASKS)
def test_are_those_of_all_pairs_of_points(mask: np.ndarray) -> None:
    assume(mask.any())
    assert largest_diameter(mask, STEPS_MM) == pytest.approx(pdist(face_centres(mask) @ STEPS_MM).max())


@given(MASKS)
def test_in_a_slice_are_at_most_those_in_space_and_one_across_at_most_the_longest(mask: np.ndarray) -> None:
    assume(mask.any())
    axial = axial_diameters(mask, STEPS_MM, 0)
    assert 0 < axial.perpendicular_mm <= axial.longest_mm + 1e-5
    assert axial.longest_mm <= largest_diameter(mask, STEPS_MM) + 1e-9


def test_of_many_lines_across_take_the_longest() -> None:
    """More lines than are looked at together: a bar of 600 voxels with a bump at its end."""
    mask = np.zeros((1, 40, 600), bool)
    mask[0, 19] = True
    mask[0, 10:30, 590] = True
    assert axial_diameters(mask, ISOTROPIC, 0).perpendicular_mm == pytest.approx(20, abs=0.1)
