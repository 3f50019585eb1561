"""Where voxels lie, and when two grids are one."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given
from hypothesis import strategies as st

from nnunetv2_cfseg.imaging.geometry import VolumeGeometry, corner_distance, geometry_of, grid_difference
from nnunetv2_cfseg.imaging.read import read_volume

GridOf = Callable[..., VolumeGeometry]


class TestVolumeGeometry:
    def test_positions_are_those_of_simpleitk(self, make_grid: GridOf, tilted: tuple[float, ...]) -> None:
        grid = make_grid((4, 5, 6), direction=tilted)
        image = grid.image_of(np.zeros((4, 5, 6), np.int16))
        for z, y, x in ((0, 0, 0), (3, 4, 5), (1, 2, 0)):
            np.testing.assert_allclose(grid.position_mm((z, y, x)), image.TransformIndexToPhysicalPoint((x, y, z)))
        indices = np.array([[0, 0, 0], [3, 0, 5], [1, 4, 2]])
        expected = [image.TransformIndexToPhysicalPoint(index[::-1].tolist()) for index in indices]
        np.testing.assert_allclose(grid.position_mm(indices), expected)

    @given(axes=st.sets(st.sampled_from([0, 1, 2])))
    def test_a_flip_keeps_every_voxel_where_it_is(self, make_grid: GridOf, axes: set[int]) -> None:
        grid = make_grid((4, 5, 6), direction=(-1.0, 0.0, 0.0, 0.0, -0.96, 0.28, 0.0, 0.28, 0.96))
        flipped = grid.flipped(axes)
        for index in np.ndindex(2, 3, 2):
            there = [
                n - 1 - i if axis in axes else i for axis, (i, n) in enumerate(zip(index, grid.shape, strict=True))
            ]
            np.testing.assert_allclose(flipped.position_mm(there), grid.position_mm(index), atol=1e-12)
        again = flipped.flipped(axes)
        np.testing.assert_allclose(again.origin_mm, grid.origin_mm, atol=1e-12)
        assert again.direction == grid.direction

    def test_a_thick_slice_lies_in_the_middle_of_its_thin_ones(self, make_grid: GridOf) -> None:
        grid = make_grid((12, 2, 2), (1.5, 1.0, 1.0), origin_mm=(0.0, 0.0, 10.0))
        thick = grid.with_slices(0, 4.5, 4)
        assert thick.origin_mm == (0.0, 0.0, 11.5)  # of 10, 11.5 and 13
        assert thick.spacing_mm == (4.5, 1.0, 1.0)
        assert thick.shape == (4, 2, 2)
        np.testing.assert_allclose(thick.position_mm((3, 0, 0)), grid.position_mm((10, 0, 0)))

    @given(factor=st.integers(1, 7), first=st.integers(0, 9))
    def test_a_slab_is_centred_on_its_slices(self, make_grid: GridOf, factor: int, first: int) -> None:
        grid = make_grid((20, 2, 2), direction=(-1.0, 0.0, 0.0, 0.0, -0.96, 0.28, 0.0, 0.28, 0.96))
        slab = grid.with_slices(first, factor * grid.spacing_mm[0], 1)
        centers = [grid.position_mm((first + k, 0, 0)) for k in range(factor)]
        np.testing.assert_allclose(slab.origin_mm, np.mean(centers, axis=0))

    def test_a_file_gives_its_grid_back(self, make_grid: GridOf, write: Any, tilted: tuple[float, ...]) -> None:
        grid = make_grid((4, 5, 6), direction=tilted)
        values = np.arange(120).reshape(4, 5, 6)
        for ending, digits in ((".nrrd", 1e-9), (".nii.gz", 1e-5)):
            file = write(values.astype(np.int16), grid, ending=ending)
            volume = read_volume(file)
            read = volume.geometry
            assert read.shape == grid.shape
            for name in ("spacing_mm", "origin_mm", "direction"):
                np.testing.assert_allclose(getattr(read, name), getattr(grid, name), atol=digits)
            np.testing.assert_array_equal(volume.values, values)

    def test_knows_where_the_head_is(self, make_grid: GridOf) -> None:
        assert make_grid((4, 5, 6)).ascends
        assert not make_grid((4, 5, 6)).flipped([0]).ascends

    @given(axes=st.permutations([0, 1, 2]))
    def test_a_transposed_grid_keeps_every_voxel_where_it_is(self, make_grid: GridOf, axes: list[int]) -> None:
        grid = make_grid((4, 5, 6), (1.0, 2.0, 3.0), direction=(-1.0, 0.0, 0.0, 0.0, -0.96, 0.28, 0.0, 0.28, 0.96))
        turned = grid.transposed(axes)
        for index in ((0, 0, 0), (3, 4, 5), (1, 2, 3)):
            there = [index[axis] for axis in axes]
            np.testing.assert_allclose(turned.position_mm(there), grid.position_mm(index), atol=1e-12)
        assert turned.shape == tuple(grid.shape[axis] for axis in axes)

    def test_has_the_volume_of_a_voxel(self, make_grid: GridOf) -> None:
        assert make_grid((4, 5, 6), (3.0, 2.0, 0.5)).voxel_ml == pytest.approx(0.003)

    def test_has_its_centre_between_its_outermost_voxels(self, make_grid: GridOf) -> None:
        assert make_grid((4, 5, 7), (3.0, 2.0, 1.0)).centre_mm.tolist() == [-12.5 + 3, 30 + 4, 101.25 + 4.5]

    @pytest.mark.parametrize(("order", "axis"), [((0, 1, 2), 0), ((0, 2, 1), 1), ((2, 1, 0), 2)])
    def test_finds_the_axis_across_axial_slices(
        self, make_grid: GridOf, tilted: tuple[float, ...], order: tuple[int, ...], axis: int
    ) -> None:
        image = make_grid((4, 5, 6), direction=tilted).image_of(np.zeros((4, 5, 6), np.uint8))
        assert geometry_of(sitk.PermuteAxes(image, order)).slice_axis == axis

    def test_gives_a_slice_the_height_of_its_middle(self, make_grid: GridOf, tilted: tuple[float, ...]) -> None:
        image = make_grid((4, 5, 7), direction=tilted).image_of(np.zeros((4, 5, 7), np.uint8))
        middle = image.TransformContinuousIndexToPhysicalPoint((3.0, 2.0, 1.0))
        assert geometry_of(image).slice_z_mm(1) == pytest.approx(middle[2])
        assert geometry_of(sitk.Flip(image, (True, True, False))).slice_z_mm(1) == pytest.approx(middle[2])


class TestOneGrid:
    def test_a_grid_is_itself_also_after_a_file_has_rounded_it(self, make_grid: GridOf) -> None:
        grid = make_grid((400, 512, 512), (0.625, 0.488281, 0.488281))
        rounded = make_grid((400, 512, 512), (0.62500001, 0.4882813, 0.4882813), origin_mm=(-12.5001, 30.0, 101.25))
        assert grid_difference(grid, grid) is None
        assert grid_difference(rounded, grid) is None

    @pytest.mark.parametrize(
        ("change", "word"),
        [
            ({"shape": (4, 5, 7)}, r"size \(4, 5, 6\) \(z, y, x\), got \(4, 5, 7\)"),
            ({"spacing_mm": (2.0, 0.7, 0.9)}, r"spacing \(1, 0.7, 0.9\) mm .*got \(2, "),
            ({"spacing_mm": (1.02, 0.7, 0.9)}, "spacing .*got .1.02"),
            ({"origin_mm": (-12.5, 30.0, 111.25)}, "origin .*101.25.*, got .*111.25"),
            ({"origin_mm": (-12.5, 30.0, 101.36)}, "origin .*got .*101.36"),
            ({"direction": (-1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)}, "storage order LPS, got RPS"),
            ({"direction": (1.0, 0.0, 0.0, 0.0, 0.96, 0.28, 0.0, -0.28, 0.96)}, "direction .*got .*0.28"),
        ],
    )
    def test_what_differs_is_named(self, make_grid: GridOf, change: dict[str, Any], word: str) -> None:
        grid = make_grid((4, 5, 6))
        other = VolumeGeometry(**{**vars(grid), **change})
        difference = grid_difference(other, grid)
        assert difference is not None
        assert re.search(word, difference), difference

    @given(shift=st.floats(0, 0.2), axis=st.integers(0, 2))
    def test_a_shift_counts_in_voxels(self, make_grid: GridOf, shift: float, axis: int) -> None:
        grid = make_grid((4, 5, 6), direction=(-1.0, 0.0, 0.0, 0.0, -0.96, 0.28, 0.0, 0.28, 0.96))
        moved = [shift if a == axis else 0 for a in range(3)]
        right, back, up = grid.position_mm(moved).tolist()
        other = VolumeGeometry(grid.shape, grid.spacing_mm, (right, back, up), grid.direction)
        assert corner_distance(other, grid) == pytest.approx(shift, abs=1e-9)
        assert (grid_difference(other, grid) is None) == (corner_distance(other, grid) <= 0.05)

    def test_an_image_has_its_grid(self, make_grid: GridOf, tilted: tuple[float, ...]) -> None:
        grid = make_grid((4, 5, 6), direction=tilted)
        assert geometry_of(grid.image_of(np.zeros((4, 5, 6)))) == grid
