"""Evaluating folders of small label maps."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk

from nnunetv2_cfseg.evaluation import evaluate
from nnunetv2_cfseg.evaluation.evaluate import TABLE_COLUMNS, evaluate_folders
from nnunetv2_cfseg.evaluation.files import Unpaired
from nnunetv2_cfseg.evaluation.metric_definitions import KEYS
from nnunetv2_cfseg.evaluation.metrics import MetricSettings

SPACING = (5.0, 0.5, 0.8)
LABELS = {"background": 0, "lesion": 1, "organ": 2}


def cube(value: int = 1, *, start: int = 2, edge: int = 4) -> np.ndarray:
    values = np.zeros((8, 10, 12), np.uint8)
    values[start : start + edge, 2 : 2 + edge, 2 : 2 + edge] = value
    return values


class Folders:
    """A dataset of references and predictions."""

    def __init__(self, folder: Path) -> None:
        self.truth, self.prediction = folder / "labels", folder / "predictions"
        self.dataset_json = folder / "dataset.json"
        for part in (self.truth, self.prediction):
            part.mkdir()
        self.describe(LABELS)

    def describe(self, labels: dict[str, Any], **entries: Any) -> None:
        self.dataset_json.write_text(json.dumps({"labels": labels, "file_ending": ".nii.gz", **entries}))

    def write(self, name: str, truth: np.ndarray, prediction: np.ndarray | None = None) -> None:
        for folder, values in ((self.truth, truth), (self.prediction, truth if prediction is None else prediction)):
            image = sitk.GetImageFromArray(values)
            image.SetSpacing(SPACING[::-1])
            sitk.WriteImage(image, str(folder / f"{name}.nii.gz"))

    def evaluate(self, **arguments: Any) -> evaluate.Evaluation:
        default = {"dataset_json": self.dataset_json, "plans_json": None, "settings": MetricSettings()}
        default |= {"num_processes": 1, "progress": False}
        return evaluate_folders(self.truth, self.prediction, **{**default, **arguments})


@pytest.fixture
def folders(tmp_path: Path) -> Folders:
    return Folders(tmp_path)


class TestTable:
    def test_has_a_row_for_each_case_and_class(self, folders: Folders) -> None:
        folders.write("b", cube(1) + cube(2, start=0, edge=2))
        folders.write("a", cube(1), cube(1, start=3))
        evaluation = folders.evaluate()
        table = evaluation.table
        assert tuple(table.columns) == TABLE_COLUMNS
        assert table["case"].tolist() == ["a", "a", "b", "b"]
        assert table["class"].tolist() == ["lesion", "organ"] * 2
        assert table["label"].tolist() == ["1", "2"] * 2
        assert table["presence"].tolist() == ["both", "absent", "both", "both"]
        assert [case.name for case in evaluation.cases] == ["a", "b"]
        assert [one.name for one in evaluation.classes.foreground] == ["lesion", "organ"]
        assert evaluation.unpaired == Unpaired()

    def test_holds_what_one_counts_by_hand(self, folders: Folders) -> None:
        """64 voxels, moved by one slice of 16."""
        folders.write("a", cube(1), cube(1, start=3))
        row = folders.evaluate().table.iloc[0]
        assert (row["TP"], row["FP"], row["FN"], row["TN"]) == (48, 16, 16, 8 * 10 * 12 - 80)
        assert (row["n_pred"], row["n_ref"]) == (64, 64)
        assert row["Dice"] == pytest.approx(0.75)
        assert row["volume_ml"] == pytest.approx(64 * math.prod(SPACING) / 1000)
        assert math.isnan(row["boundary_Dice"])

    def test_is_of_counts_and_numbers(self, folders: Folders) -> None:
        folders.write("a", cube(1))
        table = folders.evaluate().table
        assert {str(table[key].dtype) for key in ("TP", "TN", "n_ref")} == {"int64"}
        assert {table[key].dtype.kind for key in KEYS} <= {"f", "i"}

    def test_passes_the_settings_on(self, folders: Folders) -> None:
        folders.write("a", cube(1, start=1), cube(1, start=2))
        row = folders.evaluate(settings=MetricSettings(factor=2)).table.iloc[0]
        assert row["boundary_Dice"] == 0.5  # of slices 1 and 4 the latter is found, and 5 is too many
        assert folders.evaluate(settings=MetricSettings(tolerance_mm=20.0)).table.iloc[0]["NSD"] == 1

    def test_scores_no_ignored_voxel(self, folders: Folders) -> None:
        folders.describe({"background": 0, "lesion": 1, "ignore": 2})
        truth = cube(1)
        truth[5] = 2
        folders.write("a", truth, cube(1, edge=5))
        row = folders.evaluate().table.iloc[0]
        assert (row["TP"], row["FN"], row["FP"]) == (48, 0, 3 * 9 + 25)

    def test_scores_regions(self, folders: Folders) -> None:
        folders.describe({"background": 0, "whole": [1, 2], "core": [2]}, regions_class_order=[1, 2])
        folders.write("a", cube(1), np.maximum(cube(1), cube(2, edge=2)))
        table = folders.evaluate().table
        assert table["label"].tolist() == ["(1, 2)", "(2,)"]
        assert table["Dice"].tolist() == [1, 0]
        assert table["presence"].tolist() == ["both", "false_alarm"]

    @pytest.mark.slow
    def test_is_the_same_whatever_the_processes(self, folders: Folders) -> None:
        rng = np.random.default_rng(0)
        for name in "dacb":
            folders.write(name, cube(1), np.where(rng.random((8, 10, 12)) < 0.1, 2, cube(1)))
        alone = folders.evaluate().table
        assert folders.evaluate(num_processes=3).table.equals(alone)


class TestFiles:
    def test_are_paired_before_any_is_read(self, folders: Folders) -> None:
        folders.write("a", cube(9))
        (folders.truth / "b.nii.gz").touch()
        with pytest.raises(ValueError, match=r"no prediction .* for the reference .*labels/b.nii.gz"):
            folders.evaluate()

    def test_without_counterpart_are_left_out_where_it_is_chill(self, folders: Folders) -> None:
        for name in "abc":
            folders.write(name, cube(1))
        (folders.prediction / "a.nii.gz").unlink()
        (folders.truth / "c.nii.gz").unlink()
        evaluation = folders.evaluate(chill=True)
        assert evaluation.table["case"].unique().tolist() == ["b"]
        assert evaluation.unpaired == Unpaired(("a",), ("c",))

    @pytest.mark.parametrize("part", ["truth", "prediction"])
    def test_with_an_unknown_label_are_refused(self, folders: Folders, part: str) -> None:
        folders.write("a", *[cube(7), cube(1)][:: 1 if part == "truth" else -1])
        file = getattr(folders, part) / "a.nii.gz"
        with pytest.raises(ValueError, match=rf"must be those of dataset.json \[0, 1, 2\], got also \[7\]: {file}$"):
            folders.evaluate()

    def test_on_another_grid_are_refused(self, folders: Folders) -> None:
        folders.write("a", cube(1), cube(1)[:7])
        file = folders.prediction / "a.nii.gz"
        with pytest.raises(ValueError, match=rf"size \(8, 10, 12\) .*, got \(7, 10, 12\): {file}$"):
            folders.evaluate()

    @pytest.mark.slow
    def test_the_first_of_several_bad_ones_is_named(self, folders: Folders) -> None:
        """Also where another process is done with a later one before."""
        large = np.random.default_rng(0).integers(0, 2, (60, 160, 160)).astype(np.uint8)
        large[-1, -1, -1] = 8
        folders.write("a", cube(1))
        folders.write("b", large)
        folders.write("c", cube(9))
        with pytest.raises(ValueError, match=r"got also \[8\]: .*labels/b.nii.gz$"):
            folders.evaluate(num_processes=2)


class TestOrderOfFailures:
    """Outcomes of which the case's number alone matters."""

    def names(self, *outcomes: tuple[int, str | None]) -> list[int]:
        cases = (evaluate._Outcome(i, [], None if error is None else ValueError(error)) for i, error in outcomes)
        return [outcome.index for outcome in evaluate._without_failure(cases)]

    def test_all_are_passed_on(self) -> None:
        assert self.names((1, None), (0, None)) == [1, 0]

    @pytest.mark.parametrize("order", [(0, 1, 2, 3), (3, 2, 1, 0), (2, 0, 3, 1), (1, 3, 0, 2)])
    def test_the_first_is_raised(self, order: tuple[int, ...]) -> None:
        errors = {1: "first", 2: "second"}
        with pytest.raises(ValueError, match="first"):
            self.names(*((i, errors.get(i)) for i in order))

    def test_nothing_is_waited_for_in_vain(self) -> None:
        def outcomes() -> Any:
            yield evaluate._Outcome(0, [], ValueError("first"))
            time.sleep(60)

        start = time.monotonic()
        with pytest.raises(ValueError, match="first"):
            list(evaluate._without_failure(outcomes()))
        assert time.monotonic() - start < 30


class TestPlans:
    def write(self, folders: Folders, content: dict[str, Any]) -> Path:
        file = folders.dataset_json.with_name("plans.json")
        file.write_text(json.dumps(content))
        return file

    @pytest.mark.parametrize("reader", ["SimpleITKIO", "NibabelIO", "NibabelIOWithReorient"])
    def test_of_3d_medical_images_are_taken(self, folders: Folders, reader: str) -> None:
        folders.write("a", cube(1))
        assert len(folders.evaluate(plans_json=self.write(folders, {"image_reader_writer": reader})).table) == 2

    @pytest.mark.parametrize("plans", [{"image_reader_writer": "NaturalImage2DIO"}, {}])
    def test_of_others_are_refused(self, folders: Folders, plans: dict[str, Any]) -> None:
        folders.write("a", cube(1))
        rule = r"(image_reader_writer is missing|plans must read images with one of SimpleITKIO).*plans.json$"
        with pytest.raises(ValueError, match=rule):
            folders.evaluate(plans_json=self.write(folders, plans))

    def test_that_are_not_there_are_refused(self, folders: Folders) -> None:
        folders.write("a", cube(1))
        with pytest.raises(ValueError, match=r"none.json must be a file, and there is none: "):
            folders.evaluate(plans_json=folders.truth / "none.json")


class TestProgress:
    def test_is_shown_where_it_is_asked_for(self, folders: Folders, capsys: pytest.CaptureFixture[str]) -> None:
        folders.write("a", cube(1))
        folders.evaluate()
        assert capsys.readouterr().err == ""
        folders.evaluate(progress=True)
        captured = capsys.readouterr()
        assert "Evaluating: 100%" in captured.err
        assert captured.out == ""


def test_refuses_no_processes(folders: Folders) -> None:
    with pytest.raises(ValueError, match="number of processes must be >= 1, got 0"):
        folders.evaluate(num_processes=0)


def test_imports_neither_nnunet_nor_torch() -> None:
    code = "import sys, nnunetv2_cfseg.evaluation.summary; print({'nnunetv2', 'torch'} & set(sys.modules))"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert done.stdout == "set()\n"
