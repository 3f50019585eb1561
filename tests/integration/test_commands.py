"""nnU-Net's own commands from training to evaluation, as a user types them, on small synthetic scans."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk

pytestmark = pytest.mark.slow

MODEL = ("-tr", "nnUNetTrainerCFSegLearns", "-p", "nnUNetCFSegPlans")


@pytest.fixture(scope="module")
def model(workspace: Any, ct: int) -> Path:
    """The folder of fold 0 after ``nnUNetv2_train``, its augmentation and validation in processes of their own."""
    workspace.run(
        "nnUNetv2_train",
        *(str(ct), "3d_fullres", "0", *MODEL, "-device", "cpu", "--npz"),
        nnUNet_n_proc_DA="1",
        CFSEG_TEST_PROCESSES="1",
        CFSEG_SEED="1",
    )
    return workspace.results / "Dataset901_CT" / "nnUNetTrainerCFSegLearns__nnUNetCFSegPlans__3d_fullres" / "fold_0"


def read(file: Path) -> sitk.Image:
    return sitk.ReadImage(str(file))


def assert_same_grid(image: sitk.Image, other: sitk.Image) -> None:
    assert image.GetSize() == other.GetSize()
    np.testing.assert_allclose(image.GetSpacing(), other.GetSpacing(), rtol=1e-6)
    np.testing.assert_allclose(image.GetOrigin(), other.GetOrigin(), rtol=1e-6)
    np.testing.assert_allclose(image.GetDirection(), other.GetDirection(), atol=1e-6)


def test_train_learns_what_is_easy(model: Path) -> None:
    assert {path.name for path in model.glob("*.pth*")} == {"checkpoint_best.pth", "checkpoint_final.pth"}
    summary = json.loads((model / "validation" / "summary.json").read_text())
    assert summary["mean"]["1"]["Dice"] > 0.5  # brighter than all else


def test_train_writes_probabilities_where_it_is_asked_to(model: Path) -> None:
    validation = model / "validation"
    segmentations = sorted(path.name.split(".")[0] for path in validation.glob("*.nii.gz"))
    assert sorted(path.stem for path in validation.glob("*.npz")) == segmentations
    assert len(segmentations) == 2


def test_predict_gives_segmentations_on_the_grid_of_the_input(workspace: Any, model: Path, tmp_path: Path) -> None:
    """Scans of another spacing and size than those of the training, one of them smaller than a block."""
    scans, predictions = tmp_path / "in", tmp_path / "out"
    scans.mkdir()
    source = read(workspace.raw / "Dataset901_CT" / "imagesTr" / "case_0_0000.nii.gz")
    finer = sitk.Resample(
        source,
        (50, 70, 40),
        sitk.Transform(),
        sitk.sitkLinear,
        source.GetOrigin(),
        (1.0, 1.0, 1.6),
        source.GetDirection(),
        -1000,
    )
    finer.SetDirection((0, 1, 0, -1, 0, 0, 0, 0, 1))
    sitk.WriteImage(source, str(scans / "whole_0000.nii.gz"))
    sitk.WriteImage(finer, str(scans / "finer_0000.nii.gz"))
    sitk.WriteImage(source[10:22, 10:20, 4:9], str(scans / "small_0000.nii.gz"))
    workspace.run(
        "nnUNetv2_predict",
        *("-i", str(scans), "-o", str(predictions), "-d", "901", "-c", "3d_fullres", *MODEL),
        *("-f", "0", "-device", "cpu", "-npp", "1", "-nps", "1", "--disable_tta"),
    )
    assert sorted(path.name for path in predictions.glob("*.nii.gz")) == [
        "finer.nii.gz",
        "small.nii.gz",
        "whole.nii.gz",
    ]
    for file in predictions.glob("*.nii.gz"):
        segmentation = read(file)
        assert_same_grid(segmentation, read(scans / file.name.replace(".nii.gz", "_0000.nii.gz")))
        assert set(np.unique(sitk.GetArrayFromImage(segmentation))) <= {0, 1, 2}
    truth = sitk.GetArrayFromImage(read(workspace.raw / "Dataset901_CT" / "labelsTr" / "case_0.nii.gz")) == 1
    found = sitk.GetArrayFromImage(read(predictions / "whole.nii.gz")) == 1
    assert 2 * (truth & found).sum() / (truth.sum() + found.sum()) > 0.5
