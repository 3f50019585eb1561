"""Datasets by id and name, their folders, cases and folds."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from nnunetv2_cfseg.nnunet.datasets import PREPROCESSED, RAW, Dataset, dataset_number, find_dataset, new_dataset_folder


@pytest.fixture
def folders(nnunet_folders: SimpleNamespace) -> SimpleNamespace:
    for folder, name in (("raw", "Dataset007_Tiny"), ("raw", "Dataset070_Other"), ("raw", "Dataset0071_Long"),
                         ("preprocessed", "Dataset007_Tiny"), ("preprocessed", "Dataset008_Gone")):  # fmt: skip
        (getattr(nnunet_folders, folder) / name).mkdir()
    (nnunet_folders.raw / "Dataset009_file").touch()
    return nnunet_folders


class TestFind:
    @pytest.mark.parametrize("dataset", [7, "7", "007", "0007", "Dataset007_Tiny"])
    def test_by_id_and_by_name(self, folders: SimpleNamespace, dataset: str | int) -> None:
        found = find_dataset(dataset)
        assert (found.name, found.number) == ("Dataset007_Tiny", "7")
        assert (found.raw, found.preprocessed) == (
            folders.raw / "Dataset007_Tiny", folders.preprocessed / "Dataset007_Tiny",
        )  # fmt: skip

    def test_in_the_folders_that_are_asked_for(self, folders: SimpleNamespace) -> None:
        assert find_dataset(8) == find_dataset("8", [PREPROCESSED]) == Dataset("Dataset008_Gone")
        with pytest.raises(ValueError, match=r"-d must be .* in nnUNet_raw, got '8', and there is no such dataset$"):
            find_dataset(8, [RAW], what="-d")

    @pytest.mark.parametrize(
        "dataset", ["9", "Dataset007_*", "Dataset007", "../raw/Dataset007_Tiny", "", "\u0667", "-7"]
    )
    def test_what_is_none(self, folders: SimpleNamespace, dataset: str) -> None:
        with pytest.raises(ValueError, match=r"and there is no such dataset$"):
            find_dataset(dataset)

    def test_an_id_that_two_have(self, folders: SimpleNamespace) -> None:
        (folders.results / "Dataset007_Tidy").mkdir()
        assert find_dataset(7, [RAW]).name == "Dataset007_Tiny"
        with pytest.raises(ValueError, match=r"which 2 datasets are: Dataset007_Tidy, Dataset007_Tiny$"):
            find_dataset(7)

    def test_folders_that_are_not_set(self, folders: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("nnUNet_results")
        assert find_dataset(7).name == "Dataset007_Tiny"
        with pytest.raises(ValueError, match="nnUNet_results is not set"):
            find_dataset(7, ["nnUNet_results"])


def test_folds_are_the_preprocessed_datasets_before_the_raw_ones(folders: SimpleNamespace) -> None:
    dataset = Dataset("Dataset007_Tiny")
    assert dataset.splits_file is None
    for folder in (dataset.raw, dataset.preprocessed):
        (folder / "splits_final.json").touch()
        assert dataset.splits_file == folder / "splits_final.json"


def test_cases_are_those_with_preprocessed_labels(folders: SimpleNamespace) -> None:
    dataset = Dataset("Dataset007_Tiny")
    (dataset.preprocessed / "dataset.json").write_text(json.dumps({"file_ending": ".nii.gz"}))
    (dataset.preprocessed / "gt_segmentations").mkdir()
    for name in ("b.nii.gz", "a.1.nii.gz", "a.nrrd"):
        (dataset.preprocessed / "gt_segmentations" / name).touch()
    assert dataset.preprocessed_cases == ["a.1", "b"]


@pytest.mark.parametrize("dataset", ["501", "0501", "Dataset501_Name", "Dataset501_9_Name"])
def test_numbers(dataset: str) -> None:
    assert dataset_number(dataset) == "501"


class TestNewFolder:
    def test_is_named_as_nnunet_names_it(self, tmp_path: Path) -> None:
        assert new_dataset_folder(tmp_path, 7, "Phantom") == tmp_path / "Dataset007_Phantom"

    @pytest.mark.parametrize("dataset_id", [0, -1, 1000])
    def test_has_an_id_of_three_digits(self, tmp_path: Path, dataset_id: int) -> None:
        with pytest.raises(ValueError, match=f"must be from 1 to 999, got {dataset_id}$"):
            new_dataset_folder(tmp_path, dataset_id, "Phantom")

    @pytest.mark.parametrize("name", ["", "a/b", "..", "a b"])
    def test_has_a_plain_name(self, tmp_path: Path, name: str) -> None:
        with pytest.raises(ValueError, match="letters, digits, _ and -, got "):
            new_dataset_folder(tmp_path, 7, name)

    def test_shares_its_id_with_no_other(self, tmp_path: Path) -> None:
        for name in ("Dataset007_Phantom", "Dataset008_Other"):
            (tmp_path / name).mkdir()
        (tmp_path / "Dataset007_notes.txt").touch()
        new_dataset_folder(tmp_path, 7, "Phantom")
        with pytest.raises(ValueError, match=r"id 8 is taken by .*Dataset008_Other; "):
            new_dataset_folder(tmp_path, 8, "Phantom")
