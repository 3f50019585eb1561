"""Every baseline, with its own recipe and with ours, trains and predicts as any trainer of nnU-Net."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from monai.networks import nets
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

pytestmark = pytest.mark.slow

#: Networks, and the smallest crop that each trains on: norms need two voxels at the coarsest level.
CROPS = {
    "UNETR": (16, 16, 32), "SwinUNETR": (32, 32, 64), "UNetPlusPlus": (16, 16, 32), "UNet3D": (8, 8, 16),
    "ResidualUNet3D": (16, 16, 32), "Primus_S": (16, 16, 32),
}  # fmt: skip


@pytest.fixture
def _few_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make these two narrower: of papers' sizes, with a hundred million weights, checkpoints alone take seconds."""
    unetr = partial(nets.UNETR, hidden_size=48, mlp_dim=96, num_heads=4, feature_size=8)
    monkeypatch.setattr(nets, "UNETR", unetr)
    swin_unetr = nets.SwinUNETR
    monkeypatch.setattr(
        nets, "SwinUNETR", lambda *sizes, feature_size: swin_unetr(*sizes, feature_size=feature_size // 4)
    )


@pytest.fixture
def plans(workspace: Any, ct: int, stock_plans: str, name: str) -> str:
    """nnU-Net's plans for that crop."""
    folder = workspace.dataset_folder(ct)
    plans = json.loads((folder / f"{stock_plans}.json").read_text())
    plans["plans_name"] = f"{stock_plans}_{name}"
    plans["configurations"]["3d_fullres"]["patch_size"] = CROPS[name]
    (folder / f"{plans['plans_name']}.json").write_text(json.dumps(plans))
    return plans["plans_name"]


@pytest.mark.usefixtures("_few_weights")
@pytest.mark.parametrize("prefix", ["nnUNetTrainer", "nnUNetTrainerCompact"])
@pytest.mark.parametrize("name", CROPS)
def test_trains_for_two_iterations_and_predicts(
    trainings: Any, ct: int, plans: str, name: str, prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CFSEG_TIME_BUDGET_S", "0.1")
    trainer = trainings.trainer(ct, trainer=f"{prefix}_{name}_timed", plans=plans)
    trainer.num_iterations_per_epoch, trainer.num_val_iterations_per_epoch, trainer.num_epochs = 2, 1, 1
    trainer.save_every = 100
    trainer.logger.plot_progress_png = lambda folder: None
    trainer.run_training()
    losses = trainer.logger.get_value("train_losses", step=None)
    assert np.isfinite(losses).all()
    predictor = nnUNetPredictor(use_mirroring=False, tile_step_size=1, device=torch.device("cpu"), allow_tqdm=False)
    predictor.initialize_from_trained_model_folder(trainer.output_folder_base, (0,))
    whole = sitk.ReadImage(str(trainings.workspace.raw / "Dataset901_CT" / "imagesTr" / "case_0_0000.nii.gz"))
    z, y, x = CROPS[name]
    scan = whole[:x, :y, :z]
    sitk.WriteImage(scan, str(tmp_path / "scan_0000.nii.gz"))
    predictor.predict_from_files_sequential([[str(tmp_path / "scan_0000.nii.gz")]], [str(tmp_path / "scan")])
    assert sitk.ReadImage(str(tmp_path / "scan.nii.gz")).GetSize() == scan.GetSize()
