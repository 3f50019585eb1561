"""Files and folders become cases; what cannot be one is named."""

from __future__ import annotations

from pathlib import Path

import pytest

from nnunetv2_cfseg.quantify.inputs import default_dataset_json, find_scans


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two cases as ``nnUNetv2_predict`` leaves them, and another one beside the folder."""
    into = tmp_path / "predictions"
    into.mkdir()
    for name in ("b.nii.gz", "a.nii.gz", "dataset.json", "plans.json", ".c.nii.gz"):
        (into / name).touch()
    (tmp_path / "c.nii.gz").touch()
    return into


@pytest.fixture
def images(tmp_path: Path) -> Path:
    into = tmp_path / "images"
    into.mkdir()
    for case in "abc":
        (into / f"{case}_0000.nii.gz").touch()
    return into


def test_folders_and_files_are_taken_in_their_order(folder: Path, tmp_path: Path) -> None:
    scans = find_scans([tmp_path / "c.nii.gz", folder], file_ending=".nii.gz")
    assert [(scan.case, scan.segmentation.name, scan.image) for scan in scans] == [
        ("c", "c.nii.gz", None),
        ("a", "a.nii.gz", None),
        ("b", "b.nii.gz", None),
    ]


def test_images_are_found_by_case(folder: Path, images: Path) -> None:
    scans = find_scans([folder], file_ending=".nii.gz", images=images)
    assert [scan.image for scan in scans] == [images / "a_0000.nii.gz", images / "b_0000.nii.gz"]


def test_one_image_is_that_of_one_case(folder: Path, images: Path) -> None:
    image = images / "a_0000.nii.gz"
    (scan,) = find_scans([folder / "b.nii.gz"], file_ending=".nii.gz", images=image)
    assert scan.image == image
    with pytest.raises(ValueError, match=r"2 cases must be a folder.*a_0000"):
        find_scans([folder], file_ending=".nii.gz", images=image)


def test_dataset_json_is_that_of_the_first_folder(folder: Path, tmp_path: Path) -> None:
    assert default_dataset_json([tmp_path / "c.nii.gz", folder]) == folder / "dataset.json"
    assert default_dataset_json([tmp_path / "c.nii.gz"]) == tmp_path / "dataset.json"
    with pytest.raises(ValueError, match=r"file or a folder of some, and there is none: .*none"):
        default_dataset_json([tmp_path / "none"])


def test_what_is_not_there_is_named(folder: Path, images: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"file or a folder of some, and there is none: .*d\.nii\.gz"):
        find_scans([folder, tmp_path / "d.nii.gz"], file_ending=".nii.gz")
    with pytest.raises(ValueError, match=r"there is none: .*none"):
        find_scans([folder], file_ending=".nii.gz", images=tmp_path / "none")
    (images / "b_0000.nii.gz").unlink()
    with pytest.raises(ValueError, match=r"b_0000\.nii\.gz, and there is none in: .*images"):
        find_scans([folder], file_ending=".nii.gz", images=images)


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"files that end with \.nii\.gz, got none"):
        find_scans([tmp_path], file_ending=".nii.gz")


@pytest.mark.parametrize("name", ["a.nrrd", ".nii.gz"])
def test_a_file_with_another_ending_is_refused(name: str, tmp_path: Path) -> None:
    (tmp_path / name).touch()
    with pytest.raises(ValueError, match=r"named CASE\.nii\.gz, as dataset\.json says: "):
        find_scans([tmp_path / name], file_ending=".nii.gz")


def test_a_case_in_two_places_is_refused(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "a.nii.gz").touch()
    with pytest.raises(ValueError, match=r"named a, .*predictions.a\.nii\.gz and .*a\.nii\.gz; "):
        find_scans([folder, tmp_path / "a.nii.gz"], file_ending=".nii.gz")
    with pytest.raises(ValueError, match="a name of its own"):
        find_scans([folder, folder], file_ending=".nii.gz")
