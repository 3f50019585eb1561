"""Which image belongs to a case: a file, or the DICOM slices that it was predicted from."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from fixtures.dicom_series import write_dicom

from nnunetv2_cfseg.imaging.case_images import find_case_images, read_case_image


def image(slices: int = 6) -> sitk.Image:
    values = np.arange(slices * 8 * 7, dtype=np.int16).reshape(slices, 8, 7) - 500
    made = sitk.GetImageFromArray(values)
    made.SetSpacing((1.5, 1.5, 3.0))
    made.SetOrigin((-10, 20, 30))
    return made


@pytest.mark.parametrize("name", ["one_0000.nii.gz", "one.nii.gz"])
def test_a_file_is_found(tmp_path: Path, name: str) -> None:
    (tmp_path / name).touch()
    assert find_case_images(["one"], tmp_path, ".nii.gz") == {"one": tmp_path / name}


def test_the_first_channel_goes_before_a_file_without_one(tmp_path: Path) -> None:
    for name in ("one_0000.nii.gz", "one.nii.gz"):
        (tmp_path / name).touch()
    assert find_case_images(["one"], tmp_path, ".nii.gz")["one"].name == "one_0000.nii.gz"


def test_a_segmentation_is_no_image_where_channels_are_needed(tmp_path: Path) -> None:
    (tmp_path / "one.nii.gz").touch()
    with pytest.raises(ValueError, match=r"one_0000\.nii\.gz, and there is none"):
        find_case_images(["one"], tmp_path, ".nii.gz", channel_needed=True)


def test_a_folder_for_each_case_is_found(tmp_path: Path) -> None:
    for number, name in enumerate(("one", "two")):
        write_dicom(tmp_path / name, image(), uid=f"1.2.{number + 1}")
    expected = {name: tmp_path / name for name in ("one", "two")}
    assert find_case_images(["one", "two"], tmp_path, ".nii.gz") == expected


def test_the_folder_of_the_only_case_is_found_whatever_its_name(tmp_path: Path) -> None:
    folder = write_dicom(tmp_path / "DICOM", image())
    assert find_case_images(["anything"], folder, ".nii.gz") == {"anything": folder}
    with pytest.raises(ValueError, match=r"needs an image, a_0000.*DICOM, nor a folder a of DICOM slices"):
        find_case_images(["a", "b"], folder, ".nii.gz")


def test_a_folder_without_slices_is_none(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "notes.txt").write_text("no slice")
    with pytest.raises(ValueError, match="nor a folder one of DICOM slices"):
        find_case_images(["one"], tmp_path, ".nii.gz")


def test_one_file_is_that_of_one_case(tmp_path: Path) -> None:
    file = tmp_path / "scan.nii.gz"
    file.touch()
    assert find_case_images(["one"], file, ".nii.gz") == {"one": file}
    with pytest.raises(ValueError, match=r"2 cases must be a folder.*scan\.nii\.gz"):
        find_case_images(["one", "two"], file, ".nii.gz")


def test_dicom_is_read_as_the_file_it_was_made_from(tmp_path: Path) -> None:
    volume = read_case_image(write_dicom(tmp_path / "one", image()))
    assert np.array_equal(volume.values, sitk.GetArrayFromImage(image()))
    assert volume.geometry.spacing_mm == (3.0, 1.5, 1.5)
    assert volume.geometry.origin_mm == (-10, 20, 30)


def test_of_several_series_the_one_of_as_many_slices_is_read(tmp_path: Path) -> None:
    write_dicom(tmp_path / "one", image(6), uid="1.2.3")
    write_dicom(tmp_path / "one", image(4), uid="1.2.4")
    assert read_case_image(tmp_path / "one", slices=4).values.shape[0] == 4
    assert read_case_image(tmp_path / "one", slices=4, series=1).values.shape[0] == 6
    for slices in (None, 5):
        with pytest.raises(ValueError, match="--series N"):
            read_case_image(tmp_path / "one", slices=slices)
    write_dicom(tmp_path / "one", image(4), uid="1.2.5")
    with pytest.raises(ValueError, match=r"3 DICOM series.*--series N"):
        read_case_image(tmp_path / "one", slices=4)
