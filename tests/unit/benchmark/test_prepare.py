"""Plans of a benchmark, and the scans that a cell is scored on."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from nnunetv2.utilities.crossval_split import generate_crossval_split

from nnunetv2_cfseg.benchmark.matrix import Matrix
from nnunetv2_cfseg.benchmark.prepare import (
    dataset_name,
    is_preprocessed,
    prepare,
    write_changed_plans,
    write_nnunet_splits,
)
from nnunetv2_cfseg.benchmark.row import Row
from nnunetv2_cfseg.benchmark.scans import find_scans
from nnunetv2_cfseg.nnunet.datasets import Dataset

ROW = Row("ours", "T_timed", planner="CFSegPlanner")
MATRIX = Matrix((ROW, Row("theirs", "U_timed")), ("Dataset007_Tiny",), budget_s=1, gpu_memory_target_gb=1)
CELL = next(MATRIX.cells())
DATASET = Dataset("Dataset007_Tiny")


def write(file: Path, content: Any = "") -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(content if isinstance(content, str) else json.dumps(content))
    return file


@pytest.fixture
def raw(nnunet_folders: SimpleNamespace) -> Path:
    folder = nnunet_folders.raw / "Dataset007_Tiny"
    write(folder / "dataset.json", {"file_ending": ".nii.gz"})
    for case in ("a.1", "b"):
        write(folder / "imagesTr" / f"{case}_0000.nii.gz")
        write(folder / "labelsTr" / f"{case}.nii.gz")
    return folder


@pytest.fixture
def preprocessed(nnunet_folders: SimpleNamespace) -> Path:
    folder = nnunet_folders.preprocessed / "Dataset007_Tiny"
    write(folder / "dataset.json", {"file_ending": ".nii.gz"})
    write(folder / "splits_final.json", [{"train": ["b"], "val": ["a.1"]}])
    configurations = {"base": {"data_identifier": "data"}, "3d_fullres": {"inherits_from": "base", "batch_size": 2,
        "architecture": {"arch_kwargs": {"depth": 3}}}}  # fmt: skip
    write(folder / "P.json", {"plans_name": "P", "configurations": configurations})
    for case in ("a.1", "b"):
        write(folder / "gt_segmentations" / f"{case}.nii.gz")
        write(folder / "data" / f"{case}.pkl")
    return folder


def test_datasets_by_id_and_name(raw: Path) -> None:
    assert dataset_name("7") == dataset_name("Dataset007_Tiny") == "Dataset007_Tiny"
    for other in ("8", "Dataset008_Other"):
        with pytest.raises(ValueError, match=f"one dataset in nnUNet_raw, got '{other}', and there is no such dataset"):
            dataset_name(other)


def test_data_must_be_whole(preprocessed: Path) -> None:
    assert is_preprocessed(DATASET, "P", "3d_fullres")
    assert not is_preprocessed(DATASET, "Q", "3d_fullres")
    with pytest.raises(ValueError, match=r"no configuration 2d .* base, 3d_fullres: "):
        is_preprocessed(DATASET, "P", "2d")
    (preprocessed / "data" / "a.1.pkl").unlink()
    assert not is_preprocessed(DATASET, "P", "3d_fullres")


def test_changes_are_written_as_other_plans(preprocessed: Path) -> None:
    changes = {"architecture.arch_kwargs.depth": 1, "architecture.arch_kwargs.norm": "post", "batch_size": 4}
    write_changed_plans(preprocessed, "P", "P_other", "3d_fullres", changes)
    plans = json.loads((preprocessed / "P_other.json").read_text())
    assert plans["plans_name"] == "P_other"
    changed = plans["configurations"]["3d_fullres"]
    assert changed == {"inherits_from": "base", "batch_size": 4,
        "architecture": {"arch_kwargs": {"depth": 1, "norm": "post"}}}  # fmt: skip
    assert json.loads((preprocessed / "P.json").read_text())["configurations"]["3d_fullres"]["batch_size"] == 2


@pytest.mark.parametrize("planned", ["cut_share", "border_fraction"])
@pytest.mark.parametrize("changed", ["cut_share", "border_fraction"])
def test_changes_may_have_a_settings_old_name(preprocessed: Path, planned: str, changed: str) -> None:
    write(preprocessed / "P.json", {"configurations": {"3d_fullres": {"cfseg": {planned: 0.25, "preset": "default"}}}})
    write_changed_plans(preprocessed, "P", "P_other", "3d_fullres", {f"cfseg.{changed}": 0.0})
    plans = json.loads((preprocessed / "P_other.json").read_text())
    assert plans["configurations"]["3d_fullres"]["cfseg"] == {"border_fraction": 0.0, "preset": "default"}


@pytest.mark.parametrize("path", ["depth", "architecture.depth", "cfseg.blocks_per_crop", "batch_size.depth"])
def test_changes_must_name_a_setting(preprocessed: Path, path: str) -> None:
    with pytest.raises(ValueError, match=f"a change must name a setting of the plans, got {path}: .*P.json"):
        write_changed_plans(preprocessed, "P", "P_other", "3d_fullres", {path: 1})
    assert not (preprocessed / "P_other.json").exists()


def test_each_planner_has_its_commands(raw: Path, preprocessed: Path) -> None:
    ran: list[list[str]] = []
    runner: Any = SimpleNamespace(run=lambda command, **_: ran.append(list(command)), folder=raw)
    prepare(MATRIX, runner, processes=2)
    assert [command[0] for command in ran] == [
        "cfseg", "nnUNetv2_extract_fingerprint", "nnUNetv2_plan_experiment", "nnUNetv2_preprocess",
    ]  # fmt: skip
    assert ran[0][ran[0].index("-overwrite_plans_name") + 1] == "nnUNetCFSegPlans_1GB"
    assert ran[2][ran[2].index("-gpu_memory_target") + 1] == "1"


def test_rows_of_two_configurations_share_plans(raw: Path, preprocessed: Path) -> None:
    ran: list[list[str]] = []

    def run(command: list[str], **_: Any) -> None:
        ran.append(command)
        if command[0] == "nnUNetv2_plan_experiment":
            write(preprocessed / "nnUNetPlans_1GB.json", {"configurations": {
                name: {"data_identifier": f"data_{name}"} for name in ("2d", "3d_fullres")}})  # fmt: skip

    runner: Any = SimpleNamespace(run=run, folder=raw)
    prepare(replace(MATRIX, rows=(MATRIX.rows[1], Row("slices", "U_timed", configuration="2d"))), runner, processes=2)
    assert [command[0].removeprefix("nnUNetv2_") for command in ran] == [
        "extract_fingerprint", "plan_experiment", "preprocess", "preprocess",
    ]  # fmt: skip
    assert [command[command.index("-c") + 1] for command in ran if "-c" in command] == ["3d_fullres", "2d"]


def test_plans_that_a_row_names_are_nobody_elses_to_make(raw: Path, preprocessed: Path) -> None:
    ran: list[list[str]] = []
    runner: Any = SimpleNamespace(run=lambda command, **_: ran.append(list(command)), folder=raw)
    prepare(replace(MATRIX, rows=(replace(ROW, planner="", plans="P"),)), runner, processes=2)
    with pytest.raises(ValueError, match=r"plans Q of row ours are not there and preprocessed"):
        prepare(replace(MATRIX, rows=(replace(ROW, planner="", plans="Q"),)), runner, processes=2)
    assert not ran
    prepare(replace(MATRIX, rows=(replace(ROW, plans="Q"),)), runner, processes=2)
    assert [command[0] for command in ran] == ["cfseg"]


def names(folder: Path) -> list[str]:
    return sorted(file.name for file in folder.iterdir())


def test_the_fold_is_scored_without_a_test_set(raw: Path, preprocessed: Path, tmp_path: Path) -> None:
    scans = find_scans(CELL, tmp_path)
    assert (names(scans.images), names(scans.truth)) == (["a.1_0000.nii.gz"], ["a.1.nii.gz"])
    assert (scans.cases, scans.words) == (1, "validation cases of fold 0, labelsTr")
    assert find_scans(CELL, tmp_path) == scans


def test_a_test_set_is_scored_on_thin_labels_where_there_are_some(raw: Path, tmp_path: Path) -> None:
    for case in "cd":
        write(raw / "imagesTs" / f"{case}_0000.nii.gz")
    write(raw / "labelsTs" / "c.nii.gz")
    scans = find_scans(CELL, tmp_path)
    assert (names(scans.images), scans.cases, scans.words) == (["c_0000.nii.gz"], 1, "the test set, labelsTs")
    write(raw / "labelsTs_thin" / "c.nii.gz")
    (tmp_path / "other").mkdir()
    thin = find_scans(CELL, tmp_path / "other")
    assert thin.words == "the test set, labelsTs_thin"
    assert (thin.truth / "c.nii.gz").resolve().parent.name == "labelsTs_thin"


@pytest.mark.parametrize("fold", ["1", "all"])
def test_without_a_fold_there_is_nothing_to_score(raw: Path, preprocessed: Path, tmp_path: Path, fold: str) -> None:
    with pytest.raises(ValueError, match=f"no fold {fold} among the 1 in the splits: "):
        find_scans(replace(CELL, fold=fold), tmp_path)


def test_folds_are_nnunets(nnunet_folders: SimpleNamespace) -> None:
    folder = nnunet_folders.preprocessed / "Dataset007_Tiny"
    write(folder / "dataset.json", {"file_ending": ".nii.gz"})
    cases = [f"case_{number}" for number in range(7)]
    for case in cases:
        write(folder / "gt_segmentations" / f"{case}.nii.gz")
    write_nnunet_splits(DATASET)
    folds = json.loads((folder / "splits_final.json").read_text())
    assert folds == generate_crossval_split(cases, seed=12345, n_splits=5)
    write(folder / "splits_final.json", [{"train": [], "val": cases}])
    write_nnunet_splits(DATASET)  # those that are there are kept
    assert json.loads((folder / "splits_final.json").read_text()) == [{"train": [], "val": cases}]
