"""nnU-Net's U-Net with our recipe, from planning to prediction."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

from nnunetv2_cfseg.networks.windowed import Windowed
from nnunetv2_cfseg.planners.plan_and_preprocess import plan_and_preprocess

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def compact_plans(workspace: Any, ct: int) -> str:
    with workspace.in_process():
        plan_and_preprocess(
            [ct], planner="CompactPlanner", num_processes=[1], num_processes_fingerprint=1, progress=False
        )
    return "nnUNetCompactPlans"


def train(trainings: Any, dataset: int, plans: str) -> Any:
    trainer = trainings.trainer(dataset, trainer="nnUNetTrainerCompact", plans=plans)
    trainer.num_iterations_per_epoch, trainer.num_val_iterations_per_epoch, trainer.num_epochs = 2, 1, 2
    trainer.logger.plot_progress_png = lambda folder: None
    trainer.run_training()
    return trainer


def test_trains_and_predicts_with_nnunets_predictor(
    trainings: Any, ct: int, compact_plans: str, tmp_path: Path
) -> None:
    trainer = train(trainings, ct, compact_plans)
    assert np.isfinite(trainer.logger.get_value("train_losses", step=None)).all()
    assert isinstance(trainer.network, Windowed)
    predictor = nnUNetPredictor(use_mirroring=True, tile_step_size=1, device=torch.device("cpu"), allow_tqdm=False)
    predictor.initialize_from_trained_model_folder(trainer.output_folder_base, (0,))
    assert predictor.allowed_mirroring_axes == trainer.section.mirror_axes
    scan = trainings.workspace.raw / "Dataset901_CT" / "imagesTr" / "case_0_0000.nii.gz"
    predictor.predict_from_files_sequential([[str(scan)]], [str(tmp_path / "case_0")])
    assert sitk.ReadImage(str(tmp_path / "case_0.nii.gz")).GetSize() == sitk.ReadImage(str(scan)).GetSize()


def test_a_seed_repeats(trainings: Any, ct: int, compact_plans: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CFSEG_SEED", "7")
    weights = []
    for name in ("first", "second"):
        trainings.into(name)
        weights.append(train(trainings, ct, compact_plans).network.state_dict())
    assert all(torch.equal(weights[0][key], weights[1][key]) for key in weights[0])


def test_our_network_trains_by_nnunets_recipe(trainings: Any, ct: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CFSEG_TIME_BUDGET_S", "0.1")
    trainer = trainings.trainer(ct, trainer="nnUNetTrainer_CFSegNetwork_timed")
    trainer.num_epochs = 1
    trainer.logger.plot_progress_png = lambda folder: None
    trainer.run_training()
    assert isinstance(trainer.optimizer, torch.optim.SGD)
    assert np.isfinite(trainer.logger.get_value("train_losses", step=None)).all()
