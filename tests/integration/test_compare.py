"""``cfseg compare`` on folders of segmentations."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import SimpleITK as sitk

from nnunetv2_cfseg import cli
from nnunetv2_cfseg.commands import compare, evaluate
from nnunetv2_cfseg.evaluation import evaluate as evaluation
from nnunetv2_cfseg.evaluation.compare.pairs import MEAN

LABELS = {"background": 0, "cube": 1, "bar": 2}
CASES = tuple(f"case_{number}" for number in range(6))
SHAPE = (8, 12, 12)


def truth(*, bar: bool = True) -> np.ndarray:
    """A cube of 4 voxels and a bar of 6, which lies apart."""
    labels = np.zeros(SHAPE, np.uint8)
    labels[2:6, 2:6, 2:6] = 1
    labels[1:7, 9, 9] = 2 if bar else 0
    return labels


def shortened(labels: np.ndarray, slices: int) -> np.ndarray:
    """The cube without its last slices."""
    labels = labels.copy()
    labels[6 - slices : 6, 2:6, 2:6] = 0
    return labels


def write(folder: Path, cases: Sequence[np.ndarray], labels: dict[str, int] | None = LABELS) -> Path:
    folder.mkdir()
    for name, values in zip(CASES, cases, strict=False):
        image = sitk.GetImageFromArray(values)
        image.SetSpacing((1.0, 1.0, 2.0))
        sitk.WriteImage(image, str(folder / f"{name}.nii.gz"))
    if labels is not None:
        content = {"labels": labels, "file_ending": ".nii.gz", "channel_names": {"0": "CT"}, "numTraining": 6}
        (folder / "dataset.json").write_text(json.dumps(content))
    return folder


@pytest.fixture
def folders(tmp_path: Path) -> Path:
    """Truth ``gt`` of six cases, the last without a bar, and three predictions of them.

    ``good`` is one slice of the cube short, ``poor`` two slices, and ``poor`` shows a bar in the last case; ``exact``
    is the truth.
    """
    right = [truth(bar=case != CASES[-1]) for case in CASES]
    write(tmp_path / "gt", right, labels=None)
    write(tmp_path / "exact", right)
    write(tmp_path / "good", [shortened(labels, 1) for labels in right])
    write(tmp_path / "poor", [shortened(truth(), 2) for _ in CASES])
    return tmp_path


@pytest.fixture
def run(folders: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    monkeypatch.setattr(cli, "COMMANDS", (compare,))
    monkeypatch.chdir(folders)
    return lambda *words: cli.main(["compare", *words, "-gt", "gt", "-o", "out", "-np", "1", "--no_pbar"])


def results(folders: Path) -> pd.DataFrame:
    return pd.read_csv(folders / "out" / "comparison.csv").set_index(["reference", "other", "metric", "class"])


def test_by_hand(folders: Path, run: Callable[..., int], capsys: pytest.CaptureFixture[str]) -> None:
    assert run("good", "poor") == 0
    table = results(folders).loc["good", "poor"]
    good, poor = 2 * 48 / (48 + 64), 2 * 32 / (32 + 64)
    cube = table.loc["Dice", "cube"]
    assert (cube["n"], cube["wins"], cube["ties"], cube["losses"]) == (6, 0, 0, 6)
    assert cube["mean_reference"] == pytest.approx(good)
    assert cube["mean_other"] == pytest.approx(poor)
    assert cube["p"] == pytest.approx(2 / 2**6)
    assert cube["p_holm"] == pytest.approx(3 * 2 / 2**6)
    bar = table.loc["Dice", "bar"]  # perfect but for the false alarm, against an absence that counts as perfect
    assert (bar["n"], bar["ties"], bar["losses"]) == (6, 5, 1)
    assert (bar["mean_reference"], bar["mean_other"]) == pytest.approx((1, 5 / 6))
    mean = table.loc["Dice", MEAN]
    assert mean["difference"] == pytest.approx((poor - good) / 2 - (1 / 6) / 2)
    assert mean["low"] < mean["difference"] < mean["high"]
    diagonal = np.linalg.norm(np.array(SHAPE) * (2, 1, 1))
    assert table.loc["HD95_mm", "bar"]["mean_other"] == pytest.approx(diagonal / 6, rel=0.1)
    assert table.loc["HD95_mm", "bar"]["losses"] == 1
    printed = capsys.readouterr().out
    written = (folders / "out" / "comparison.md").read_text(encoding="utf-8")
    assert printed == written.replace("`../", "`")  # the file names folders from where it lies
    assert "absent → false alarm" in printed


def test_of_three_folders_is_of_all_pairs(folders: Path, run: Callable[..., int]) -> None:
    assert run("exact", "good", "poor", "--metrics", "Dice") == 0
    table = results(folders)
    assert list(table.index.droplevel(["metric", "class"]).unique()) == [
        ("exact", "good"),
        ("exact", "poor"),
        ("good", "poor"),
    ]
    assert table["p_holm"].min() == pytest.approx(9 * 2 / 2**6)


def test_against_a_reference_with_names(folders: Path, run: Callable[..., int]) -> None:
    assert run("exact", "good", "poor", "-ref", "good", "--names", "1", "2", "3", "--metrics", "IoU") == 0
    pairs = pd.read_csv(folders / "out" / "comparison.csv", dtype=str)[["reference", "other"]].drop_duplicates()
    assert pairs.to_numpy().tolist() == [["2", "1"], ["2", "3"]]


def test_chill_compares_the_cases_of_all_folders(
    folders: Path, run: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    (folders / "good" / "case_0.nii.gz").unlink()
    for name in ("good", "poor"):
        (folders / name / "case_1.nii.gz").unlink()
    assert run("good", "poor") == 2
    printed = capsys.readouterr().err
    assert "no prediction of case_0, case_1; " in printed
    assert printed.endswith(": good\n")
    assert not (folders / "out").exists()
    assert run("good", "poor", "--chill") == 0
    assert results(folders).loc["good", "poor", "Dice", "cube"]["n"] == 4
    assert set(pd.read_csv(folders / "out" / "cases.csv")["case"]) == set(CASES[2:])
    printed = capsys.readouterr().out
    assert "left out: 1 of the truth's 6 cases, which no folder has" in printed
    assert "gains from this: case_0 (only poor)" in printed
    assert "n = 4: the smallest p this test can give is 0.125" in printed


def test_takes_the_factor_of_a_thin_thick_json(
    folders: Path, run: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("good", "poor", "--metrics", "boundary_Dice") == 2
    assert "boundary_Dice needs a --factor" in capsys.readouterr().err
    (folders / "thin_thick.json").write_text('{"factor": 4}')
    assert run("good", "poor", "--metrics", "boundary_Dice") == 0
    assert json.loads((folders / "out" / "comparison.json").read_text())["settings"]["factor"] == 4
    assert results(folders).loc["good", "poor", "boundary_Dice", "cube"]["losses"] == 6


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (("good",), "at least two folders, got 1: good"),
        (("good", "good"), "a folder cannot be compared with itself, it is named twice: good"),
        (("good", "none"), "no such folder of predictions: none"),
        (("good", "poor", "--metrics", "volume_ml"), "lesion_recall, lesion_F1, boundary_Dice"),
        (("good", "poor", "-ref", "exact"), "got: exact"),
        (("good", "poor", "--names", "a"), "got 1: a"),
        (("good", "poor", "--seed", "-1"), "a seed must be >= 0, got -1"),
        (("good", "poor", "--tolerance", "-1"), "tolerance must be >= 0 mm and finite, got -1 mm"),
        (("gt", "good"), "no dataset.json, name one with -djfile: gt/dataset.json"),
    ],
)
def test_refuses_bad_input_in_a_sentence(
    folders: Path, run: Callable[..., int], capsys: pytest.CaptureFixture[str], words: tuple[str, ...], named: str
) -> None:
    assert run(*words) == 2
    printed = capsys.readouterr()
    assert printed.err.endswith(f"{named}\n")
    assert printed.err.count("\n") == 1
    assert printed.out == ""
    assert not (folders / "out").exists()


def evaluate_all(*names: str) -> list[str]:
    """Tables of the folders, in their order."""
    for name in names:
        assert cli.main(["evaluate", "gt", name, "-o", f"{name}.json", "-np", "1", "--no_pbar"]) == 0
    return [f"{name}.csv" for name in names]


def written(folders: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in (folders / "out").iterdir()}


def test_tables_give_what_measuring_gives(
    folders: Path, run: Callable[..., int], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(cli, "COMMANDS", (compare, evaluate))
    (folders / "thin_thick.json").write_text('{"factor": 4}')
    tables = evaluate_all("good", "poor")
    capsys.readouterr()
    assert run("good", "poor") == 0
    measured, printed = written(folders), capsys.readouterr().out
    monkeypatch.setattr(evaluation, "_measure_case", lambda *_: pytest.fail("measured again"))
    assert run("good", "poor", "--from", *tables) == 0
    assert written(folders) == measured
    assert capsys.readouterr().out == printed


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (("--from", "good.csv"), "--from must be one table for each of the 2 folders, got 1"),
        (("--from", "poor.csv", "good.csv"), "the table is stale, good/case_0.nii.gz has changed since it was measured"
         ": poor.csv"),
        (("--from", "good.csv", "poor.csv", "--tolerance", "2"),
         "the table was measured with tolerance_mm 1.0 instead of 2.0: good.csv"),
    ],
)  # fmt: skip
def test_tables_of_others_are_refused(
    folders: Path,
    run: Callable[..., int],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: tuple[str, ...],
    named: str,
) -> None:
    monkeypatch.setattr(cli, "COMMANDS", (compare, evaluate))
    evaluate_all("good", "poor")
    capsys.readouterr()
    assert run("good", "poor", *words) == 2
    assert capsys.readouterr().err == f"cfseg compare: {named}\n"
    assert not (folders / "out").exists()
