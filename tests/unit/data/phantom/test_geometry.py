"""Depths of shapes, smooth noise, and parts of the grid around points of a head that lies askew."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.spatial.transform import Rotation

from nnunetv2_cfseg.data.phantom.geometry import (
    Grid,
    Pose,
    Space,
    blend,
    bump,
    carve,
    cubic_matrix,
    ellipsoid,
    step,
    tube,
)

GRID = Grid((-30.0, -26.0, -22.0), (23, 27, 31), 2.0)
STRAIGHT = Pose((0.0, 0.0, 0.0), np.eye(3), (1.0, 1.0, 1.0))


def whole(grid: Grid = GRID, pose: Pose = STRAIGHT) -> Space:
    """The head's coordinates at each of the grid's points, by the pose alone."""
    z, y, x = np.meshgrid(*(grid.axis_mm(axis).astype(float) for axis in "zyx"), indexing="ij")
    offsets = np.stack([x, y, z], axis=-1) - pose.centre_mm
    head = offsets @ pose.rotation.T / pose.size
    everything = (slice(0, grid.shape[0]), slice(0, grid.shape[1]), slice(0, grid.shape[2]))
    return Space(grid, pose, head[..., 0], head[..., 1], head[..., 2], everything, margin_mm=0.0)


def points(*where: tuple[float, float, float]) -> Any:
    """A space of nothing but these points, one a column."""
    x, y, z = (np.array(axis, float).reshape(1, 1, -1) for axis in zip(*where, strict=True))
    return Space(GRID, STRAIGHT, x, y, z, (slice(0, 1), slice(0, 1), slice(0, len(where))), 0.0)


class TestGrid:
    def test_axes_start_at_the_origin(self) -> None:
        grid = Grid((-3.0, 1.0, 10.0), (2, 3, 4), 0.5)
        np.testing.assert_array_equal(grid.axis_mm("x"), [-3, -2.5, -2, -1.5])
        np.testing.assert_array_equal(grid.axis_mm("y"), [1, 1.5, 2])
        np.testing.assert_array_equal(grid.axis_mm("z"), [10, 10.5])

    def test_slope_is_per_mm(self) -> None:
        space = whole()
        np.testing.assert_allclose(GRID.slope(3 * space.x + 4 * space.z), 5, rtol=1e-6)
        np.testing.assert_allclose(GRID.slope(2 * space.y), 2, rtol=1e-6)

    def test_depth_makes_mm_of_any_field(self) -> None:
        space = whole()
        np.testing.assert_allclose(GRID.depth(7 * (space.y - 1.5)), space.y - 1.5, atol=1e-6)

    def test_depth_stays_finite_where_a_field_is_flat(self) -> None:
        np.testing.assert_allclose(GRID.depth(np.full(GRID.shape, 2.0), smallest_slope=0.5), 4)


class TestSmoothNoise:
    # Long enough for many wavelengths, so that one field tells of all.
    grid = Grid((0.0, 0.0, 0.0), (60, 60, 60), 2.0)

    @pytest.mark.parametrize("wavelength_mm", [6, 12, 20])
    def test_has_variance_one_and_varies_over_the_wavelength(self, wavelength_mm: float) -> None:
        field = self.grid.smooth_noise(np.random.default_rng(1), wavelength_mm)
        assert field.dtype == np.float32
        assert field.shape == self.grid.shape
        assert abs(field.mean()) < 0.15
        assert field.var() == pytest.approx(1, abs=0.2)
        normal = (field - field.mean()) / field.std()
        for axis in range(3):

            def correlation(mm: float, axis: int = axis) -> float:
                shift = round(mm / self.grid.step_mm)
                moved = np.moveaxis(normal, axis, 0)
                return float((moved[shift:] * moved[: len(moved) - shift]).mean())

            # A white field under a Gaussian of 0.8 thirds of the wavelength: exp(-mm^2 / (4 sigma^2)).
            mm = self.grid.step_mm * max(1, round(wavelength_mm / 3 / self.grid.step_mm))
            expected = np.exp(-(mm**2) / (4 * (0.8 * wavelength_mm / 3) ** 2))
            assert correlation(mm) == pytest.approx(expected, abs=0.1)
            assert abs(correlation(wavelength_mm * 1.5)) < 0.15

    def test_is_the_same_for_the_same_seed_only(self) -> None:
        one, two, other = (GRID.smooth_noise(np.random.default_rng(seed), 9) for seed in (3, 3, 4))
        np.testing.assert_array_equal(one, two)
        assert abs(np.corrcoef(one.ravel(), other.ravel())[0, 1]) < 0.5

    @pytest.mark.parametrize("wavelength_mm", [3.99, 0.0])
    def test_refuses_what_the_grid_cannot_hold(self, wavelength_mm: float) -> None:
        with pytest.raises(ValueError, match=f"at least 4.0 mm here, got {wavelength_mm} mm$"):
            GRID.smooth_noise(np.random.default_rng(0), wavelength_mm)


class TestCubicMatrix:
    sizes = st.integers(4, 12)

    @given(sizes, st.lists(st.floats(-2, 14), min_size=1, max_size=8))
    def test_rows_sum_to_one(self, size: int, positions: list[float]) -> None:
        matrix = cubic_matrix(size, np.array(positions))
        assert matrix.shape == (len(positions), size)
        np.testing.assert_allclose(matrix.sum(axis=1), 1, atol=1e-5)

    @given(sizes, st.lists(st.floats(0, 1), min_size=1, max_size=8), st.floats(-5, 5), st.floats(-5, 5))
    def test_reproduces_straight_lines_inside(
        self, size: int, shares: list[float], slope: float, offset: float
    ) -> None:
        positions = 1 + np.array(shares) * (size - 3.001)
        line = slope * np.arange(size) + offset
        np.testing.assert_allclose(
            cubic_matrix(size, positions) @ line, slope * positions + offset, atol=1e-4, rtol=1e-5
        )

    def test_passes_through_the_points(self) -> None:
        np.testing.assert_allclose(cubic_matrix(6, np.arange(6.0)), np.eye(6), atol=1e-7)

    def test_halfway_by_hand(self) -> None:
        np.testing.assert_allclose(cubic_matrix(4, np.array([1.5])), [[-1 / 16, 9 / 16, 9 / 16, -1 / 16]], atol=1e-7)


class TestShapes:
    def test_ellipsoid_on_its_axes_by_hand(self) -> None:
        centre, radii = (1.0, -2.0, 3.0), (10.0, 6.0, 4.0)
        space = points((1 + 9, -2, 3), (1 + 10, -2, 3), (1 + 13, -2, 3), (1, -2 - 5, 3), (1, -2, 3 + 4.5), (1, -2, 3))
        # To first order: beyond a pole, exactly the distance from it; at the centre at most the smallest radius.
        np.testing.assert_allclose(ellipsoid(space, centre, radii).ravel(), [1, 0, -3, 1, -0.5, 4], atol=1e-4)

    def test_ball_is_a_distance_everywhere(self) -> None:
        space = whole()
        distance = np.sqrt((space.x - 3) ** 2 + space.y**2 + (space.z + 1) ** 2)
        depth = ellipsoid(space, (3, 0, -1), (9, 9, 9))
        far = distance > 0.5
        np.testing.assert_allclose(depth[far], 9 - distance[far], atol=1e-4)

    @given(arrays(float, (6, 3), elements=st.floats(-40, 40)), st.tuples(*[st.floats(3, 20)] * 3))
    def test_ellipsoid_is_positive_inside_only(self, where: np.ndarray, radii: tuple[float, float, float]) -> None:
        space = points(*map(tuple, where))
        value = ((where / radii) ** 2).sum(axis=1)
        depth = ellipsoid(space, (0, 0, 0), radii).ravel()
        clear = np.abs(value - 1) > 1e-3
        np.testing.assert_array_equal((depth > 0)[clear], (value < 1)[clear])

    def test_tube_by_hand(self) -> None:
        space = points((0, 3, 0), (5, 0, 2), (10, 0, 0), (14, 0, 0), (10, 5, 6), (-4, 3, 0))
        # From radius 2 at the origin to 4 at (10, 0, 0), then 4 to 1 at (10, 0, 12); round ends.
        depth = tube(space, [(0, 0, 0), (10, 0, 0), (10, 0, 12)], [2, 4, 1])
        np.testing.assert_allclose(depth.ravel(), [-1, 1, 4, 0, 2.5 - 5, 2 - 5], atol=1e-5)

    def test_step_and_bump_by_hand(self) -> None:
        np.testing.assert_allclose(step(np.array([-50.0, 0, 50, 4]), 2), [0, 0.5, 1, 1 / (1 + np.exp(-2))], atol=1e-6)
        np.testing.assert_allclose(bump((np.array([0.0, 3]), 3), (np.array([0.0, 2]), 1)), [1, np.exp(-2.5)])


class TestBlend:
    fields = arrays(float, 5, elements=st.floats(-50, 50))
    radii = st.floats(0.1, 20)

    @given(fields, fields, radii)
    def test_is_a_union_or_a_little_more(self, a: np.ndarray, b: np.ndarray, radius: float) -> None:
        more = blend(a, b, radius) - np.maximum(a, b)
        assert (more >= -1e-9).all()
        assert (more <= radius / 4 + 1e-9).all()
        np.testing.assert_array_equal(more[np.abs(a - b) >= radius], 0)

    @given(fields, fields, radii)
    def test_carve_is_an_intersection_or_a_little_less(self, a: np.ndarray, b: np.ndarray, radius: float) -> None:
        less = np.minimum(a, b) - carve(a, b, radius)
        assert (less >= -1e-9).all()
        assert (less <= radius / 4 + 1e-9).all()
        np.testing.assert_array_equal(less[np.abs(a - b) >= radius], 0)

    @given(fields, fields, radii)
    def test_order_does_not_matter(self, a: np.ndarray, b: np.ndarray, radius: float) -> None:
        np.testing.assert_allclose(blend(a, b, radius), blend(b, a, radius))

    def test_fills_the_seam_by_a_quarter(self) -> None:
        assert blend(np.array(2.0), np.array(2.0), 8.0) == pytest.approx(4)
        assert carve(np.array(2.0), np.array(2.0), 8.0) == pytest.approx(0)
        assert blend(np.array(2.0), np.array(-2.0), 8.0) == pytest.approx(2.5)


poses = st.builds(
    lambda centre, degrees, size: Pose(centre, Rotation.from_euler("xyz", degrees, degrees=True).as_matrix(), size),
    st.tuples(*[st.floats(-8, 8)] * 3),
    st.tuples(*[st.floats(-30, 30)] * 3),
    st.tuples(*[st.floats(0.8, 1.2)] * 3),
)
near = st.tuples(*[st.floats(-25, 25)] * 3)


class TestPose:
    @given(poses, near)
    def test_scanner_undoes_to_head(self, pose: Pose, point: tuple[float, float, float]) -> None:
        there = pose.scanner(point)
        np.testing.assert_allclose(pose.to_head @ (there - pose.centre_mm), point, atol=1e-6)

    def test_by_hand(self) -> None:
        turned = Pose((1.0, 2.0, 3.0), np.array([[0, 1, 0], [-1, 0, 0], [0, 0, 1]]), (2.0, 1.0, 1.0))
        # The scanner's y is the head's x, at half the size.
        np.testing.assert_allclose(turned.to_head @ (0, 4, 0), (2, 0, 0))
        np.testing.assert_allclose(turned.scanner((2, 0, 5)), (1, 6, 8))


class TestSpace:
    @settings(max_examples=30)
    @given(poses, st.lists(near, min_size=1, max_size=3), st.floats(1, 15))
    def test_around_holds_every_point_of_the_balls(
        self, pose: Pose, centres: list[tuple[float, float, float]], radius: float
    ) -> None:
        space = whole(pose=pose)
        part = space.around(*centres, radius_mm=radius)
        in_part = np.zeros(GRID.shape, bool)
        in_part[part.part] = True
        for x, y, z in centres:
            ball = (space.x - x) ** 2 + (space.y - y) ** 2 + (space.z - z) ** 2 <= radius**2
            assert not (ball & ~in_part).any()
        assert part.x.shape == in_part[part.part].shape
        assert min(part.x.shape) >= 2
        np.testing.assert_array_equal(part.y, space.y[part.part])

    @settings(max_examples=30)
    @given(poses, near, st.floats(1, 15))
    def test_pair_holds_both_sides(self, pose: Pose, centre: tuple[float, float, float], radius: float) -> None:
        space = whole(pose=pose)
        part = space.pair(centre, radius_mm=radius)
        in_part = np.zeros(GRID.shape, bool)
        in_part[part.part] = True
        for side in (-1, 1):
            ball = (space.x - side * centre[0]) ** 2 + (space.y - centre[1]) ** 2 + (space.z - centre[2]) ** 2
            assert not ((ball <= radius**2) & ~in_part).any()
        np.testing.assert_array_equal(part.x, np.abs(space.x[part.part]))

    def test_around_leaves_out_the_rest(self) -> None:
        part = whole().around((0, 0, 0), radius_mm=6)
        assert part.part == (slice(8, 15), slice(10, 17), slice(12, 19))

    def test_the_margin_widens_it(self) -> None:
        space = replace(whole(), margin_mm=4.0)
        assert space.around((0, 0, 0), radius_mm=6).part == (slice(6, 17), slice(8, 19), slice(10, 21))

    @pytest.mark.parametrize("far", [(500, 0, 0), (0, -500, 0), (0, 0, 500), (0, 0, -500)])
    def test_around_something_outside_is_still_a_part(self, far: tuple[float, float, float]) -> None:
        assert min(whole().around(far, radius_mm=5).x.shape) >= 2
