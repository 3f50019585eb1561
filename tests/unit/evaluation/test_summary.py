"""The summary of a small table; ``tests/contract/test_evaluate.py`` compares it with nnU-Net's."""

from __future__ import annotations

import csv
import json
import math
from math import isnan, nan
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from nnunetv2_cfseg import __version__
from nnunetv2_cfseg.evaluation.evaluate import COUNTS, TABLE_COLUMNS, Evaluation
from nnunetv2_cfseg.evaluation.files import Case, Unpaired
from nnunetv2_cfseg.evaluation.metric_definitions import COLUMNS, KEYS
from nnunetv2_cfseg.evaluation.metrics import MetricSettings
from nnunetv2_cfseg.evaluation.summary import check_output, summarise, write_summary
from nnunetv2_cfseg.files.json_text import as_read_back
from nnunetv2_cfseg.nnunet.classes import Classes, SegmentationClass

CLASSES = Classes(
    foreground=(SegmentationClass("lesion", (1,), "1"), SegmentationClass("organ", (2, 3), "(2, 3)")),
    ignore=None,
    values=frozenset(range(4)),
)
#: Of each case (Dice, predicted ml, true ml) of the lesion and of the organ.
VALUES = [
    ((0.8, 12.0, 10.0), (0.5, 30.0, 33.0)),
    ((0.6, 7.0, 8.0), (nan, 0.0, 0.0)),
    ((0.0, 0.0, 3.0), (nan, 0.0, 0.0)),
    ((0.0, 2.0, 0.0), (0.7, 31.0, 31.0)),
]


def row(case: str, one: SegmentationClass, dice: float, predicted: float, true: float) -> dict[str, Any]:
    presence = {(True, True): "both", (False, True): "missed", (True, False): "false_alarm", (False, False): "absent"}
    error = predicted - true
    return {
        **dict.fromkeys(KEYS, nan),
        **dict.fromkeys(COUNTS, 0),
        "case": case,
        "class": one.name,
        "label": one.key,
        "presence": presence[predicted > 0, true > 0],
        "Dice": dice,
        "IoU": dice / (2 - dice),
        "volume_ml": predicted,
        "reference_volume_ml": true,
        "volume_error_ml": error,
        "absolute_volume_error_ml": abs(error),
        "n_pred": int(predicted),
        "n_ref": int(true),
    }


def evaluation_of(values: list, **changes: Any) -> Evaluation:
    names = [f"case_{i}" for i in range(len(values))]
    rows = [
        row(name, one, *of_class)
        for name, of_case in zip(names, values, strict=True)
        for one, of_class in zip(CLASSES.foreground, of_case, strict=True)
    ]
    table = pd.DataFrame(rows)[list(TABLE_COLUMNS)]
    cases = [Case(name, Path("truth") / f"{name}.nii.gz", Path("out") / f"{name}.nii.gz") for name in names]
    return Evaluation(table, CLASSES, cases, **{"settings": MetricSettings(tolerance_mm=2.0, factor=5), **changes})


@pytest.fixture
def evaluation() -> Evaluation:
    return evaluation_of(VALUES)


@pytest.fixture
def summary(evaluation: Evaluation) -> dict[str, Any]:
    return summarise(evaluation)


class TestAsNnunet:
    def test_lists_each_case(self, summary: dict[str, Any]) -> None:
        first, second, *_ = summary["metric_per_case"]
        assert len(summary["metric_per_case"]) == 4
        assert first["prediction_file"] == "out/case_0.nii.gz"
        assert first["reference_file"] == "truth/case_0.nii.gz"
        assert set(first) == {"prediction_file", "reference_file", "metrics"}
        assert set(first["metrics"]) == {"1", "(2, 3)"}
        assert set(first["metrics"]["1"]) == {*KEYS, *COUNTS}
        assert first["metrics"]["1"]["Dice"] == 0.8
        assert first["metrics"]["(2, 3)"]["volume_ml"] == 30
        assert type(first["metrics"]["1"]["n_ref"]) is int
        assert isnan(second["metrics"]["(2, 3)"]["Dice"])

    def test_takes_means_over_cases_and_then_over_classes(self, summary: dict[str, Any]) -> None:
        assert summary["mean"]["1"]["Dice"] == pytest.approx(0.35)
        assert summary["mean"]["(2, 3)"]["Dice"] == pytest.approx(0.6)
        assert summary["mean"]["1"]["n_ref"] == (10 + 8 + 3) / 4
        assert summary["foreground_mean"]["Dice"] == pytest.approx(0.475)
        assert summary["foreground_mean"]["n_pred"] == (21 / 4 + 61 / 4) / 2
        assert summary["foreground_mean"].keys() == summary["mean"]["1"].keys() == {*KEYS, *COUNTS}

    def test_has_no_mean_of_a_class_that_no_case_shows(self) -> None:
        summary = summarise(evaluation_of([(lesion, (nan, 0.0, 0.0)) for lesion, _ in VALUES]))
        assert isnan(summary["mean"]["(2, 3)"]["Dice"])
        assert isnan(summary["foreground_mean"]["Dice"])
        assert summary["cfseg"]["overall"]["mDSC"]["mean"] == pytest.approx(0.35)


class TestOurs:
    def test_says_what_was_measured_and_how(self, summary: dict[str, Any]) -> None:
        ours = summary["cfseg"]
        assert ours["version"] == __version__
        assert ours["cases"] == 4
        settings = ours["settings"]
        assert (settings["tolerance_mm"], settings["lesion_overlap"], settings["factor"]) == (2.0, 0.1, 5)
        assert (settings["resamples"], settings["seed"], settings["confidence"]) == (2000, 0, 0.95)
        assert "left out" in settings["policy"]
        assert ours["missing_predictions"] == ours["missing_references"] == []

    def test_names_what_was_left_out(self) -> None:
        ours = summarise(evaluation_of(VALUES, unpaired=Unpaired(("a", "b"), ("c",))))["cfseg"]
        assert ours["missing_predictions"] == ["a", "b"]
        assert ours["missing_references"] == ["c"]

    def test_counts_presence(self, summary: dict[str, Any]) -> None:
        classes = summary["cfseg"]["classes"]
        keys = ("name", "present", "missed", "false_alarms", "absent")
        assert [classes["1"][key] for key in keys] == ["lesion", 3, 1, 1, 0]
        assert [classes["(2, 3)"][key] for key in keys] == ["organ", 2, 0, 0, 2]

    def test_has_every_measure_with_a_direction(self, summary: dict[str, Any]) -> None:
        expected = {column.key for column in COLUMNS if column.better} | {"volume_error_ml"}
        assert set(summary["cfseg"]["classes"]["1"]["measures"]) == expected
        assert set(summary["cfseg"]["overall"]) == expected | {"mDSC", "mIoU"}

    def test_gives_mean_median_and_interval(self, summary: dict[str, Any]) -> None:
        dice = summary["cfseg"]["classes"]["1"]["measures"]["Dice"]
        assert (dice["n"], dice["mean"], dice["median"]) == (4, pytest.approx(0.35), pytest.approx(0.3))
        low, high = dice["interval"]
        assert 0 <= low < 0.35 < high <= 0.8
        organ = summary["cfseg"]["classes"]["(2, 3)"]["measures"]["Dice"]
        assert (organ["n"], organ["mean"], organ["interval"]) == (2, pytest.approx(0.6), [0.5, 0.7])

    def test_gives_bias_and_limits_of_agreement(self, summary: dict[str, Any]) -> None:
        """Errors of 2, -1, -3 and 2 ml."""
        error = summary["cfseg"]["classes"]["1"]["measures"]["volume_error_ml"]
        spread = 1.96 * math.sqrt((2**2 + 1 + 3**2 + 2**2) / 3)
        assert error["bias"] == error["mean"] == 0
        assert error["limits_of_agreement"] == pytest.approx([-spread, spread])

    def test_leaves_cases_that_do_not_show_a_class_out_of_its_volume_errors(self, summary: dict[str, Any]) -> None:
        measures = summary["cfseg"]["classes"]["(2, 3)"]["measures"]
        assert (measures["volume_error_ml"]["n"], measures["volume_error_ml"]["bias"]) == (2, -1.5)
        assert measures["absolute_volume_error_ml"]["mean"] == 1.5
        assert summary["mean"]["(2, 3)"]["absolute_volume_error_ml"] == 1.5

    def test_takes_the_mean_over_classes(self, summary: dict[str, Any]) -> None:
        overall = summary["cfseg"]["overall"]
        assert overall["mDSC"] == overall["Dice"]
        assert overall["mIoU"] == overall["IoU"]
        assert overall["mDSC"]["mean"] == pytest.approx(summary["foreground_mean"]["Dice"])
        assert overall["mIoU"]["mean"] == pytest.approx(summary["foreground_mean"]["IoU"])
        low, high = overall["mDSC"]["interval"]
        assert low < 0.475 < high

    def test_is_decided_by_the_seed(self, evaluation: Evaluation) -> None:
        def intervals(seed: int) -> str:
            return json.dumps(summarise(evaluation, resamples=30, seed=seed)["cfseg"]["overall"])

        assert intervals(0) == intervals(0) != intervals(1)

    def test_has_no_interval_of_a_single_case(self) -> None:
        ours = summarise(evaluation_of(VALUES[:1]))["cfseg"]
        measures = ours["classes"]["1"]["measures"]
        assert measures["Dice"]["mean"] == 0.8
        for values in (
            measures["Dice"]["interval"],
            measures["volume_error_ml"]["limits_of_agreement"],
            ours["overall"]["mDSC"]["interval"],
        ):
            assert all(isnan(value) for value in values)


class TestWriteSummary:
    def test_writes_the_table_beside_it(
        self, evaluation: Evaluation, summary: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        output = tmp_path / "new" / "scores.json"
        write_summary(evaluation, summary, output)
        assert sorted(path.name for path in output.parent.iterdir()) == ["scores.csv", "scores.json"]
        written = json.loads(output.read_text(), parse_constant=pytest.fail)  # strict JSON has no NaN
        assert written["cfseg"].pop("measured")["settings"]["tolerance_mm"] == 2.0
        for case, own in zip(written["metric_per_case"], summary["metric_per_case"], strict=True):
            for name in ("prediction_file", "reference_file"):
                assert (output.parent / case[name]).resolve() == Path(own[name]).resolve()
                assert not Path(case[name]).is_absolute()
        assert {**written, "metric_per_case": 0} == as_read_back({**summary, "metric_per_case": 0})
        assert written["metric_per_case"][1]["metrics"]["(2, 3)"]["Dice"] is None  # nnU-Net writes NaN
        assert "NaN" not in output.read_text()
        with output.with_suffix(".csv").open(newline="") as stream:
            rows = list(csv.DictReader(stream))
        assert len(rows) == 8
        assert tuple(rows[0]) == TABLE_COLUMNS
        assert (rows[0]["case"], rows[0]["class"], rows[1]["label"]) == ("case_0", "lesion", "(2, 3)")
        assert float(rows[0]["Dice"]) == 0.8
        assert rows[3]["Dice"] == ""
        assert rows[0]["n_ref"] == "10"

    def test_replaces_both(self, evaluation: Evaluation, summary: dict[str, Any], tmp_path: Path) -> None:
        for name in ("summary.json", "summary.csv"):
            (tmp_path / name).write_text("old")
        write_summary(evaluation, summary, tmp_path / "summary.json")
        assert json.loads((tmp_path / "summary.json").read_text())["cfseg"]["cases"] == 4
        assert (tmp_path / "summary.csv").read_text().startswith("case,class,label,presence,Dice,")

    def test_leaves_what_there_was_where_it_cannot_write(
        self, evaluation: Evaluation, summary: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for name in ("summary.json", "summary.csv"):
            (tmp_path / name).write_text("old")
        write = Path.write_text

        def fill_the_disk(self: Path, text: str, **kwargs: Any) -> int:
            if "json" in self.name:
                raise OSError(28, "No space left on device")
            return write(self, text, **kwargs)

        monkeypatch.setattr(Path, "write_text", fill_the_disk)
        with pytest.raises(OSError, match="No space"):
            write_summary(evaluation, summary, tmp_path / "summary.json")
        assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {
            "summary.json": "old",
            "summary.csv": "old",
        }

    @pytest.mark.parametrize("name", ["summary", "summary.txt", ".json"])
    def test_refuses_another_ending(self, tmp_path: Path, name: str) -> None:
        with pytest.raises(ValueError, match=f"must end with .json, got: {tmp_path / name}$"):
            check_output(tmp_path / name)

    @pytest.mark.parametrize("name", ["summary.json", "summary.csv"])
    def test_refuses_a_folder(self, tmp_path: Path, name: str) -> None:
        (tmp_path / name).mkdir()
        with pytest.raises(ValueError, match=f"is a folder .*: {tmp_path / name}$"):
            check_output(tmp_path / "summary.json")
