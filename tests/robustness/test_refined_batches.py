"""Kinds of cases that fail, and of runs that stop, while labels are refined, measured and quantified."""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk

from nnunetv2_cfseg.cli import main
from nnunetv2_cfseg.evaluation import evaluate as evaluate_module
from nnunetv2_cfseg.files.folder_lock import lock_folder
from nnunetv2_cfseg.inference import refined_dataset as module
from nnunetv2_cfseg.inference.records import read_record
from nnunetv2_cfseg.quantify import run as quantify_module

Write = Callable[..., Path]
ERRORS = [
    ValueError("math domain error"), TypeError("odd"), KeyError("x"), MemoryError(), RuntimeError("out of memory"),
    OSError(errno.ENOSPC, "No space left on device"), AssertionError(),
]  # fmt: skip


class Refine:
    """A dataset of pairs, and ``cfseg refine_labels`` of it."""

    def __init__(self, source: Path, model: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.source, self.model, self.capsys = source, model, capsys
        self.made = source.with_name("Dataset901_Refined")

    def __call__(self, *flags: object) -> tuple[int, str]:
        self.capsys.readouterr()
        given = ["-i", self.source, "-o", 901, "-m", self.model, "--shifts", 1, *flags]
        code = main(["refine_labels", *map(str, given), "-device", "cpu", "--precision", "float32",
                     "--disable_progress_bar"])  # fmt: skip
        text = self.capsys.readouterr()
        assert "Traceback" not in text.err
        return code, text.out + text.err

    def labels(self) -> dict[str, bytes]:
        return {file.name: file.read_bytes() for file in sorted((self.made / "labelsTr").glob("*"))}


@pytest.fixture
def refine(
    tmp_path: Path, write_scan: Write, write_model: Write, dataset_json: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> Refine:  # fmt: skip
    folder = tmp_path / "raw" / "Dataset900_Pairs"
    (folder / "labelsTr").mkdir(parents=True)
    for name in "abc":
        scan = write_scan(f"{name}_0000.nii.gz", folder=folder / "imagesTr", shape=(6, 8, 8))
        annotate(scan, folder / "labelsTr" / f"{name}.nii.gz", 3)
    (folder / "thin_thick.json").write_text(json.dumps({"factor": 3, "threshold": 0.5}))
    (folder / "dataset.json").write_text(json.dumps(dataset_json))
    monkeypatch.setenv("nnUNet_raw", str(tmp_path / "raw"))
    return Refine(folder, write_model(), capsys)


def annotate(scan: Path, file: Path, first_row: int) -> None:
    image = sitk.ReadImage(str(scan))
    values = np.zeros(image.GetSize()[::-1], np.uint8)
    values[:3, first_row:6, 2:6] = 1
    labels = sitk.GetImageFromArray(values)
    labels.CopyInformation(image)
    sitk.WriteImage(labels, str(file))


@pytest.mark.parametrize("error", ERRORS[1:4], ids=repr)
def test_one_bad_case_does_not_stop_the_others(
    error: Exception, refine: Refine, monkeypatch: pytest.MonkeyPatch
) -> None:
    segment, calls = module.predict_volume, []

    def fails(*args: Any, **kwargs: Any) -> Any:
        calls.append(1)
        if len(calls) == 2:
            raise error
        return segment(*args, **kwargs)

    monkeypatch.setattr(module, "predict_volume", fails)
    code, text = refine()
    assert code == 2
    assert "1 of 3 cases" in text
    (line,) = [line for line in text.splitlines() if line.startswith("  b: ")]
    assert "labelsTr/b.nii.gz" in line or "imagesTr/b_0000.nii.gz" in line
    assert list(refine.labels()) == ["a.nii.gz", "c.nii.gz"]
    assert not (refine.made / "dataset.json").exists()
    assert not list(refine.made.glob(".*"))
    monkeypatch.undo()
    monkeypatch.setenv("nnUNet_raw", str(refine.source.parent))
    assert refine()[0] == 0
    assert list(refine.labels()) == ["a.nii.gz", "b.nii.gz", "c.nii.gz"]


@pytest.mark.parametrize("wrong", ["all scans", "labels", "memory", "disk"])
def test_nothing_is_left_that_blocks_a_corrected_second_try(
    wrong: str, refine: Refine, monkeypatch: pytest.MonkeyPatch
) -> None:
    if wrong == "all scans":
        for file in (refine.source / "imagesTr").iterdir():
            os.truncate(file, 50)
    elif wrong == "labels":
        shutil.rmtree(refine.source / "labelsTr")
    else:

        def fails(*args: Any, **kwargs: Any) -> None:
            raise MemoryError if wrong == "memory" else OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr(module, "predict_volume" if wrong == "memory" else "write_labels", fails)
    code, _ = refine("--shifts", 3)
    assert code == 2
    assert not refine.made.exists()


def test_labels_of_another_annotation_are_made_again_and_edited_ones_stay(refine: Refine) -> None:
    assert refine()[0] == 0
    record = read_record(refine.made, "a")
    assert record is not None
    assert (record["configuration"], record["precision"]) == ("3d_fullres", "float32")
    before = refine.labels()
    annotate(refine.source / "imagesTr" / "a_0000.nii.gz", refine.source / "labelsTr" / "a.nii.gz", 1)
    edited = refine.made / "labelsTr" / "b.nii.gz"
    shutil.copy(refine.made / "labelsTr" / "c.nii.gz", edited)
    image = sitk.ReadImage(str(edited))
    sitk.WriteImage(image * 0, str(edited))
    os.truncate(refine.made / "labelsTr" / "c.nii.gz", 50)
    kept = edited.read_bytes()
    assert refine()[0] == 0
    after = refine.labels()
    assert after["a.nii.gz"] != before["a.nii.gz"]
    assert after["b.nii.gz"] == kept
    assert after["c.nii.gz"] == before["c.nii.gz"]


def test_two_refinements_of_one_dataset(refine: Refine) -> None:
    with lock_folder(refine.made):
        code, text = refine()
    assert code == 2
    assert f"process {os.getpid()}" in text


@pytest.fixture
def segmentations(tmp_path: Path, write_scan: Write, dataset_json: dict[str, Any]) -> Path:
    """Predictions and references of two cases."""
    for folder in ("GT", "PRED"):
        for name in "ab":
            scan = write_scan(f"{name}.nii.gz", folder=tmp_path / "scans", shape=(6, 8, 8))
            (tmp_path / folder).mkdir(exist_ok=True)
            annotate(scan, tmp_path / folder / f"{name}.nii.gz", 3)
    (tmp_path / "PRED" / "dataset.json").write_text(json.dumps(dataset_json))
    return tmp_path


@pytest.mark.parametrize("error", ERRORS, ids=repr)
@pytest.mark.parametrize("command", ["evaluate", "quantify"])
def test_a_case_that_cannot_be_measured_is_named(
    error: Exception, command: str, segmentations: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    def fails(*args: Any, **kwargs: Any) -> None:
        raise error

    if command == "evaluate":
        monkeypatch.setattr(evaluate_module, "measure", fails)
        given = [segmentations / "GT", segmentations / "PRED", "-o", segmentations / "out" / "summary.json"]
    else:
        monkeypatch.setattr(quantify_module, "quantify_case", fails)
        given = [segmentations / "PRED", "-o", segmentations / "out"]
    assert main([command, *map(str, given), "-np", "1", "--no_pbar"]) == 2
    assert "PRED/a.nii.gz" in capsys.readouterr().err
    assert not list((segmentations / "out").glob("*"))


@pytest.mark.parametrize("command", ["evaluate", "quantify", "compare", "report"])
def test_no_record_says_where_a_machine_has_its_data(
    command: str, segmentations: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(segmentations)
    truth, predictions, out = (segmentations / name for name in ("GT", "PRED", "out"))
    other = segmentations / "OTHER"
    shutil.copytree(predictions, other)
    given = {
        "evaluate": [truth, predictions, "-o", out / "summary.json"],
        "quantify": [predictions, "-o", out],
        "compare": [predictions, other, "-gt", truth, "-o", out],
        "report": [truth, predictions, "-o", out / "report.html"],
    }[command]
    assert main([command, *map(str, given), "-np", "1", "--no_pbar"]) == 0, capsys.readouterr().err
    files = [file for file in out.rglob("*") if file.is_file()]
    assert files
    for file in files:
        assert str(segmentations) not in file.read_text(encoding="utf-8"), file
    if command == "evaluate":
        case = json.loads((out / "summary.json").read_text())["metric_per_case"][0]
        assert case["prediction_file"] == "../PRED/a.nii.gz"
        assert case["reference_file"] == "../GT/a.nii.gz"


def test_quantify_leaves_a_table_that_it_reads(segmentations: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = segmentations / "PRED" / "classes.csv"
    table.write_text("case,patient\na,p\nb,p\n")
    folder = segmentations / "PRED"
    assert main(["quantify", str(folder), "-o", str(folder), "--scans", str(table), "-np", "1", "--no_pbar"]) == 2
    assert str(table) in capsys.readouterr().err
    assert table.read_text() == "case,patient\na,p\nb,p\n"
