"""``cfseg predict`` and ``cfseg export`` as they are typed."""

from __future__ import annotations

import csv
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from nnunetv2_cfseg.cli import main

Write = Callable[..., Path]
FAST = ["-device", "cpu", "--precision", "float32", "--disable_progress_bar"]


def predict(*arguments: object) -> int:
    return main(["predict", *map(str, arguments), *FAST])


def written(folder: Path) -> list[str]:
    return sorted(file.name for file in folder.iterdir() if file.suffix != ".json" and file.is_file())


def labels(file: Path) -> np.ndarray:
    return sitk.GetArrayFromImage(sitk.ReadImage(str(file)))


@pytest.fixture
def scans(write_scan: Write) -> Path:
    for name in "abc":
        folder = write_scan(f"{name}_0000.nii.gz").parent
    return folder


def test_a_folder_by_the_flags_of_nnunet(
    scans: Path, write_model: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_model()
    monkeypatch.setenv("nnUNet_results", str(tmp_path / "results"))
    out = tmp_path / "out"
    assert predict("-i", scans, "-o", out, "-d", 900, "-p", "nnUNetTinyPlans", "-f", 0, "--volumes") == 0
    assert written(out) == ["a.nii.gz", "b.nii.gz", "c.nii.gz", "volumes.csv"]
    assert (out / "dataset.json").is_file()  # which evaluation looks for
    assert (out / "plans.json").is_file()
    found = labels(out / "a.nii.gz")
    assert found.shape == (9, 14, 15)
    assert found.dtype == np.uint8
    with (out / "volumes.csv").open() as stream:
        rows = [row for row in csv.DictReader(stream) if row["case"] == "a"]
    assert {row["class"]: float(row["volume_ml"]) for row in rows} == {
        name: pytest.approx((found == value).sum() * 2 * 1.5 * 1.5 / 1000, abs=1e-4)
        for value, name in ((1, "bright"), (2, "fatty"))
    }
    assert f"3 cases: {out}" in capsys.readouterr().out


def test_one_file_with_a_model_folder_and_probabilities(scans: Path, write_model: Write, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert predict("-i", scans / "a_0000.nii.gz", "-o", out, "-m", write_model(), "--save_probabilities") == 0
    probabilities = np.load(out / "a.npz")["probabilities"]
    assert probabilities.shape == (3, 9, 14, 15)
    np.testing.assert_allclose(probabilities.sum(0), 1, atol=1e-5)
    assert np.array_equal(probabilities.argmax(0), labels(out / "a.nii.gz"))


def test_a_bundle_predicts_as_the_folder_it_was_made_of(scans: Path, write_model: Write, tmp_path: Path) -> None:
    folder, bundle = write_model(folds=("0", "1")), tmp_path / "bundle"
    assert (
        main(["export", "-m", str(folder), "-o", str(bundle), "--licence", "cc0-1.0", "--training_data", "None."]) == 0
    )
    for model, out in ((folder, "one"), (bundle, "other")):
        assert predict("-i", scans, "-o", tmp_path / out, "-m", model) == 0
    assert (tmp_path / "one" / "a.nii.gz").read_bytes() == (tmp_path / "other" / "a.nii.gz").read_bytes()


def test_thick_scans_are_given_to_the_thick_model(write_model: Write, write_scan: Write, tmp_path: Path) -> None:
    thin = write_model()
    thick = write_model("nnUNetTrainerCFSeg__nnUNetTinyPlans__3d_thick", configuration="3d_thick")
    write_scan("thin_0000.nii.gz")
    scans = write_scan("thick_0000.nii.gz", spacing_mm=(9.0, 1.5, 1.5)).parent
    for name, model, more in (("both", thin, []), ("thin", thin, ["-c", "3d_fullres"]), ("thick", thick, [])):
        assert predict("-i", scans, "-o", tmp_path / name, "-m", model, *more) == 0
    for case, which, not_which in (("thin", "thin", "thick"), ("thick", "thick", "thin")):
        both = labels(tmp_path / "both" / f"{case}.nii.gz")
        assert np.array_equal(both, labels(tmp_path / which / f"{case}.nii.gz"))
        assert not np.array_equal(both, labels(tmp_path / not_which / f"{case}.nii.gz"))


def test_a_case_that_fails_does_not_stop_the_others(
    scans: Path, write_model: Write, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    os.truncate(scans / "a_0000.nii.gz", 100)
    out = tmp_path / "out"
    assert predict("-i", scans, "-o", out, "-m", write_model()) == 2
    assert written(out) == ["b.nii.gz", "c.nii.gz"]
    error = capsys.readouterr().err
    assert "1 of 3 cases could not be segmented" in error
    assert str(scans / "a_0000.nii.gz") in error
    assert "Traceback" not in error


def test_a_scan_is_not_written_over(write_scan: Write, write_model: Write, capsys: pytest.CaptureFixture[str]) -> None:
    scan = write_scan("head.nii.gz")
    before = scan.read_bytes()
    assert predict("-i", scan, "-o", scan.parent, "-m", write_model()) == 2
    assert f"must not replace a file that is read, and this one would: {scan}" in capsys.readouterr().err
    assert scan.read_bytes() == before


def test_a_device_that_is_not_there(scans: Path, write_model: Write, capsys: pytest.CaptureFixture[str]) -> None:
    import torch

    absent = "mps" if not torch.backends.mps.is_available() else "cuda"
    out = scans / "out"
    assert main(["predict", "-i", str(scans), "-o", str(out), "-m", str(write_model()), "-device", absent]) == 2
    assert not out.exists()
    assert f"-device must be one that torch finds on this machine, got {absent}" in capsys.readouterr().err


def test_parts_and_what_is_done_already(scans: Path, write_model: Write, tmp_path: Path) -> None:
    model, out = write_model(), tmp_path / "out"
    assert predict("-i", scans, "-o", out, "-m", model, "-num_parts", 2, "-part_id", 1) == 0
    assert written(out) == ["b.nii.gz"]
    before = (out / "b.nii.gz").stat().st_mtime_ns
    assert predict("-i", scans, "-o", out, "-m", model, "--continue_prediction") == 0
    assert len(written(out)) == 3
    assert (out / "b.nii.gz").stat().st_mtime_ns == before


def test_an_interruption_leaves_whole_files_alone(
    scans: Path, write_model: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from nnunetv2_cfseg.inference import predict as module

    segment, calls = module.predict_volume, []

    def second_time(*args, **kwargs):
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return segment(*args, **kwargs)

    monkeypatch.setattr(module, "predict_volume", second_time)
    out = tmp_path / "out"
    assert predict("-i", scans, "-o", out, "-m", write_model()) == 130
    assert written(out) == ["a.nii.gz"]
    assert [file.name for file in (out / "provenance").iterdir()] == ["a.json"]
    assert labels(out / "a.nii.gz").shape == (9, 14, 15)


@pytest.mark.gpu
def test_a_gpu_segments_as_a_processor_does(scans: Path, write_model: Write, tmp_path: Path) -> None:
    model, out = write_model(), {device: tmp_path / device for device in ("cpu", "cuda")}
    for device, folder in out.items():
        call = ["predict", "-i", scans, "-o", folder, "-m", model, "-device", device, "--precision", "float32"]
        assert main([*map(str, call), "--mirror", "--volumes", "--save_probabilities"]) == 0
    on_cpu, on_gpu = (labels(folder / "a.nii.gz") for folder in out.values())
    assert (on_cpu == on_gpu).mean() > 0.999
    likely = [np.load(folder / "a.npz")["probabilities"] for folder in out.values()]
    np.testing.assert_allclose(*likely, atol=1e-4)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "a model must be named either with -m FOLDER or with -d DATASET"),
        (["-d", "900"], "nnU-Net's folders must be set, and nnUNet_results is not set"),
        (["-m", "nowhere"], "a model must be a folder, and there is none: nowhere"),
    ],
)
def test_a_model_must_be_named(
    arguments: list[str], message: str, scans: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert predict("-i", scans, "-o", tmp_path / "out", *arguments) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_the_models_of_the_dataset_are_named(
    scans: Path, write_model: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    model = write_model(folds=("0", "1"))
    monkeypatch.setenv("nnUNet_results", str(tmp_path / "results"))
    assert predict("-i", scans, "-o", tmp_path / "out", "-d", 900, "-tr", "Nobody") == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert (
        f"there is no model Nobody__nnUNetCFSegPlans__3d_fullres of {model.parent.name} (-tr, -p, -c); there is "
        in line
    )
    assert f"{model.name} (folds 0, 1): {model.parent}" in line


def test_flags_out_of_range(
    scans: Path, write_model: Write, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = write_model()
    assert predict("-i", scans, "-o", tmp_path, "-m", model, "-part_id", 3) == 2
    assert "-part_id must be from 0 to -num_parts - 1 = 0, got 3" in capsys.readouterr().err
    assert predict("-i", scans, "-o", tmp_path, "-m", model, "--shifts", 0) == 2
    assert "--shifts must be from 1 to 8" in capsys.readouterr().err
    monkeypatch.setenv("nnUNet_results", str(tmp_path / "results"))
    assert predict("-i", scans, "-o", tmp_path, "-d", 901) == 2
    assert (
        "-d must be the id or the name of one dataset in nnUNet_results, got '901', and there is no such dataset"
        in capsys.readouterr().err
    )
