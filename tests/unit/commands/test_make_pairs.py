"""``cfseg make_pairs``: its flags, what it prints, and refusals in one line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk

from nnunetv2_cfseg import cli
from nnunetv2_cfseg.data.pairing import dataset

WriteRaw = Callable[..., Path]
QUIET = ["-d", "7", "-np", "1", "--no_pbar", "--no_pictures"]


@pytest.fixture
def raw(write_raw_dataset: WriteRaw, tmp_path: Path) -> Path:
    """Four CTs of 13 slices with thin labels."""
    return write_raw_dataset(tmp_path, "thin", cases=4, shape=(13, 12, 14))


def thicken(raw: Path, folder: Path, factor: int) -> tuple[Path, Path]:
    """Thick images and labels of a dataset, in plain folders, on grids that begin with the scan."""
    for kind in ("images", "labels"):
        (folder / kind).mkdir(parents=True)
        for file in sorted((raw / f"{kind}Tr").iterdir()):
            image = sitk.ReadImage(str(file))
            array = sitk.GetArrayFromImage(image)
            slabs = array[: len(array) // factor * factor].reshape(-1, factor, *array.shape[1:])
            values = slabs.mean(axis=1).round().astype(np.int16) if kind == "images" else slabs[:, factor // 2]
            thick = sitk.GetImageFromArray(values)
            thick.SetSpacing((*image.GetSpacing()[:2], image.GetSpacing()[2] * factor))
            thick.SetOrigin(image.TransformContinuousIndexToPhysicalPoint((0, 0, (factor - 1) / 2)))
            sitk.WriteImage(thick, str(folder / kind / file.name))
    return folder / "images", folder / "labels"


def run(*arguments: str | Path) -> int:
    return cli.main(["make_pairs", *map(str, arguments)])


def test_thin_labels_go_to_nnunets_folder(
    raw: Path, nnunet_folders: SimpleNamespace, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("-i", raw, *QUIET, "--factor", "4", "--test_share", "0.25") == 0
    folder = nnunet_folders.raw / "Dataset007_ThinThick"
    captured = capsys.readouterr()
    line, left_out = captured.out.splitlines()
    assert line.startswith("3 training and 1 test cases, 4 thin slices in a thick one, thick labels simulated")
    assert line.endswith(f": {folder}")
    assert left_out == "4 thin slices of 4 cases were left out, as no whole slab covers them"
    assert captured.err == ""
    assert json.loads((folder / "dataset.json").read_text())["numTraining"] == 3
    assert len(list((folder / "labelsTs_thin").iterdir())) == 1


def test_thick_labels_and_thick_images(raw: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    images, labels = thicken(raw, tmp_path / "thick", 4)
    arguments = ["-i", raw / "imagesTr", "-l", labels, "-djfile", raw / "dataset.json", "-o", tmp_path, *QUIET]
    assert run(*arguments, "-n", "Annotated", "--test", "case_1") == 0
    assert run(*arguments, "-n", "Annotated", "--test", "case_1", "--labels", "thick", "--factor", "4") == 0
    out = capsys.readouterr().out
    assert out.startswith("3 training and 1 test cases, 4 thin slices in a thick one, thick labels annotated: ")
    sidecar = json.loads((tmp_path / "Dataset007_Annotated/thin_thick.json").read_text())
    assert sidecar["test"] == ["case_1"]
    assert sidecar["cases"]["case_0"]["left_out"]["image_slices"] == [0, 1]

    arguments[arguments.index("7")] = "8"
    assert run(*arguments, "-n", "Checked", "-t", images) == 0
    sidecar = json.loads((tmp_path / "Dataset008_Checked/thin_thick.json").read_text())
    assert sidecar["with_thick_images"]
    assert sidecar["cases"]["case_3"]["thick_image_correlation"] > 0.99


def test_says_what_was_resampled_and_left_out(raw: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, labels = thicken(raw, tmp_path / "thick", 4)
    (raw / "imagesTs").mkdir()
    (raw / "imagesTr/case_3_0000.nii.gz").rename(raw / "imagesTs/case_3_0000.nii.gz")
    (labels / "case_3.nii.gz").unlink()
    (raw / "labelsTr/case_3.nii.gz").unlink()
    for file in labels.iterdir():
        (raw / "labelsTr" / file.name).write_bytes(file.read_bytes())
    assert run("-i", raw, "-o", tmp_path, *QUIET, "--factor", "3") == 0
    out = capsys.readouterr().out
    assert "3 training and 0 test cases, 3 thin slices in a thick one, thick labels annotated, " in out
    assert "images of 3 resampled, 1 test images without labels left out: " in out


def test_says_where_the_pictures_are(raw: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flags = [flag for flag in QUIET if flag != "--no_pictures"]
    assert run("-i", raw, "-o", tmp_path, *flags, "--factor", "13") == 0
    folder = tmp_path / "Dataset007_ThinThick"
    line = capsys.readouterr().out.splitlines()[1]
    assert line == f"No thin slice was left out; look at some of the pictures in {folder / 'pictures'}"
    assert len(list((folder / "pictures").iterdir())) == 4


def test_patients_and_flags_reach_the_dataset(raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[dict[str, Any]] = []
    sidecar = {"cases": {}, "training": [], "test": [], "factor": 3, "labels": "simulated"}
    monkeypatch.setattr(dataset, "make_dataset", lambda *args, **kwargs: calls.append(kwargs) or sidecar)
    table = tmp_path / "patients.csv"
    table.write_text("case,patient\n" + "".join(f"case_{i},p{i // 2}\n" for i in range(4)))
    flags = ["--factor", "3", "--threshold", "0.3", "--folds", "4", "--seed", "9", "-np", "2", "--no_pbar"]
    assert run("-i", raw, "-o", tmp_path, "-d", "5", *flags, "--patients", table) == 0
    assert run("-i", raw, "-o", tmp_path, "-d", "5", *flags, "--patient_pattern", r"^([a-z]+)_") == 0
    first, second = calls
    assert (first["settings"].factor, first["settings"].threshold, first["settings"].values) == (3, 0.3, (0, 1, 2))
    assert dict(first["split"].patients) == {"case_0": "p0", "case_1": "p0", "case_2": "p1", "case_3": "p1"}
    assert set(second["split"].patients.values()) == {"case"}
    assert (first["split"].folds, first["split"].seed, first["split"].test) == (4, 9, None)
    assert (first["num_processes"], first["pictures"], first["progress"]) == (2, True, False)


@pytest.mark.parametrize(
    ("flags", "named"),
    [
        ([], "thin labels need a --factor"),
        (["--factor", "1"], "at most 1000, got 1"),
        (["--factor", "40"], "a scan must have a whole slab of 40 labelled slices, got 13"),
        (["--factor", "4", "--threshold", "0"], "a threshold must be above 0"),
        (["--factor", "4", "--thickness", "5"], "a thickness is only for annotated thick slices"),
        (["--factor", "4", "--labels", "thick"], "labels must be thick as asked for"),
        (["--factor", "4", "--test", "nobody"], "unknown test case 'nobody'"),
        (["--factor", "4", "--patient_pattern", "x"], "must match every case"),
        (["--factor", "4", "-d", "0"], "a dataset id must be from 1 to 999, got 0"),
        (["--factor", "4", "-np", "0"], "-np must be from 1 to "),
        (["--factor", "4", "-djfile", "nowhere.json"], "there is none: nowhere.json"),
    ],
)
def test_refusals_are_one_line_and_write_nothing(
    raw: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], flags: list[str], named: str
) -> None:
    (tmp_path / "out").mkdir()
    assert run("-i", raw, "-o", tmp_path / "out", *QUIET, *flags) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert len(captured.err.splitlines()) == 1
    assert captured.err.startswith("cfseg make_pairs: ")
    assert named in captured.err
    assert list((tmp_path / "out").iterdir()) == []


def test_test_cases_are_named_or_drawn(raw: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        run("-i", raw, *QUIET, "--factor", "4", "--test", "case_1", "--test_share", "0.2")
    assert "not allowed with argument" in capsys.readouterr().err
