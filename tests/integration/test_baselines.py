"""Every baseline trains and predicts as any trainer of nnU-Net."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

pytestmark = pytest.mark.slow

BASELINES = (
    "nnUNetTrainer_UNETR", "nnUNetTrainer_SwinUNETR", "nnUNetTrainer_UNetPlusPlus", "nnUNetTrainer_UNet3D",
    "nnUNetTrainer_ResidualUNet3D",
)  # fmt: skip


@pytest.mark.parametrize("name", [*(f"{name}_timed" for name in BASELINES), "nnUNetTrainer_Primus_S_timed"])
def test_trains_for_two_iterations_and_predicts(
    trainings: Any, ct: int, stock_plans: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CFSEG_TIME_BUDGET_S", "0.1")
    trainer = trainings.trainer(ct, trainer=name, plans=stock_plans)
    trainer.num_iterations_per_epoch, trainer.num_val_iterations_per_epoch, trainer.num_epochs = 2, 1, 1
    trainer.save_every = 100  # some have a hundred million weights
    trainer.logger.plot_progress_png = lambda folder: None
    trainer.run_training()
    losses = trainer.logger.get_value("train_losses", step=None)
    assert np.isfinite(losses).all()
    predictor = nnUNetPredictor(use_mirroring=False, tile_step_size=1, device=torch.device("cpu"), allow_tqdm=False)
    predictor.initialize_from_trained_model_folder(trainer.output_folder_base, (0,))
    scan = trainings.workspace.raw / "Dataset901_CT" / "imagesTr" / "case_0_0000.nii.gz"
    predictor.predict_from_files_sequential([[str(scan)]], [str(tmp_path / "case_0")])
    segmentation = sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "case_0.nii.gz")))
    assert segmentation.shape == sitk.GetArrayFromImage(sitk.ReadImage(str(scan))).shape
