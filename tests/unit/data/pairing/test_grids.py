"""Grids: where voxels lie, and files whose geometry no pair can have."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given
from hypothesis import strategies as st

from nnunetv2_cfseg.data.pairing.grids import Grid, read_grid, read_values

GridOf = Callable[..., Grid]


class TestGrid:
    def test_positions_are_those_of_simpleitk(self, make_grid: GridOf, tilted: tuple[float, ...]) -> None:
        grid = make_grid((4, 5, 6), direction=tilted)
        image = grid.place(np.zeros((4, 5, 6), np.int16))
        for z, y, x in ((0, 0, 0), (3, 4, 5), (1, 2, 0)):
            np.testing.assert_allclose(grid.position_mm((z, y, x)), image.TransformIndexToPhysicalPoint((x, y, z)))

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
            read = read_grid(file)
            assert read.shape == grid.shape
            for name in ("spacing_mm", "origin_mm", "direction"):
                np.testing.assert_allclose(getattr(read, name), getattr(grid, name), atol=digits)
            np.testing.assert_array_equal(read_values(file), values)

    def test_knows_where_the_head_is(self, make_grid: GridOf) -> None:
        assert make_grid((4, 5, 6)).ascends
        assert not make_grid((4, 5, 6)).flipped([0]).ascends


def write_nrrd(file: Path, directions: str) -> Path:
    """A NRRD file with these space directions: SimpleITK writes none that are sheared."""
    sitk.WriteImage(sitk.GetImageFromArray(np.zeros((4, 5, 6), np.int16)), str(file))
    content = file.read_bytes()
    file.write_bytes(re.sub(rb"space directions: [^\n]*", f"space directions: {directions}".encode(), content))
    return file


def write_nifti(file: Path, *, srow_y: tuple[float, float, float], sform_code: int, qform_code: int) -> Path:
    """A NIfTI of 0.5 x 0.5 x 5 mm whose qform is straight and whose sform has this second row."""
    image = sitk.GetImageFromArray(np.zeros((4, 5, 6), np.int16))
    image.SetSpacing((0.5, 0.5, 5.0))
    sitk.WriteImage(image, str(file))
    content = bytearray(file.read_bytes())
    content[252:256] = np.array([qform_code, sform_code], "<i2").tobytes()
    rows = np.array([[-0.5, 0, 0, 0], [*srow_y, 0], [0, 0, 5, 0]], "<f4")
    content[280:328] = rows.tobytes()
    file.write_bytes(bytes(content))
    return file


class TestRefusals:
    @pytest.mark.parametrize("degrees", [0.1, 5, 20])
    @pytest.mark.parametrize("qform_code", [0, 1])
    def test_of_a_tilted_gantry_in_a_nifti(self, tmp_path: Path, degrees: float, qform_code: int) -> None:
        """SimpleITK reads the sheared sform's straight qform, and so drops the tilt without a word."""
        sheared = (0.0, -0.5, 5 * np.tan(np.radians(degrees)))
        file = write_nifti(tmp_path / "a.nii", srow_y=sheared, sform_code=1, qform_code=qform_code)
        with pytest.raises(ValueError, match=r"must be at right angles, and are .*tilted gantry.*: .*a.nii$"):
            read_grid(file)

    def test_not_of_an_atlas_transform_in_a_nifti(self, tmp_path: Path) -> None:
        file = write_nifti(tmp_path / "a.nii", srow_y=(0.0, -0.5, 1.0), sform_code=4, qform_code=1)
        assert read_grid(file).spacing_mm == (5, 0.5, 0.5)

    def test_not_of_a_straight_nifti(self, tmp_path: Path) -> None:
        file = write_nifti(tmp_path / "a.nii", srow_y=(0.0, -0.5, 0.0), sform_code=1, qform_code=1)
        assert read_grid(file).spacing_mm == (5, 0.5, 0.5)

    def test_of_a_tilted_gantry_elsewhere(self, tmp_path: Path) -> None:
        file = write_nrrd(tmp_path / "a.nrrd", "(0.5,0,0) (0,0.5,0) (0,0.8816,5)")
        with pytest.raises(ValueError, match=r"are off by 10 degrees, as with a tilted gantry .*a.nrrd$"):
            read_grid(file)

    @pytest.mark.parametrize(
        ("directions", "runs"),
        [
            ("(0,1,0) (0,0,1) (1,0,0)", "from right to left"),
            ("(1,0,0) (0,0,-1) (0,1,0)", "from front to back"),
        ],
    )
    def test_of_slices_across_the_patient(self, tmp_path: Path, directions: str, runs: str) -> None:
        file = write_nrrd(tmp_path / "a.nrrd", directions)
        with pytest.raises(
            ValueError, match=f"slices must follow .* from feet to head, .* and run {runs} along .*nrrd$"
        ):
            read_grid(file)

    def test_of_several_volumes(self, tmp_path: Path) -> None:
        sitk.WriteImage(
            sitk.GetImageFromArray(np.zeros((2, 3, 4, 5), np.int16), isVector=False), str(tmp_path / "a.nii")
        )
        with pytest.raises(ValueError, match=r"must be one volume of numbers, got size \(5, 4, 3, 2\) of 1: .*a.nii$"):
            read_grid(tmp_path / "a.nii")

    def test_of_colours(self, tmp_path: Path) -> None:
        image = sitk.GetImageFromArray(np.zeros((2, 3, 4, 3), np.uint8), isVector=True)
        sitk.WriteImage(image, str(tmp_path / "a.nrrd"))
        with pytest.raises(ValueError, match=r"must be one volume of numbers, got size \(4, 3, 2\) of 3: "):
            read_grid(tmp_path / "a.nrrd")

    @pytest.mark.parametrize("content", [None, b"no image"])
    def test_of_what_is_no_image(self, tmp_path: Path, content: bytes | None) -> None:
        if content is not None:
            (tmp_path / "a.nii.gz").write_bytes(content)
        with pytest.raises(ValueError, match=r"cannot be read, .*: .*a.nii.gz$"):
            read_grid(tmp_path / "a.nii.gz")
        with pytest.raises(ValueError, match=r"cannot be read, .*: .*a.nii.gz$"):
            read_values(tmp_path / "a.nii.gz")
