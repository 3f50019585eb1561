"""``cfseg refine_labels`` as it is typed, with a network that has learnt nothing."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from nnunetv2_cfseg.cli import main

Write = Callable[..., Path]
FACTOR = 3


@pytest.fixture
def pairs(write_scan: Write, tmp_path: Path) -> Path:
    """A dataset of pairs: three scans of nine slices, the middle slab marked."""
    folder = tmp_path / "raw" / "Dataset900_Pairs"
    for name in "abc":
        scan = write_scan(f"{name}_0000.nii.gz")
        (folder / "imagesTr").mkdir(parents=True, exist_ok=True)
        (folder / "labelsTr").mkdir(exist_ok=True)
        scan.replace(folder / "imagesTr" / scan.name)
        image = sitk.ReadImage(str(folder / "imagesTr" / scan.name))
        values = np.zeros(image.GetSize()[::-1], dtype=np.uint8)
        values[3:6, 4:9, 5:10] = 1
        labels = sitk.GetImageFromArray(values)
        labels.CopyInformation(image)
        sitk.WriteImage(labels, str(folder / "labelsTr" / f"{name}.nii.gz"))
    (folder / "thin_thick.json").write_text(json.dumps({"factor": FACTOR, "threshold": 0.5}))
    (folder / "splits_final.json").write_text(json.dumps([{"train": ["a", "b"], "val": ["c"]}]))
    return folder


@pytest.fixture
def refine(pairs: Path, write_model: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    write_model()
    model_labels = next((tmp_path / "results").rglob("dataset.json"))
    (pairs / "dataset.json").write_text(json.dumps({**json.loads(model_labels.read_text()), "numTraining": 3}))
    monkeypatch.setenv("nnUNet_results", str(tmp_path / "results"))
    monkeypatch.setenv("nnUNet_raw", str(tmp_path / "raw"))

    def run(*flags: object) -> int:
        arguments = ["-i", pairs, "-o", 901, "-d", 900, "-p", "nnUNetTinyPlans", "-f", 0, *flags]
        return main(["refine_labels", *map(str, arguments), "-device", "cpu", "--precision", "float32",
                     "--disable_progress_bar"])  # fmt: skip

    return run


def labels(file: Path) -> np.ndarray:
    return sitk.GetArrayFromImage(sitk.ReadImage(str(file)))


def test_a_dataset_that_nnunet_can_plan(
    refine: Callable[..., int], pairs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert refine() == 0
    made = pairs.with_name("Dataset901_Refined")
    assert sorted(file.name for file in made.iterdir()) == [
        "dataset.json", "imagesTr", "labelsTr", "provenance", "splits_final.json", "thin_thick.json",
    ]  # fmt: skip
    assert json.loads((made / "thin_thick.json").read_text())["factor"] == FACTOR
    assert "3 cases, " in capsys.readouterr().out
    for name in "abc":
        before, after = (labels(folder / "labelsTr" / f"{name}.nii.gz") for folder in (pairs, made))
        assert after.shape == before.shape
        assert after.any()
        far = np.ones_like(before, dtype=bool)
        far[:, 2:11, 3:12] = False  # within reach of the marks
        assert not after[far].any()
    image, label = (sitk.ReadImage(str(made / folder)) for folder in ("imagesTr/a_0000.nii.gz", "labelsTr/a.nii.gz"))
    assert label.GetOrigin() == image.GetOrigin()


def test_one_that_was_stopped_goes_on(refine: Callable[..., int], pairs: Path) -> None:
    assert refine() == 0
    made = pairs.with_name("Dataset901_Refined")
    whole = labels(made / "labelsTr" / "b.nii.gz")
    kept = (made / "labelsTr" / "a.nii.gz").stat().st_mtime_ns
    (made / "labelsTr" / "b.nii.gz").unlink()
    (made / "dataset.json").unlink()
    assert refine() == 0
    np.testing.assert_array_equal(labels(made / "labelsTr" / "b.nii.gz"), whole)
    assert (made / "labelsTr" / "a.nii.gz").stat().st_mtime_ns == kept
    assert refine("--shifts", 1) == 2  # begun with four grids


def test_what_cannot_be_refined_is_refused(
    refine: Callable[..., int], pairs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = pairs.with_name("Dataset901_Refined")
    annotation = labels(pairs / "labelsTr" / "a.nii.gz")
    annotation[4] = 0
    image = sitk.GetImageFromArray(annotation)
    image.CopyInformation(sitk.ReadImage(str(pairs / "labelsTr" / "a.nii.gz")))
    sitk.WriteImage(image, str(pairs / "labelsTr" / "a.nii.gz"))
    assert refine() == 2
    assert "must be the same on all 3 slices of a slab: " in capsys.readouterr().err
    assert not (made / "dataset.json").exists()
    dataset = json.loads((pairs / "dataset.json").read_text())
    (pairs / "dataset.json").write_text(json.dumps({**dataset, "labels": {"background": 0, "other": 1}}))
    assert refine() == 2
    assert "the model must have the dataset's labels" in capsys.readouterr().err
    (pairs / "thin_thick.json").unlink()
    assert refine() == 2
    assert "a dataset of pairs (cfseg make_pairs) has a thin_thick.json, and there is none" in capsys.readouterr().err


def test_a_folder_with_something_else_is_left_alone(
    refine: Callable[..., int], pairs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = pairs.with_name("Dataset901_Refined")
    other.mkdir()
    (other / "notes.txt").write_text("mine")
    assert refine() == 2
    assert "needs a folder of its own" in capsys.readouterr().err
    assert [file.name for file in other.iterdir()] == ["notes.txt"]
