"""A table read again is the evaluation that wrote it, and a table of anything else is refused."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from nnunetv2_cfseg.evaluation import evaluate
from nnunetv2_cfseg.evaluation.evaluate import Evaluation, evaluate_folders
from nnunetv2_cfseg.evaluation.metrics import MetricSettings
from nnunetv2_cfseg.evaluation.saved_table import read_evaluation
from nnunetv2_cfseg.evaluation.summary import summarise, write_summary

from .report.evaluations import write_dataset

SETTINGS = MetricSettings(tolerance_mm=2.0, factor=5)
#: A spreadsheet would run the first name as a formula, and pandas would read the second and the third as other things.
NAMES = ("=one", "NA", "007")


def dataset(folder: Path, settings: MetricSettings = SETTINGS) -> dict[str, Any]:
    """What both ways of having an evaluation are called with."""
    json_file = folder / "made" / "dataset.json"
    return {"truth": folder / "truth", "prediction": folder / "made", "dataset_json": json_file, "plans_json": None,
            "settings": settings}  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """With ``scores.csv`` and ``scores.json`` of predictions of which one is empty."""
    write_dataset(tmp_path, names=NAMES, labels=("liver", "-tumour", "nowhere"))
    for file in tmp_path.glob("*/NA.nii.gz"):  # of this case the last class is in neither
        shutil.copy(write_dataset(tmp_path / "two", names=("NA",)) / file.parent.name / "NA.nii.gz", file)
    measured = evaluate_folders(**dataset(tmp_path), num_processes=1, progress=False)
    write_summary(measured, summarise(measured, resamples=5), tmp_path / "scores.json")
    return tmp_path


def read(folder: Path, **changes: Any) -> Evaluation:
    return read_evaluation(folder / "scores.csv", **{**dataset(folder), **changes})


def test_is_what_was_measured(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    measured = evaluate_folders(**dataset(folder), num_processes=1, progress=False)
    monkeypatch.setattr(evaluate, "_measure_case", lambda *_: pytest.fail("measured again"))
    again = read(folder)
    pd.testing.assert_frame_equal(again.table, measured.table, check_exact=True)
    assert measured.table["Dice"].isna().any()
    assert set(measured.table["case"]) == set(NAMES)
    assert replace(again, table=measured.table) == measured


def test_of_a_copied_folder_is_taken(folder: Path, tmp_path: Path) -> None:
    """Files are known by what is in them: copies have other times."""
    shutil.copytree(folder, tmp_path / "copy")
    assert len(read(tmp_path / "copy").table) == 9


def test_names_what_was_left_out(folder: Path) -> None:
    (folder / "made" / "007.nii.gz").unlink()
    measured = evaluate_folders(**dataset(folder), chill=True, num_processes=1, progress=False)
    write_summary(measured, summarise(measured, resamples=5), folder / "scores.json")
    assert read(folder, chill=True).unpaired.missing_predictions == ("007",)


def test_takes_a_factor_that_is_not_used(folder: Path) -> None:
    other = MetricSettings(tolerance_mm=2.0)
    assert read(folder, settings=other, metrics=("Dice",)).settings == other
    with pytest.raises(ValueError, match=r"factor 5 instead of None: .*scores\.csv$"):
        read(folder, settings=other, metrics=("Dice", "boundary_Dice"))


def change_record(change: Callable[[dict[str, Any]], Any]) -> Callable[[Path], None]:
    """Change what the summary says its table is of."""

    def edit(folder: Path) -> None:
        content = json.loads((folder / "scores.json").read_text())
        change(content["cfseg"])
        (folder / "scores.json").write_text(json.dumps(content))

    return edit


def change_table(folder: Path) -> None:
    with (folder / "scores.csv").open("a") as stream:
        stream.write("\n")


def rename_class(folder: Path) -> None:
    file = folder / "made" / "dataset.json"
    file.write_text(file.read_text().replace("liver", "spleen"))


def copy_over(source: str, target: str) -> Callable[[Path], None]:
    return lambda folder: shutil.copy(folder / source, folder / target)


@pytest.mark.parametrize(
    ("spoil", "named"),
    [
        (lambda folder: (folder / "scores.csv").unlink(), r"there is none: .*scores\.csv$"),
        (lambda folder: (folder / "scores.json").unlink(), r"there is none: .*scores\.json$"),
        (change_table, r"the table is not the one that scores\.json describes: .*scores\.csv$"),
        (change_record(lambda ours: ours.pop("measured")), r"run cfseg evaluate again: .*scores\.json$"),
        (change_record(lambda ours: ours.update(measured=[1])), r"run cfseg evaluate again: "),
        (
            change_record(lambda ours: ours["measured"]["metrics"]["NSD"].update(meaning="")),
            r"by another version of cfseg evaluate \('NSD'\)",
        ),
        (change_record(lambda ours: ours["measured"].update(format=0)), r"\(another format\)"),
        (change_record(lambda ours: ours["measured"].update(cases=3)), "other cases than .*, it lacks "),
        (
            change_record(lambda ours: ours["measured"]["cases"].update(NA="x")),
            r"no checksums of NA: .*scores\.json$",
        ),
        (rename_class, r"has other classes \(liver, -tumour, nowhere\) than .*dataset\.json \(spleen, "),
        (copy_over("made/NA.nii.gz", "made/007.nii.gz"), r"is stale, .*made/007\.nii\.gz has changed since"),
        (copy_over("truth/NA.nii.gz", "truth/=one.nii.gz"), r"is stale, .*truth/=one\.nii\.gz has changed since"),
    ],
)
def test_of_anything_else_is_refused(folder: Path, spoil: Callable[[Path], Any], named: str) -> None:
    spoil(folder)
    with pytest.raises(ValueError, match=named) as refusal:
        read(folder)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("more", [True, False])
def test_of_other_cases_is_refused(folder: Path, more: bool) -> None:
    for part in ("truth", "made"):
        if more:
            shutil.copy(folder / part / "NA.nii.gz", folder / part / "new.nii.gz")
        else:
            (folder / part / "NA.nii.gz").unlink()
    which = "it lacks new" if more else "it has NA"
    with pytest.raises(ValueError, match=f"other cases than {folder / 'made'}, {which}: .*scores.csv$"):
        read(folder)


@pytest.mark.parametrize("tolerance_mm", [1.0, 2.5])
def test_of_other_settings_is_refused(folder: Path, tolerance_mm: float) -> None:
    with pytest.raises(ValueError, match=f"tolerance_mm 2.0 instead of {tolerance_mm}: "):
        read(folder, settings=MetricSettings(tolerance_mm=tolerance_mm, factor=5))


def test_must_be_a_csv(folder: Path) -> None:
    with pytest.raises(ValueError, match=r"takes the \.csv that cfseg evaluate wrote, got: .*scores\.json$"):
        read_evaluation(folder / "scores.json", **dataset(folder))


def test_that_was_made_to_fit_its_checksum_is_refused(folder: Path) -> None:
    """Someone's file may say anything of itself."""
    from nnunetv2_cfseg.files.checksum import sha256

    lines = (folder / "scores.csv").read_text().splitlines(keepends=True)
    (folder / "scores.csv").write_text("".join(lines[:-1]))
    change_record(lambda ours: ours["measured"].update(table_sha256=sha256(folder / "scores.csv")))(folder)
    with pytest.raises(ValueError, match=r"not as cfseg evaluate wrote it: .*scores\.csv$"):
        read(folder)
