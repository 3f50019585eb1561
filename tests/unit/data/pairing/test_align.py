"""How annotations lie on scans: by physical coordinates, turned ones refused."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nnunetv2_cfseg.data.pairing.align import locate, onto_plane
from nnunetv2_cfseg.imaging.geometry import VolumeGeometry

GridOf = Callable[..., VolumeGeometry]
FILE = Path("label.nii.gz")


@given(
    factor=st.integers(1, 6),
    slabs=st.integers(1, 5),
    first=st.integers(0, 5),
    flips=st.sets(st.sampled_from([0, 1, 2])),
    is_tilted=st.booleans(),
)
def test_slabs_lie_where_they_were_cut(
    make_grid: GridOf, tilted: tuple[float, ...], factor: int, slabs: int, first: int, flips: set[int], is_tilted: bool
) -> None:
    scan = make_grid((35, 6, 8), **({"direction": tilted} if is_tilted else {}))
    thick = scan.with_slices(first, factor * scan.spacing_mm[0], slabs)
    placement = locate(thick.flipped(flips), scan, file=FILE)
    assert placement.flips == tuple(sorted(flips))
    assert placement.shape == thick.shape
    np.testing.assert_allclose(placement.edges(), first + factor * np.arange(slabs + 1), atol=1e-9)
    assert placement.is_same(1)
    assert placement.is_same(2)
    assert placement.is_same(0) == (factor == 1 and slabs == 35 and first == 0)


def test_half_a_slice_is_half_a_slice(make_grid: GridOf) -> None:
    scan = make_grid((20, 6, 8), (1.0, 0.7, 0.9), origin_mm=(0.0, 0.0, 100.0))
    thick = make_grid((3, 6, 8), (5.0, 0.7, 0.9), origin_mm=(0.0, 0.0, 102.5))  # from 100.0 to 115.0 mm
    np.testing.assert_allclose(locate(thick, scan, file=FILE).edges(), [0.5, 5.5, 10.5, 15.5])


def test_every_second_slice_is_as_thick_as_they_are_apart(make_grid: GridOf) -> None:
    scan = make_grid((20, 6, 8), (1.0, 0.7, 0.9), origin_mm=(0.0, 0.0, 0.0))
    overlapping = make_grid((7, 6, 8), (2.0, 0.7, 0.9), origin_mm=(0.0, 0.0, 1.5))  # centres 1.5, 3.5, ...; 4 mm thick
    placement = locate(overlapping, scan, file=FILE)
    even, odd = placement.every(2, 0), placement.every(2, 1)
    assert (even.shape[0], odd.shape[0]) == (4, 3)
    np.testing.assert_allclose(even.edges(), [0, 4, 8, 12, 16])
    np.testing.assert_allclose(odd.edges(), [2, 6, 10, 14])


class TestTurned:
    @pytest.mark.parametrize(("axis", "named"), [("x", "1.5"), ("y", "1.5"), ("z", "1.5")])
    def test_is_refused(self, make_grid: GridOf, axis: str, named: str) -> None:
        scan = make_grid((20, 30, 30))
        turned = rotated(scan, axis, 1.5)
        with pytest.raises(ValueError, match=rf"must be parallel, and are turned by {named} degrees: label.nii.gz$"):
            locate(turned, scan, file=FILE)

    def test_by_a_right_angle_is_refused(self, make_grid: GridOf) -> None:
        scan = make_grid((20, 30, 30))
        with pytest.raises(ValueError, match="turned by 90 degrees"):
            locate(rotated(scan, "z", 90), scan, file=FILE)

    def test_by_rounding_is_none(self, make_grid: GridOf) -> None:
        scan = make_grid((20, 30, 30))
        placement = locate(rotated(scan, "x", 1e-3), scan, file=FILE)
        assert all(placement.is_same(axis) for axis in range(3))

    def test_is_measured_over_the_whole_image(self, make_grid: GridOf) -> None:
        """A tenth of a degree moves the end of 30 rows by 4 % of a slice, that of 300 rows by 37 %."""
        small, large = make_grid((20, 30, 30)), make_grid((20, 300, 30))
        assert locate(rotated(small, "x", 0.1), small, file=FILE).flips == ()
        with pytest.raises(ValueError, match=r"turned by 0\.1 degrees"):
            locate(rotated(large, "x", 0.1), large, file=FILE)


def rotated(grid: VolumeGeometry, axis: str, degrees: float) -> VolumeGeometry:
    cosine, sine = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    matrix = np.eye(3)
    others = [i for i, name in enumerate("xyz") if name != axis]
    matrix[np.ix_(others, others)] = [[cosine, -sine], [sine, cosine]]
    return replace(grid, direction=tuple((matrix @ np.reshape(grid.direction, (3, 3))).ravel().tolist()))


class TestPlane:
    @pytest.fixture
    def scan(self, make_grid: GridOf) -> VolumeGeometry:
        return make_grid((4, 3, 6), (1.0, 1.0, 1.0), origin_mm=(0.0, 0.0, 0.0))

    def test_nearest_pixels_by_hand(self, make_grid: GridOf, scan: VolumeGeometry) -> None:
        coarse = make_grid((4, 3, 3), (1.0, 1.0, 2.0), origin_mm=(0.5, 0.0, 0.0))  # the same edges
        placement = locate(coarse, scan, file=FILE)
        assert placement.nearest(2).tolist() == [0, 0, 1, 1, 2, 2]
        assert placement.uncovered(2) == pytest.approx(0)
        values = np.arange(4 * 3 * 3).reshape(4, 3, 3)
        np.testing.assert_array_equal(onto_plane(values, placement), np.repeat(values, 2, axis=2))

    def test_a_shift_below_half_a_pixel_keeps_pixels(self, make_grid: GridOf, scan: VolumeGeometry) -> None:
        moved = make_grid(scan.shape, scan.spacing_mm, origin_mm=(0.4, -0.4, 0.0))
        placement = locate(moved, scan, file=FILE)
        assert not placement.is_same(1)
        assert placement.nearest(1).tolist() == [0, 1, 2]
        assert placement.nearest(2).tolist() == [0, 1, 2, 3, 4, 5]
        assert placement.uncovered(2) == pytest.approx(0.4)

    def test_the_same_pixels_are_not_touched(self, scan: VolumeGeometry) -> None:
        values = np.arange(4 * 3 * 6).reshape(4, 3, 6)
        assert onto_plane(values, locate(scan, scan, file=FILE)) is values

    def test_what_lies_outside(self, make_grid: GridOf, scan: VolumeGeometry) -> None:
        wide = make_grid(
            (4, 3, 5), (1.0, 1.0, 2.0), origin_mm=(-2.5, 0.0, 0.0)
        )  # from -3.5 to 6.5; the scan's -0.5 to 5.5
        placement = locate(wide, scan, file=FILE)
        np.testing.assert_allclose(placement.outside(2), [3, 0, 0, 0, 0])
        longer = make_grid((7, 3, 6), (1.0, 1.0, 1.0), origin_mm=(0.0, 0.0, -1.0))
        np.testing.assert_allclose(locate(longer, scan, file=FILE).outside(0), [1, 0, 0, 0, 0, 1, 2])
