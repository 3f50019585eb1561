"""From thin labels to two models, by the commands a user types."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
import torch

pytestmark = pytest.mark.slow

FACTOR, THRESHOLD = 3, 0.6
TRAINER = "nnUNetTrainerCFSegThinThick_timed"
PLANS = "nnUNetThinThickPlans"


@pytest.fixture(scope="module")
def trained(workspace: Any, write_raw_dataset: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of trained models of a paired dataset."""
    thin = write_raw_dataset(
        tmp_path_factory.mktemp("thin"), "Dataset961_Thin", cases=5, shape=(36, 40, 40), spacing_mm=(1.0, 2.0, 2.0)
    )
    workspace.run("cfseg", "make_pairs", "-i", str(thin), "-d", "962", "-n", "Pairs", "--factor", str(FACTOR),
        "--threshold", str(THRESHOLD), "-np", "1", "--no_pictures", "--no_pbar")  # fmt: skip
    workspace.run("cfseg", "plan_and_preprocess", "-d", "962", "-pl", "ThinThickPlanner", "-gpu_memory_target", "1",
        "-np", "1", "-npfp", "1", "--no_pbar", CFSEG_TEST_PROCESSES="1")  # fmt: skip
    plans_file = workspace.preprocessed / "Dataset962_Pairs" / f"{PLANS}.json"
    plans = json.loads(plans_file.read_text())
    assert plans["configurations"]["3d_fullres"]["cfseg"]["thin_thick"]["threshold"] == THRESHOLD
    plans["configurations"]["3d_fullres"]["cfseg"]["thin_thick"]["loss"]["weights"]["feature"] = 0.1
    plans_file.write_text(json.dumps(plans))
    workspace.run("nnUNetv2_train", "962", "3d_fullres", "0", "-tr", TRAINER, "-p", PLANS, "-device", "cpu",
        CFSEG_TIME_BUDGET_S="3")  # fmt: skip
    return workspace.results / "Dataset962_Pairs"


def test_preprocessed_slabs_are_whole(trained: Path, workspace: Any) -> None:
    from nnunetv2.training.dataloading.nnunet_dataset import nnUNetDatasetBlosc2

    dataset = nnUNetDatasetBlosc2(str(workspace.preprocessed / "Dataset962_Pairs" / f"{PLANS}_3d_fullres"))
    assert len(dataset.identifiers) == 5
    for case in dataset.identifiers:
        _, segmentation, _, _ = dataset.load_case(case)
        labels = np.asarray(segmentation[:])[0]
        assert len(labels) == 36
        slabs = labels.reshape(-1, FACTOR, *labels.shape[1:])
        assert (slabs == slabs[:, :1]).all()
        assert len(np.unique(labels)) == 3


def test_the_log_has_every_term(trained: Path) -> None:
    (log,) = (trained / f"{TRAINER}__{PLANS}__3d_fullres" / "fold_0").glob("training_log_*.txt")
    lines = [line.split(": ", 1)[-1] for line in log.read_text().splitlines() if "total" in line]
    assert 1 <= len(lines) <= 10
    words = lines[-1].split()
    assert words[::2] == ["thick", "feature", "slab", "total"]
    thick, feature, slab, total = map(float, words[1::2])
    assert 0.5 * thick + 0.1 * feature + slab == pytest.approx(total, abs=2e-4)


def test_validation_is_against_thick_and_thin_labels(trained: Path, workspace: Any) -> None:
    folder = trained / f"{TRAINER}__{PLANS}__3d_fullres" / "fold_0" / "validation"
    of_thick, of_thin = (json.loads((folder / name).read_text()) for name in ("summary.json", "summary_thin.json"))
    (case,) = of_thin["metric_per_case"]
    name = Path(case["reference_file"]).name
    thin = sitk.GetArrayFromImage(sitk.ReadImage(str(workspace.raw / "Dataset962_Pairs" / "labelsTr_thin" / name)))
    assert case["metrics"]["1"]["n_ref"] == (thin == 1).sum()
    assert of_thick["metric_per_case"][0]["metrics"]["1"]["n_ref"] != case["metrics"]["1"]["n_ref"]


@pytest.mark.parametrize(("configuration", "slices", "thickness_mm"), [("3d_fullres", 36, 1.0), ("3d_thick", 12, 3.0)])
def test_stock_prediction_takes_both_models(
    trained: Path, workspace: Any, tmp_path: Path, configuration: str, slices: int, thickness_mm: float
) -> None:
    image = sitk.ReadImage(str(workspace.raw / "Dataset962_Pairs" / "imagesTr" / "case_0_0000.nii.gz"))
    if configuration == "3d_thick":
        image = sitk.BinShrink(image, [1, 1, FACTOR])
    (tmp_path / "in").mkdir()
    sitk.WriteImage(image, str(tmp_path / "in" / "case_0_0000.nii.gz"))
    workspace.run("nnUNetv2_predict", "-i", str(tmp_path / "in"), "-o", str(tmp_path / "out"), "-d", "962", "-f", "0",
        "-c", configuration, "-tr", TRAINER, "-p", PLANS, "-device", "cpu", "-npp", "0", "-nps", "0")  # fmt: skip
    segmentation = sitk.ReadImage(str(tmp_path / "out" / "case_0.nii.gz"))
    assert segmentation.GetSize() == (40, 40, slices)
    assert segmentation.GetSpacing()[2] == pytest.approx(thickness_mm)


def test_refined_labels_are_a_dataset_of_nnunet(trained: Path, workspace: Any) -> None:
    pairs, refined = (workspace.raw / name for name in ("Dataset962_Pairs", "Dataset963_Refined"))
    done = workspace.run("cfseg", "refine_labels", "-i", str(pairs), "-o", "963", "-d", "962", "-tr", TRAINER, "-p",
        PLANS, "-c", "3d_fullres", "-f", "0", "-device", "cpu", "--disable_progress_bar")  # fmt: skip
    assert "5 cases, " in done.stdout
    workspace.run("nnUNetv2_extract_fingerprint", "-d", "963", "-np", "1", "--verify_dataset_integrity")
    assert (refined / "splits_final.json").read_bytes() == (pairs / "splits_final.json").read_bytes()


def test_both_models_have_the_same_weights(trained: Path) -> None:
    thin, thick = (
        torch.load(trained / f"{TRAINER}__{PLANS}__{name}" / "fold_0" / "checkpoint_final.pth", weights_only=False)
        for name in ("3d_fullres", "3d_thick")
    )
    assert thick["init_args"]["configuration"] == "3d_thick"
    assert thin["init_args"]["configuration"] == "3d_fullres"
    torch.testing.assert_close(thick["network_weights"], thin["network_weights"], rtol=0, atol=0)


def test_plans_of_pairs(trained: Path) -> None:
    plans = json.loads((trained / f"{TRAINER}__{PLANS}__3d_fullres" / "plans.json").read_text())
    thin, thick = (plans["configurations"][name] for name in ("3d_fullres", "3d_thick"))
    assert plans["transpose_forward"] == [0, 1, 2]
    assert thin["spacing"][0] == pytest.approx(1.0)
    assert thick["spacing"][0] == pytest.approx(3.0)
    assert thick["inherits_from"] == "3d_fullres"
    network = thin["architecture"]["arch_kwargs"]
    center = network["center_patches"] * network["patch_size"][0]
    assert center % FACTOR == 0
    assert thin["patch_size"][0] % (FACTOR * center) == 0


@pytest.mark.gpu
def test_on_a_gpu_the_same_commands_train_and_predict(trained: Path, workspace: Any, tmp_path: Path) -> None:
    """A processor segments as the GPU does, but for voxels on the fence."""
    model = ["-d", "962", "-f", "0", "-c", "3d_fullres", "-tr", TRAINER, "-p", PLANS]
    results = {"nnUNet_results": str(tmp_path / "results")}
    workspace.run("nnUNetv2_train", "962", "3d_fullres", "0", "-tr", TRAINER, "-p", PLANS, "-device", "cuda",
        CFSEG_TIME_BUDGET_S="60", **results)  # fmt: skip
    scans = workspace.raw / "Dataset962_Pairs" / "imagesTr"
    stock, ours = ["nnUNetv2_predict", "--disable_tta"], ["cfseg", "predict", "--shifts", "1", "--precision"]
    labels = []
    for number, (device, *command) in enumerate((
        ("cuda", *stock), ("cuda", *ours, "float32"), ("cpu", *ours, "float32"), ("cuda", *ours, "bfloat16")
    )):  # fmt: skip
        out = tmp_path / str(number)
        workspace.run(*command, "-i", str(scans), "-o", str(out), *model, "-device", device, **results)
        files = sorted(out.glob("*.nii.gz"))
        assert len(files) == 5
        labels.append(np.stack([sitk.GetArrayFromImage(sitk.ReadImage(str(file))) for file in files]))
    dense, exact, on_cpu, half = labels
    assert len(np.unique(exact)) == 3
    assert (exact == on_cpu).mean() > 0.999
    assert (exact == dense).mean() > 0.99
    assert (exact == half).mean() > 0.99
