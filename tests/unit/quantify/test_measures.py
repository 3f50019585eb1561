"""Every number of a lesion, by hand and by properties."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from math import isnan, sqrt

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from nnunetv2_cfseg.imaging.geometry import VolumeGeometry
from nnunetv2_cfseg.quantify.measures import ClassQuantities, measure_class
from nnunetv2_cfseg.quantify.midline import Midline, image_centre_midline

MASKS = hnp.arrays(bool, hnp.array_shapes(min_dims=3, max_dims=3, max_side=6))
SPACINGS = st.tuples(*[st.sampled_from([0.5, 0.75, 1.0, 2.5, 5.0])] * 3)
#: What depends on how a file stores its axes.
INDICES = {"diameter_slice", "first_slice", "last_slice", "first_slice_z_mm", "last_slice_z_mm"}


def measured(mask: np.ndarray, grid: VolumeGeometry, *, smallest_ml: float = 0.0) -> ClassQuantities:
    return measure_class(mask, grid, midline=image_centre_midline(grid, reason="none"), smallest_ml=smallest_ml)


@pytest.fixture
def box() -> np.ndarray:
    """2 x 4 x 6 voxels that reach from 9.5 to 15.5 of 30 voxels along x."""
    mask = np.zeros((10, 20, 30), bool)
    mask[2:4, 4:8, 10:16] = True
    return mask


def test_a_box_has_the_numbers_of_a_box(box: np.ndarray, make_grid: Callable[..., VolumeGeometry]) -> None:
    """Voxels of 6 mm3; the midline is at 14.5 voxels, so that a sixth lies on the left."""
    found = measured(box, make_grid(box.shape))
    (lesion,) = found.lesions
    assert (lesion.number, lesion.voxels, lesion.side) == (1, 48, "both")
    assert lesion.volume_ml == pytest.approx(0.288)
    assert lesion.extent_mm == pytest.approx((6, 8, 6))
    assert lesion.diameter_mm == pytest.approx(sqrt(98))
    assert lesion.axial_diameter_mm == pytest.approx(sqrt(89))
    assert lesion.perpendicular_diameter_mm == pytest.approx(6 * sqrt(89) / 8, abs=1e-5)
    assert lesion.centroid_mm == pytest.approx((-12.5 + 12.5, 30 + 11, 101.25 + 7.5))
    assert (lesion.first_slice, lesion.last_slice, lesion.diameter_slice) == (2, 3, 3)
    assert (lesion.first_slice_z_mm, lesion.last_slice_z_mm) == pytest.approx((107.25, 110.25))
    assert (lesion.left_ml, lesion.right_ml) == pytest.approx((0.048, 0.24))
    assert (found.voxels, found.side) == (48, "both")
    assert (found.volume_ml, found.left_ml, found.right_ml) == pytest.approx((0.288, 0.048, 0.24))
    assert found.largest_lesion_ml == pytest.approx(0.288)
    assert found.largest_diameter_mm == pytest.approx(sqrt(98))
    assert found.largest_axial_diameter_mm == pytest.approx(sqrt(89))


def test_a_box_that_lies_obliquely_has_its_diameters_and_longer_extents(
    box: np.ndarray, make_image: Callable[..., sitk.Image], of_image: Callable
) -> None:
    """Turned by 30 degrees about the head-foot axis: x runs along (cos, sin)."""
    mask, grid = of_image(make_image(box.astype(np.uint8), degrees=(0, 0, 30)))
    (lesion,) = measured(mask, grid).lesions
    assert lesion.diameter_mm == pytest.approx(sqrt(98))
    assert lesion.axial_diameter_mm == pytest.approx(sqrt(89))
    assert lesion.volume_ml == pytest.approx(0.288)
    # Along x: faces across y are 5 mm of columns and 8 mm of rows apart, those across x 6 and 6.
    assert lesion.extent_mm[0] == pytest.approx(max(5 * sqrt(0.75) + 8 / 2, 6 * sqrt(0.75) + 6 / 2))
    assert lesion.extent_mm[1] == pytest.approx(max(5 / 2 + 8 * sqrt(0.75), 6 / 2 + 6 * sqrt(0.75)))
    assert lesion.extent_mm[2] == pytest.approx(6)


def test_lesions_are_numbered_by_falling_volume_then_from_the_head(make_grid: Callable[..., VolumeGeometry]) -> None:
    mask = np.zeros((9, 9, 9), bool)
    mask[0, 0, 0] = mask[8, 8, 8] = mask[8, 8, 0] = True
    mask[4, 4, 4:6] = True
    found = measured(mask, make_grid(mask.shape, (1.0, 1.0, 1.0), origin=(0.0, 0.0, 0.0)))
    assert [lesion.number for lesion in found.lesions] == [1, 2, 3, 4]
    assert [lesion.centroid_mm for lesion in found.lesions] == [(4.5, 4, 4), (8, 8, 8), (0, 8, 8), (0, 0, 0)]
    assert [lesion.side for lesion in found.lesions] == ["both", "left", "right", "right"]


def test_what_is_too_small_is_no_lesion_and_counts_for_the_class(make_grid: Callable[..., VolumeGeometry]) -> None:
    mask = np.zeros((5, 5, 9), bool)
    mask[0, 0, 0] = mask[4, 4, 6:8] = True
    grid = make_grid(mask.shape, (1.0, 1.0, 1.0))
    found = measured(mask, grid, smallest_ml=0.002)
    assert [lesion.voxels for lesion in found.lesions] == [2]
    assert (found.voxels, found.volume_ml) == (3, pytest.approx(0.003))
    assert found.side == "both"
    none = measured(mask, grid, smallest_ml=0.0021)
    assert (none.lesions, none.largest_lesion_ml, none.voxels) == ((), 0, 3)
    assert isnan(none.largest_diameter_mm)


def test_a_class_that_is_not_there_has_no_diameter_and_no_side(make_grid: Callable[..., VolumeGeometry]) -> None:
    found = measured(np.zeros((4, 4, 4), bool), make_grid((4, 4, 4)))
    assert (found.volume_ml, found.lesions, found.largest_lesion_ml, found.side) == (0, (), 0, "")
    assert (found.left_ml, found.right_ml) == (0, 0)
    assert isnan(found.largest_diameter_mm)
    assert isnan(found.largest_axial_diameter_mm)


@pytest.mark.parametrize("smallest_ml", [-1, float("nan")])
def test_a_smallest_volume_below_zero_is_refused(smallest_ml: float, make_grid: Callable[..., VolumeGeometry]) -> None:
    with pytest.raises(ValueError, match=r"smallest volume of a lesion must be >= 0 ml, got"):
        measured(np.ones((2, 2, 2), bool), make_grid((2, 2, 2)), smallest_ml=smallest_ml)


@given(MASKS, SPACINGS, st.floats(-1, 1), st.floats(-1, 1), st.floats(-3, 3))
def test_volumes_add_up(
    mask: np.ndarray, spacing_mm: tuple[float, float, float], y: float, z: float, offset_mm: float
) -> None:
    grid = VolumeGeometry(mask.shape, spacing_mm, (0.0, 0.0, 0.0), (1.0, 0, 0, 0, 1.0, 0, 0, 0, 1.0))
    normal = np.array([1, y, z]) / np.linalg.norm([1, y, z])
    midline = Midline((normal[0], normal[1], normal[2]), offset_mm, "symmetry")
    found = measure_class(mask, grid, midline=midline)
    voxel_ml = spacing_mm[0] * spacing_mm[1] * spacing_mm[2] / 1000
    assert found.volume_ml == pytest.approx(mask.sum() * voxel_ml)
    assert sum(lesion.volume_ml for lesion in found.lesions) == pytest.approx(found.volume_ml)
    assert sum(lesion.left_ml for lesion in found.lesions) == pytest.approx(found.left_ml)
    for part in (found, *found.lesions):
        assert part.left_ml + part.right_ml == pytest.approx(part.volume_ml)
        assert -1e-9 <= part.left_ml <= part.volume_ml + 1e-9


@given(mask=MASKS, spacing_mm=SPACINGS, degrees=st.tuples(*[st.floats(-180, 180)] * 3))
def test_a_diameter_is_no_shorter_than_an_extent(
    make_image: Callable[..., sitk.Image],
    of_image: Callable,
    mask: np.ndarray,
    spacing_mm: tuple[float, ...],
    degrees: tuple[float, ...],
) -> None:
    _, grid = of_image(make_image(mask.astype(np.uint8), spacing_mm, degrees=degrees))
    for lesion in measured(mask, grid).lesions:
        assert lesion.diameter_mm >= max(lesion.extent_mm) - 1e-9
        assert lesion.diameter_mm >= lesion.axial_diameter_mm - 1e-5


@given(
    mask=MASKS,
    spacing_mm=SPACINGS,
    degrees=st.tuples(*[st.floats(-20, 20)] * 3),
    flips=st.tuples(*[st.booleans()] * 3),
    order=st.permutations([0, 1, 2]),
)
def test_the_same_anatomy_stored_differently_has_the_same_numbers(
    make_image: Callable[..., sitk.Image],
    of_image: Callable,
    mask: np.ndarray,
    spacing_mm: tuple[float, ...],
    degrees: tuple[float, ...],
    flips: tuple[bool, ...],
    order: list[int],
) -> None:
    assume(mask.any())
    image = make_image(mask.astype(np.uint8), spacing_mm, degrees=degrees)
    stored = sitk.Flip(sitk.PermuteAxes(image, order), flips)
    as_it_was, as_it_is = (measured(*of_image(one)) for one in (image, stored))
    assert as_it_is.side == as_it_was.side
    assert as_it_is.left_ml == pytest.approx(as_it_was.left_ml)
    for now, before in zip(as_it_is.lesions, as_it_was.lesions, strict=True):
        for key, value in asdict(before).items():
            if key not in INDICES:
                assert asdict(now)[key] == pytest.approx(value, abs=1e-5), key
        ends = [{one.first_slice_z_mm, one.last_slice_z_mm} for one in (now, before)]
        assert sorted(ends[0]) == pytest.approx(sorted(ends[1]))
