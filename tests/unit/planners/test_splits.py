"""Folds of a raw dataset: looked at by us, copied by nnU-Net's planner."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from nnunetv2_cfseg.planners.plan_and_preprocess import plan_and_preprocess
from nnunetv2_cfseg.planners.splits import check_splits

CASES = [f"case_{i}" for i in range(4)]
FOLDS = [{"train": CASES[:2], "val": CASES[2:]}, {"train": CASES[2:], "val": CASES[:2]}]


@pytest.fixture
def folders(tmp_path: Path) -> SimpleNamespace:
    """A raw dataset with folds, and a preprocessed one without."""
    folders = SimpleNamespace(raw=tmp_path / "raw", preprocessed=tmp_path / "preprocessed")
    folders.raw.mkdir()
    write(folders.raw, FOLDS)
    return folders


def write(folder: Path, folds: Any) -> None:
    folder.mkdir(exist_ok=True)
    (folder / "splits_final.json").write_text(json.dumps(folds))


class TestCheck:
    def test_accepts_folds_of_the_datasets_cases(self, folders: SimpleNamespace) -> None:
        check_splits(folders.raw, folders.preprocessed, CASES)
        assert not folders.preprocessed.exists()

    def test_accepts_a_dataset_without_folds(self, folders: SimpleNamespace) -> None:
        (folders.raw / "splits_final.json").unlink()
        write(folders.preprocessed, "anything")
        check_splits(folders.raw, folders.preprocessed, CASES)

    @pytest.mark.parametrize("part", ["train", "val"])
    def test_refuses_an_unknown_case(self, folders: SimpleNamespace, part: str) -> None:
        write(folders.raw, [FOLDS[0], {**FOLDS[1], part: ["case_0", "case_9"]}])
        with pytest.raises(ValueError, match=r"^unknown case 'case_9' in a fold; .*raw/splits_"):
            check_splits(folders.raw, folders.preprocessed, CASES)

    @pytest.mark.parametrize(
        "folds",
        [{"train": [], "val": []}, [{"train": []}], [["case_0"]], 3, [{"train": [[]], "val": []}]],
    )
    def test_refuses_what_is_no_list_of_folds(self, folders: SimpleNamespace, folds: Any) -> None:
        write(folders.raw, folds)
        with pytest.raises(
            ValueError, match=r"^folds must be a JSON list of train and val, .*: .*raw/splits_final.json$"
        ):
            check_splits(folders.raw, folders.preprocessed, CASES)

    def test_refuses_what_is_no_json(self, folders: SimpleNamespace) -> None:
        (folders.raw / "splits_final.json").write_text("[{")
        with pytest.raises(ValueError, match=r"^folds must be a JSON list"):
            check_splits(folders.raw, folders.preprocessed, CASES)

    @pytest.mark.parametrize(
        "folds", [FOLDS, [*FOLDS, FOLDS[0]], [{k: v[::-1] for k, v in fold.items()} for fold in FOLDS]]
    )
    def test_accepts_the_same_folds_and_more_in_the_preprocessed_dataset(
        self, folders: SimpleNamespace, folds: Any
    ) -> None:
        write(folders.preprocessed, folds)
        check_splits(folders.raw, folders.preprocessed, CASES)

    @pytest.mark.parametrize("folds", [FOLDS[:1], FOLDS[::-1], []])
    def test_refuses_others_in_the_preprocessed_dataset(self, folders: SimpleNamespace, folds: Any) -> None:
        write(folders.preprocessed, folds)
        with pytest.raises(ValueError, match=r"remove one of the files: .*preprocessed/splits_.*raw/splits_"):
            check_splits(folders.raw, folders.preprocessed, CASES)


class TestPlanning:
    @pytest.fixture
    def dataset(
        self, nnunet_folders: SimpleNamespace, write_raw_dataset: Callable[..., Path], threads_for_processes: None
    ) -> SimpleNamespace:
        raw = write_raw_dataset(nnunet_folders.raw, "Dataset901_Phantom")
        write(raw, FOLDS)
        return SimpleNamespace(raw=raw, preprocessed=nnunet_folders.preprocessed / "Dataset901_Phantom")

    def plan(self) -> None:
        plan_and_preprocess(
            [901], gpu_memory_target_gb=1, num_processes_fingerprint=1, preprocess=False, progress=False
        )

    def test_copies_the_folds(self, dataset: SimpleNamespace) -> None:
        self.plan()
        copied = (dataset.preprocessed / "splits_final.json").read_bytes()
        assert copied == (dataset.raw / "splits_final.json").read_bytes()

    def test_keeps_folds_that_are_there(self, dataset: SimpleNamespace) -> None:
        write(dataset.preprocessed, [*FOLDS, FOLDS[0]])
        self.plan()
        assert json.loads((dataset.preprocessed / "splits_final.json").read_text()) == [*FOLDS, FOLDS[0]]

    def test_refuses_an_unknown_case_before_anything_is_written(self, dataset: SimpleNamespace) -> None:
        write(dataset.raw, [{"train": ["case_0"], "val": ["case_9"]}])
        with pytest.raises(ValueError, match="unknown case 'case_9'"):
            self.plan()
        assert not dataset.preprocessed.exists()
