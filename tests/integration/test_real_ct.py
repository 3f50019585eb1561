"""The whole way on real CTs, shortened: plan, preprocess, train, predict and evaluate."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk

pytestmark = pytest.mark.slow


def take_cases(source: Path, target: Path, count: int) -> list[str]:
    """Copy the first cases of a raw dataset; returns their names."""
    dataset_json = json.loads((source / "dataset.json").read_text())
    ending = dataset_json["file_ending"]
    names = sorted(path.name.removesuffix(ending) for path in (source / "labelsTr").glob(f"*{ending}"))[:count]
    assert len(names) == count
    for part in ("imagesTr", "labelsTr"):
        (target / part).mkdir(parents=True)
    for name in names:
        shutil.copy(source / "imagesTr" / f"{name}_0000{ending}", target / "imagesTr")
        shutil.copy(source / "labelsTr" / f"{name}{ending}", target / "labelsTr")
    (target / "dataset.json").write_text(json.dumps({**dataset_json, "numTraining": count}))
    return names


def test_head_and_neck_from_planning_to_evaluation(workspace: Any, real_ct_data: Path, tmp_path: Path) -> None:
    name = "Dataset501_OpenKBP"
    raw = workspace.raw / name
    case = take_cases(real_ct_data / "openkbp", raw, 5)[0]  # one a fold
    workspace.run(
        "cfseg", "plan_and_preprocess", "-d", "501", "-gpu_memory_target", "1", "-np", "1", "-npfp", "1", "--no_pbar"
    )
    plans = json.loads((workspace.preprocessed / name / "nnUNetCFSegPlans.json").read_text())
    section = plans["configurations"]["3d_fullres"]["cfseg"]
    assert section["mirror_axes"] == []  # a left and a right parotid

    workspace.shrink_plans(name)
    model = ("-tr", "nnUNetTrainerCFSegShort", "-p", "nnUNetTinyPlans")
    workspace.run(
        "nnUNetv2_train", "501", "3d_fullres", "0", *model, "-device", "cpu", CFSEG_TEST_EPOCHS="1", CFSEG_SEED="1"
    )
    scans, references, predictions = (tmp_path / part for part in ("scans", "references", "predictions"))
    for folder, file in ((scans, raw / f"imagesTr/{case}_0000.nii.gz"), (references, raw / f"labelsTr/{case}.nii.gz")):
        folder.mkdir()
        shutil.copy(file, folder)
    workspace.run(
        "nnUNetv2_predict",
        *("-i", str(scans), "-o", str(predictions), "-d", "501", "-c", "3d_fullres", *model),
        *("-f", "0", "-device", "cpu", "-npp", "0", "-nps", "0", "--disable_tta"),
    )
    scan, prediction = (sitk.ReadImage(str(next(folder.glob("*.nii.gz")))) for folder in (scans, predictions))
    assert prediction.GetSize() == scan.GetSize()
    for grid in ("GetSpacing", "GetOrigin", "GetDirection"):
        np.testing.assert_allclose(getattr(prediction, grid)(), getattr(scan, grid)(), rtol=1e-5, atol=1e-6)

    workspace.run(
        "nnUNetv2_evaluate_folder",
        *(str(references), str(predictions), "-np", "1"),
        *("-djfile", str(predictions / "dataset.json"), "-pfile", str(predictions / "plans.json")),
    )
    summary = json.loads((predictions / "summary.json").read_text())
    assert len(summary["metric_per_case"]) == 1
    assert set(summary["mean"]) == {"1", "2", "3", "4", "5"}
    for metrics in summary["mean"].values():
        assert 0 <= metrics["Dice"] <= 1
        assert metrics["n_ref"] > 0


def test_sarcoma_plans_and_trains(workspace: Any, trainings: Any, real_ct_data: Path) -> None:
    name = "Dataset502_STS"
    take_cases(real_ct_data / "sts", workspace.raw / name, 4)
    workspace.plan_and_preprocess(502)
    plans = json.loads((workspace.preprocessed / name / "nnUNetCFSegPlans.json").read_text())
    configuration = plans["configurations"]["3d_fullres"]
    patch = np.array(configuration["architecture"]["arch_kwargs"]["patch_size"])
    edges_mm = patch * configuration["spacing"]
    assert np.ptp(edges_mm) <= max(configuration["spacing"])  # slices are three times as thick as pixels
    assert (np.array(configuration["patch_size"]) % patch == 0).all()

    trainer = trainings.train(502, fold="all", plans="nnUNetCFSegPlans", epochs=2)  # four cases are too few for folds
    for key in ("train_losses", "val_losses"):
        assert np.isfinite(trainer.logger.get_value(key, step=None)).all()
    assert (Path(trainer.output_folder) / "checkpoint_final.pth").is_file()
