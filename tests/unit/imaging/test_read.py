"""Files that are read, and those that are refused because what they say is wrong or not there."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from nnunetv2_cfseg.imaging.read import check_slice_axis, read_geometry, read_volume


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
            read_geometry(file)

    def test_not_of_an_atlas_transform_in_a_nifti(self, tmp_path: Path) -> None:
        file = write_nifti(tmp_path / "a.nii", srow_y=(0.0, -0.5, 1.0), sform_code=4, qform_code=1)
        assert read_geometry(file).spacing_mm == (5, 0.5, 0.5)

    def test_not_of_a_straight_nifti(self, tmp_path: Path) -> None:
        file = write_nifti(tmp_path / "a.nii", srow_y=(0.0, -0.5, 0.0), sform_code=1, qform_code=1)
        assert read_geometry(file).spacing_mm == (5, 0.5, 0.5)

    def test_of_a_tilted_gantry_elsewhere(self, tmp_path: Path) -> None:
        file = write_nrrd(tmp_path / "a.nrrd", "(0.5,0,0) (0,0.5,0) (0,0.8816,5)")
        with pytest.raises(ValueError, match=r"are off by 10 degrees, as with a tilted gantry .*a.nrrd$"):
            read_geometry(file)

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
            check_slice_axis(read_geometry(file), file)

    def test_of_several_volumes(self, tmp_path: Path) -> None:
        sitk.WriteImage(
            sitk.GetImageFromArray(np.zeros((2, 3, 4, 5), np.int16), isVector=False), str(tmp_path / "a.nii")
        )
        with pytest.raises(ValueError, match=r"must be one volume of numbers, got size \[5, 4, 3, 2\]: .*a.nii$"):
            read_geometry(tmp_path / "a.nii")

    def test_of_colours(self, tmp_path: Path) -> None:
        image = sitk.GetImageFromArray(np.zeros((2, 3, 4, 3), np.uint8), isVector=True)
        sitk.WriteImage(image, str(tmp_path / "a.nrrd"))
        with pytest.raises(ValueError, match=r"must be one volume of numbers, got size \(4, 3, 2\) of 3: "):
            read_geometry(tmp_path / "a.nrrd")

    @pytest.mark.parametrize("read", [read_geometry, read_volume])
    def test_of_what_is_no_image(self, tmp_path: Path, read: Callable[[Path], object]) -> None:
        with pytest.raises(ValueError, match=r"a.nii.gz must be a file, and there is none: .*a.nii.gz$"):
            read(tmp_path / "a.nii.gz")
        (tmp_path / "a.nii.gz").write_bytes(b"no image")
        with pytest.raises(ValueError, match=r"cannot be read, .*: .*a.nii.gz$"):
            read(tmp_path / "a.nii.gz")
