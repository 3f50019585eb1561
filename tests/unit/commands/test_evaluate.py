"""``cfseg evaluate``: its flags, what it prints, and that nothing is written when it refuses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk

from nnunetv2_cfseg import cli
from nnunetv2_cfseg.evaluation import evaluate
from nnunetv2_cfseg.evaluation.metrics import MetricSettings

DATASET = {"labels": {"background": 0, "lesion": 1, "organ": 2}, "file_ending": ".nii.gz"}


def write(file: Path, value: int, start: int = 2) -> None:
    values = np.zeros((8, 10, 12), np.uint8)
    values[start : start + 4, 2:6, 2:6] = value
    sitk.WriteImage(sitk.GetImageFromArray(values), str(file))


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    """A raw dataset of two cases with ``labelsTs`` and, beside it, ``predictions``, as nnU-Net leaves them."""
    folder = tmp_path / "raw"
    for part in ("labelsTs", "predictions"):
        (folder / part).mkdir(parents=True)
        write(folder / part / "a.nii.gz", 1)
    write(folder / "labelsTs" / "b.nii.gz", 1)
    write(folder / "predictions" / "b.nii.gz", 1, start=3)
    for part in (folder, folder / "predictions"):
        (part / "dataset.json").write_text(json.dumps(DATASET))
    (folder / "predictions" / "plans.json").write_text('{"image_reader_writer": "SimpleITKIO"}')
    return folder


def run(raw: Path, *flags: str) -> int:
    return cli.main(["evaluate", str(raw / "labelsTs"), str(raw / "predictions"), "-np", "1", "--no_pbar", *flags])


def refusal(raw: Path, capsys: pytest.CaptureFixture[str], *flags: str) -> str:
    """The one line on stderr, after a look at what must not have been written."""
    before = sorted(raw.rglob("*"))
    assert run(raw, *flags) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    line, *others = captured.err.splitlines()
    assert others == []
    assert sorted(raw.rglob("*")) == before
    return line.removeprefix("cfseg evaluate: ")


class TestOutput:
    def test_is_a_table_and_two_files(self, raw: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert run(raw) == 0
        captured = capsys.readouterr()
        assert captured.err == ""
        measures = json.loads((raw / "predictions" / "summary.json").read_text())["mean"]["1"]
        hd95, nsd = f"{measures['HD95_mm']:.2f}", f"{measures['NSD']:.3f}"
        *table, empty, written = captured.out.splitlines()
        assert len({len(line) for line in table}) == 1
        assert [[cell.strip() for cell in line.strip("|").split("|")] for line in table if "---" not in line] == [
            ["class", "n", "Dice [95 %]", "IoU", "HD95 mm", "NSD", "lesion F1", "volume error ml", "missed",
             "false alarms"],
            ["lesion", "2", "0.875 [0.750, 1.000]", "0.800", hd95, nsd, "1.000", "+0.00", "0", "0"],
            ["organ", "0", "- [-, -]", "-", "-", "-", "-", "-", "0", "0"],
            ["mean", "", "0.875 [0.750, 1.000]", "0.800", hd95, nsd, "1.000", "+0.00", "", ""],
        ]  # fmt: skip
        assert (empty, written) == ("", f"Wrote {raw}/predictions/summary.json and {raw}/predictions/summary.csv")
        summary = json.loads((raw / "predictions" / "summary.json").read_text())
        assert summary["mean"]["1"]["Dice"] == 0.875
        assert len((raw / "predictions" / "summary.csv").read_text().splitlines()) == 5

    def test_goes_where_it_is_sent(self, raw: Path, tmp_path: Path) -> None:
        assert run(raw, "-o", str(tmp_path / "scores" / "mine.json")) == 0
        assert sorted(path.name for path in (tmp_path / "scores").iterdir()) == ["mine.csv", "mine.json"]
        assert not (raw / "predictions" / "summary.json").exists()

    def test_replaces_a_summary_of_nnunet(self, raw: Path) -> None:
        (raw / "predictions" / "summary.json").write_text("{}")
        assert run(raw) == 0
        assert "cfseg" in json.loads((raw / "predictions" / "summary.json").read_text())

    def test_names_what_was_left_out(self, raw: Path, capsys: pytest.CaptureFixture[str]) -> None:
        (raw / "predictions" / "a.nii.gz").rename(raw / "predictions" / "c.nii.gz")
        assert run(raw, "--chill") == 0
        lines = capsys.readouterr().out.splitlines()
        assert lines[:2] == [
            "Left out 1 references without a prediction: a",
            "Left out 1 predictions without a reference: c",
        ]
        ours = json.loads((raw / "predictions" / "summary.json").read_text())["cfseg"]
        assert (ours["cases"], ours["missing_predictions"], ours["missing_references"]) == (1, ["a"], ["c"])

    def test_names_a_few_of_many(self, raw: Path, capsys: pytest.CaptureFixture[str]) -> None:
        for number in range(7):
            write(raw / "labelsTs" / f"c{number}.nii.gz", 1)
        assert run(raw, "--chill") == 0
        line = "Left out 7 references without a prediction: c0, c1, c2, c3, c4 and 2 more"
        assert capsys.readouterr().out.splitlines()[0] == line
        ours = json.loads((raw / "predictions" / "summary.json").read_text())["cfseg"]
        assert ours["missing_predictions"] == [f"c{number}" for number in range(7)]

    def test_shows_progress(self, raw: Path, capsys: pytest.CaptureFixture[str]) -> None:
        arguments = [str(raw / "labelsTs"), str(raw / "predictions"), "-np", "1"]
        assert cli.main(["evaluate", *arguments]) == 0
        assert "Evaluating" in capsys.readouterr().err


class TestArguments:
    @pytest.fixture
    def calls(self, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
        """What the evaluation is called with, before it is done."""
        calls: list[dict[str, Any]] = []
        evaluate_folders = evaluate.evaluate_folders

        def record(*folders: Path, **arguments: Any) -> evaluate.Evaluation:
            calls.append({"folders": folders, **arguments})
            return evaluate_folders(*folders, **{**arguments, "num_processes": 1})

        monkeypatch.setattr(evaluate, "evaluate_folders", record)
        return calls

    def test_have_defaults(self, raw: Path, calls: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("nnUNet_def_n_proc")
        assert cli.main(["evaluate", str(raw / "labelsTs"), str(raw / "predictions")]) == 0
        assert calls == [
            {
                "folders": (raw / "labelsTs", raw / "predictions"),
                "dataset_json": raw / "predictions" / "dataset.json",
                "plans_json": raw / "predictions" / "plans.json",
                "settings": MetricSettings(tolerance_mm=1.0, lesion_overlap=0.1, factor=None),
                "chill": False,
                "num_processes": 8,
                "progress": True,
            }
        ]

    def test_are_passed_on(self, raw: Path, calls: list[dict[str, Any]], tmp_path: Path) -> None:
        plans = tmp_path / "plans.json"
        plans.write_text('{"image_reader_writer": "NibabelIO"}')
        flags = f"-djfile {raw}/dataset.json -pfile {plans} -np 3 --chill --tolerance 2.5 --lesion_overlap 0.5"
        assert run(raw, *f"{flags} --factor 4 --seed 3".split()) == 0
        assert calls == [
            {
                "folders": (raw / "labelsTs", raw / "predictions"),
                "dataset_json": raw / "dataset.json",
                "plans_json": plans,
                "settings": MetricSettings(tolerance_mm=2.5, lesion_overlap=0.5, factor=4),
                "chill": True,
                "num_processes": 3,
                "progress": False,
            }
        ]
        settings = json.loads((raw / "predictions" / "summary.json").read_text())["cfseg"]["settings"]
        assert (settings["seed"], settings["factor"]) == (3, 4)

    def test_take_nnunets_number_of_processes(
        self, raw: Path, calls: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("nnUNet_def_n_proc", "5")
        assert cli.main(["evaluate", str(raw / "labelsTs"), str(raw / "predictions")]) == 0
        assert calls[0]["num_processes"] == 5

    def test_need_no_plans(self, raw: Path, calls: list[dict[str, Any]]) -> None:
        (raw / "predictions" / "plans.json").unlink()
        assert run(raw) == 0
        assert calls[0]["plans_json"] is None

    @pytest.mark.parametrize(("flags", "factor"), [((), 5), (("--factor", "2"), 2)])
    def test_take_the_factor_of_a_paired_dataset(
        self, raw: Path, calls: list[dict[str, Any]], flags: tuple[str, ...], factor: int
    ) -> None:
        (raw / "thin_thick.json").write_text('{"factor": 5}')
        assert run(raw, *flags) == 0
        assert calls[0]["settings"].factor == factor


class TestRefusals:
    def test_of_a_missing_prediction(self, raw: Path, capsys: pytest.CaptureFixture[str]) -> None:
        (raw / "predictions" / "b.nii.gz").unlink()
        assert refusal(raw, capsys).endswith(f"for the reference {raw}/labelsTs/b.nii.gz")

    def test_of_predictions_without_dataset_json(self, raw: Path, capsys: pytest.CaptureFixture[str]) -> None:
        (raw / "predictions" / "dataset.json").unlink()
        line = refusal(raw, capsys)
        assert "-djfile" in line
        assert line.endswith(f"{raw}/predictions/dataset.json")

    @pytest.mark.parametrize(
        ("flags", "named"),
        [
            ("-o summary.txt", "the output must end with .json, got: summary.txt"),
            ("-djfile none.json", "none.json must be a file, and there is none: none.json"),
            ("-pfile none.json", "none.json must be a file, and there is none: none.json"),
            ("-np 0", "-np must be from 1 to 256 processes, got 0"),
            ("--seed -1", "a seed must be >= 0, got -1"),
            ("--factor 0", "got 0"),
            ("--tolerance -1", "got -1 mm"),
            ("--lesion_overlap 2", "got 2"),
        ],
    )
    def test_of_bad_values(self, raw: Path, capsys: pytest.CaptureFixture[str], flags: str, named: str) -> None:
        assert refusal(raw, capsys, *flags.split()).endswith(named)

    def test_of_a_wrong_number_of_processes_in_the_environment(
        self, raw: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("nnUNet_def_n_proc", "many")
        assert cli.main(["evaluate", str(raw / "labelsTs"), str(raw / "predictions")]) == 2
        assert "nnUNet_def_n_proc must be a number of processes, got 'many'" in capsys.readouterr().err

    def test_keep_the_summary_there_was(self, raw: Path, capsys: pytest.CaptureFixture[str]) -> None:
        for name in ("summary.json", "summary.csv"):
            (raw / "predictions" / name).write_text("old")
        write(raw / "predictions" / "b.nii.gz", 7)
        assert "got also [7]" in refusal(raw, capsys)
        assert {(raw / "predictions" / name).read_text() for name in ("summary.json", "summary.csv")} == {"old"}
