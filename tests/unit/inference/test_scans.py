"""Finding and reading scans, and what is refused."""

from __future__ import annotations

import gzip
import os
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk

from nnunetv2_cfseg.inference.scans import Case, find_cases, read_scan

Write = Callable[..., Path]


def read(file: Path, *names: str):
    return read_scan(Case("case", (file,)), names or ("CT",))


def test_a_folder_holds_cases_of_channels(write_scan: Write) -> None:
    for name in ("b_0000.nii.gz", "b_0001.nii.gz", "a_0001.nii.gz", "a_0000.nii.gz", ".hidden_0000.nii.gz"):
        folder = write_scan(name).parent
    cases = find_cases(folder, file_ending=".nii.gz", channels=2)
    assert [(case.name, [file.name[-11:-7] for file in case.files]) for case in cases] == [
        ("a", ["0000", "0001"]), ("b", ["0000", "0001"]),
    ]  # fmt: skip
    write_scan("c_0001.nii.gz")
    with pytest.raises(ValueError, match=r"takes 2 channels, numbered from 0000, but c has 0001"):
        find_cases(folder, file_ending=".nii.gz", channels=2)


def test_a_fourth_axis_of_one_is_none(tmp_path: Path) -> None:
    file = tmp_path / "a_0000.nii.gz"
    nib.save(nib.Nifti1Image(np.full((4, 5, 6, 1), -900, np.int16), np.eye(4)), file)
    assert read(file, "T1").channels[0].shape == (6, 5, 4)


def test_one_file_is_one_case(write_scan: Write) -> None:
    file = write_scan("head_0000.nii.gz")
    assert find_cases(file, file_ending=".nii.gz", channels=1) == [Case("head", (file,))]
    bare = file.with_name("bare")
    bare.write_bytes(file.read_bytes())
    assert find_cases(bare, file_ending=".nii.gz", channels=1)[0].name == "bare"
    other = write_scan("head.mha")
    assert find_cases(other, file_ending=".nii.gz", channels=1) == [Case("head", (other,))]
    with pytest.raises(ValueError, match="one file is one channel, but the model takes 2"):
        find_cases(file, file_ending=".nii.gz", channels=2)


def test_a_folder_without_scans_is_refused(tmp_path: Path, write_scan: Write) -> None:
    with pytest.raises(ValueError, match=r"must hold scans named CASE_0000.nii.gz, and there are none"):
        find_cases(tmp_path, file_ending=".nii.gz", channels=2)
    with pytest.raises(ValueError, match=r"must hold scans or DICOM slices, and there are none"):
        find_cases(tmp_path, file_ending=".nii.gz", channels=1)
    with pytest.raises(ValueError, match="must be a folder of scans or a scan, and there is none"):
        find_cases(tmp_path / "nowhere", file_ending=".nii.gz", channels=1)
    file = write_scan("head.nii.gz")
    with pytest.raises(ValueError, match=r"must be named CASE_0000.nii.gz"):
        find_cases(file.parent, file_ending=".nii.gz", channels=1)


@pytest.mark.parametrize("name", ["a_0000.nii.gz", "a_0000.nii", "a_0000.mha", "a_0000.nrrd"])
def test_voxels_are_simpleitks(name: str, write_scan: Write) -> None:
    file = write_scan(name)
    scan = read(file)
    assert np.array_equal(scan.channels[0], sitk.GetArrayFromImage(sitk.ReadImage(str(file))))
    assert scan.channels[0].dtype == np.int16
    assert scan.geometry.spacing_mm == (2.0, 1.5, 1.5)


def test_scaled_voxels_are_float32(write_scan: Write) -> None:
    file = write_scan()
    image = nib.load(file, mmap=False)
    scaled = nib.Nifti1Image(np.asanyarray(image.dataobj), image.affine, image.header)
    scaled.header.set_slope_inter(0.5, -10)
    nib.save(scaled, file)
    (values,) = read(file, "T1").channels
    assert values.dtype == np.float32
    np.testing.assert_allclose(values, sitk.GetArrayFromImage(sitk.ReadImage(str(file))), atol=1e-4)


@pytest.mark.parametrize("ending", [".nii.gz", ".nii", ".mha"])
def test_a_truncated_scan_is_refused(ending: str, write_scan: Write) -> None:
    file = write_scan(f"a_0000{ending}", shape=(20, 30, 30))
    os.truncate(file, file.stat().st_size * 2 // 3)
    with pytest.raises(ValueError, match=f"truncated.*: {file}"):
        read(file)


def test_what_is_no_ct_is_refused(write_scan: Write) -> None:
    picture = write_scan("a_0000.nii.gz", dtype="uint8")
    with pytest.raises(ValueError, match="a CT must be in Hounsfield units"):
        read(picture)
    assert read(picture, "T1").channels[0].dtype == np.uint8


@pytest.mark.parametrize("order", ["LPS", "RAS", "LAS", "RPI", "PSL", "SLP"])
def test_a_scan_is_turned_to_the_models_order(order: str, write_scan: Write) -> None:
    straight = sitk.ReadImage(str(write_scan("straight_0000.nii.gz")))
    file = write_scan("a_0000.nii.gz")
    sitk.WriteImage(sitk.DICOMOrient(straight, order), str(file))
    scan = read_scan(Case("a", (file,)), ("CT",), "LPS")
    assert scan.geometry.order == order
    np.testing.assert_array_equal(scan.channels[0], sitk.GetArrayFromImage(straight))
    assert scan.spacing_mm == (2.0, 1.5, 1.5)
    in_file = sitk.GetArrayFromImage(sitk.ReadImage(str(file)))
    np.testing.assert_array_equal(scan.turn.undo(scan.channels[0]), in_file)


def test_four_dimensions_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "a_0000.nii.gz"
    nib.save(nib.Nifti1Image(np.zeros((4, 4, 4, 2), np.int16), np.eye(4)), file)
    with pytest.raises(ValueError, match="must be one volume of numbers"):
        read(file)


def test_channels_must_be_those_of_the_model_on_one_grid(write_scan: Write) -> None:
    first, second = write_scan("a_0000.nii.gz"), write_scan("a_0001.nii.gz", spacing_mm=(2.0, 1.5, 1.6))
    with pytest.raises(ValueError, match=r"takes 2 channels \(CT, T1\), but there are 1 files of case"):
        read(first, "CT", "T1")
    with pytest.raises(ValueError, match=f"must be on one grid, .* spacing .*got .*1.6.*: {second}"):
        read_scan(Case("a", (first, second)), ("CT", "T1"))


def test_what_is_no_image_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "a_0000.nii.gz"
    file.write_bytes(gzip.compress(b"nothing"))
    with pytest.raises(ValueError, match="cannot be read"):
        read(file)
