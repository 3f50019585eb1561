"""What a benchmark checks before it starts, with and without --dry_run, and that it leaves nothing behind."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from nnunetv2_cfseg.benchmark import row_checks
from nnunetv2_cfseg.benchmark.checks import checked_matrix
from nnunetv2_cfseg.benchmark.matrix import Matrix
from nnunetv2_cfseg.benchmark.row import Row
from nnunetv2_cfseg.benchmark.run import run

DATASET = "Dataset007_Tiny"
ROW = Row("a", "nnUNetTrainerCFSeg", plans="P")
PLANS = {"configurations": {"3d_fullres": {"data_identifier": "data", "batch_size": 2}}}


def write(file: Path, content: Any = "") -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(content if isinstance(content, str) else json.dumps(content))


@pytest.fixture
def folders(nnunet_folders: SimpleNamespace) -> SimpleNamespace:
    """Folders with a planned dataset of two cases."""
    raw, preprocessed = (folder / DATASET for folder in (nnunet_folders.raw, nnunet_folders.preprocessed))
    for folder in (raw, preprocessed):
        write(folder / "dataset.json", {"file_ending": ".nii.gz"})
    write(preprocessed / "splits_final.json", [{"train": ["b"], "val": ["a"]}])
    write(preprocessed / "P.json", PLANS)
    (raw / "labelsTr").mkdir()
    for case in "ab":
        write(preprocessed / "gt_segmentations" / f"{case}.nii.gz")
        write(preprocessed / "data" / f"{case}.pkl")
    return nnunet_folders


def matrix_of(*rows: Row, **settings: Any) -> Matrix:
    return Matrix(rows, ("7",), **settings)


def test_what_fits_is_returned_with_full_names_and_nothing_is_written(folders: SimpleNamespace, tmp_path: Path) -> None:
    before = sorted(tmp_path.rglob("*"))
    changed = replace(ROW, name="b", changes={"batch_size": 4})
    assert checked_matrix(matrix_of(ROW, changed), tmp_path / "out").datasets == (DATASET,)
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (replace(ROW, trainer="nnUNetTrainerNobody"), "finds no trainer nnUNetTrainerNobody .*: row a$"),
        (replace(ROW, plans="Q"), "plans Q of row a are not there and preprocessed"),
        (replace(ROW, configuration="2d"), "no configuration 2d in the plans; theirs are 3d_fullres: .*P.json"),
        (replace(ROW, changes={"depth": 1}), "a change must name a setting of the plans, got depth: .*P.json"),
        (replace(ROW, planner="NoPlanner", plans=""), "finds no planner NoPlanner among its own: row a$"),
        (replace(ROW, planner="CFSegPlanner", plans="", preset="huge"), "preset"),
        (replace(ROW, labels="thin"), "no thin labels"),
        (Row("a", model="T__P__3d_fullres"), "the model of row a is not a folder with plans.json: "),
        (Row("a", predictions="mine"), "no folder of predictions for row a: .*mine$"),
        (Row("a", predictions="labelsTr"), "a prediction of row a is missing: .*a.nii.gz$"),
    ],
)
def test_a_refused_run_leaves_nothing_behind(folders: SimpleNamespace, tmp_path: Path, row: Row, message: str) -> None:
    before = sorted(tmp_path.rglob("*"))
    for begin in (checked_matrix, run):
        with pytest.raises(ValueError, match=message):
            begin(matrix_of(row), tmp_path / "out")
    assert sorted(tmp_path.rglob("*")) == before


def test_a_model_lacks_the_fold(folders: SimpleNamespace, tmp_path: Path) -> None:
    write(folders.results / DATASET / "M" / "plans.json", {})
    (folders.results / DATASET / "M" / "fold_1").mkdir()
    with pytest.raises(ValueError, match=r"the model of row a has no fold 0: .*M$"):
        checked_matrix(matrix_of(Row("a", model="M")), tmp_path / "out")


def test_a_library_that_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(row_checks, "find_spec", lambda name: None)
    row_checks.check_trainer.cache_clear()
    with pytest.raises(ValueError, match=r"nnUNetTrainer_UNETR needs monai, einops: pip install .*\[benchmark\]$"):
        row_checks.check_trainer("nnUNetTrainer_UNETR", "a")


def test_settings_that_differ_from_those_of_cells(folders: SimpleNamespace, tmp_path: Path) -> None:
    out = tmp_path / "out"
    write(out / "benchmark.json", {"rows": {}, "device": "cuda"})
    write(out / "cells" / DATASET / "a" / "fold_0_seed_1" / "log.txt")
    with pytest.raises(ValueError, match=r"device.* differs from the folder's cells"):
        checked_matrix(matrix_of(ROW), out)
