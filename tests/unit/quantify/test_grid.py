"""Indices become patient coordinates through spacing, origin and direction."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import SimpleITK as sitk

from nnunetv2_cfseg.quantify.grid import Grid


def test_has_the_volume_of_a_voxel(make_grid: Callable[..., Grid]) -> None:
    assert make_grid((4, 5, 6), (3.0, 2.0, 0.5)).voxel_ml == pytest.approx(0.003)


@pytest.mark.parametrize("degrees", [(0, 0, 0), (20, -10, 35), (90, 0, 0), (0, 180, 0)])
def test_gives_the_points_that_simpleitk_gives(
    degrees: tuple[float, ...], make_image: Callable[..., sitk.Image], of_image: Callable
) -> None:
    image = make_image(np.zeros((4, 5, 6), np.uint8), degrees=degrees)
    _, grid = of_image(image)
    indices = np.array([[0, 0, 0], [3, 0, 5], [1, 4, 2]])
    expected = [image.TransformIndexToPhysicalPoint(index[::-1].tolist()) for index in indices]
    np.testing.assert_allclose(grid.to_patient(indices), expected, atol=1e-9)


def test_has_its_centre_between_its_outermost_voxels(make_grid: Callable[..., Grid]) -> None:
    assert make_grid((4, 5, 7)).centre_mm.tolist() == [-12.5 + 3, 30 + 4, 101.25 + 4.5]


@pytest.mark.parametrize(("order", "axis"), [((0, 1, 2), 0), ((0, 2, 1), 1), ((2, 1, 0), 2)])
def test_finds_the_axis_across_axial_slices(
    order: tuple[int, ...], axis: int, make_image: Callable[..., sitk.Image], of_image: Callable
) -> None:
    stored = sitk.PermuteAxes(make_image(np.zeros((4, 5, 6), np.uint8), degrees=(30, 10, 20)), order)
    assert of_image(stored)[1].slice_axis == axis


def test_gives_a_slice_the_height_of_its_middle(make_image: Callable[..., sitk.Image], of_image: Callable) -> None:
    image = make_image(np.zeros((4, 5, 7), np.uint8), degrees=(30, 0, 0))
    middle = image.TransformContinuousIndexToPhysicalPoint((3.0, 2.0, 1.0))
    assert of_image(image)[1].slice_z_mm(1) == pytest.approx(middle[2])
    assert of_image(sitk.Flip(image, (True, True, False)))[1].slice_z_mm(1) == pytest.approx(middle[2])
