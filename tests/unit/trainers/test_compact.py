"""The recipe around nnU-Net's networks, as far as it needs no training."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from torch import nn

from nnunetv2_cfseg.baselines import compact as baselines
from nnunetv2_cfseg.networks.windowed import Windowed
from nnunetv2_cfseg.nnunet.cfseg_section import CFSegSection
from nnunetv2_cfseg.trainers.compact import CompactRecipe, nnUNetTrainerCompact
from nnunetv2_cfseg.trainers.recipe import RecipeTrainer
from nnunetv2_cfseg.trainers.timed import WallClockBudgetMixin

CT = {"mean": 40.0, "std": 20.0, "windows_hu": [[0, 80], [-160, 240]]}
BASELINES = [value for name, value in vars(baselines).items() if name.startswith("nnUNetTrainerCompact_")]


@pytest.fixture
def trainer() -> Callable[..., nnUNetTrainerCompact]:
    def make(configuration: dict[str, Any], labels: dict[str, int]) -> nnUNetTrainerCompact:
        made = nnUNetTrainerCompact.__new__(nnUNetTrainerCompact)
        made.configuration_manager = SimpleNamespace(configuration=configuration)
        made.section = CFSegSection.from_plans(configuration) if "cfseg" in configuration else None
        made.dataset_json = {"labels": labels}
        made.network = nn.Sequential(nn.Conv3d(1, 2, 1), nn.InstanceNorm3d(2, affine=True))
        made.initial_lr, made.weight_decay, made.num_epochs = 1e-3, 1e-2, 10
        return made

    return make


LESION = {"background": 0, "lesion": 1}
SIDED = {"background": 0, "kidney_left": 1, "kidney_right": 2}


@pytest.mark.parametrize(
    ("configuration", "labels", "axes"),
    [
        ({"cfseg": {"mirror_axes": [2]}}, LESION, (2,)),
        ({"cfseg": {"mirror_axes": []}}, LESION, ()),
        ({}, SIDED, ()),
        ({}, LESION, None),
    ],
)
def test_mirrors_what_the_plans_allow_and_no_sides(
    trainer: Callable[..., nnUNetTrainerCompact], configuration: dict[str, Any], labels: dict, axes: tuple | None
) -> None:
    assert trainer(configuration, labels).mirror_axes() == axes


@pytest.mark.parametrize(
    ("section", "expected"),
    [
        ({"windows": [CT]}, [(40.0, 20.0)]),
        ({"windows": [CT], "hounsfield_jitter": False}, None),
        ({"windows": [CT, None]}, None),
        ({"windows": None}, None),
        ({}, None),
    ],
)
def test_changes_hu_where_all_channels_have_windows(
    trainer: Callable[..., nnUNetTrainerCompact], section: dict[str, Any], expected: list | None
) -> None:
    assert trainer({"cfseg": section}, LESION).hounsfield_statistics() == expected


def test_weights_decay_but_biases_and_norms_do_not(trainer: Callable[..., nnUNetTrainerCompact]) -> None:
    made = trainer({}, LESION)
    optimizer, schedule = made.configure_optimizers()
    decay = {id(p): group["weight_decay"] for group in optimizer.param_groups for p in group["params"]}
    assert [decay[id(p)] for p in made.network.parameters()] == [1e-2, 0.0, 0.0, 0.0]
    schedule.step(0.15)  # half of a warm-up of 3 % of 10 epochs
    assert optimizer.param_groups[0]["lr"] == pytest.approx(5e-4, rel=0.02)


@pytest.mark.parametrize("windows", [None, [CT]])
def test_network_is_built_for_the_windows(monkeypatch: pytest.MonkeyPatch, windows: list | None) -> None:
    asked: list[Any] = []

    def build(*arguments: Any) -> nn.Module:
        asked.append(arguments[2:])
        return nn.Identity()

    monkeypatch.setattr(nnUNetTrainer, "build_network_architecture", staticmethod(build))
    configuration = SimpleNamespace(configuration={"cfseg": {"windows": windows}})
    network = nnUNetTrainerCompact.build_network_architecture(None, configuration, 1, 3, True)  # type: ignore[arg-type]
    assert isinstance(network, Windowed) == (windows is not None)
    assert asked == [(2 if windows else 1, 3, True)]


def test_loss_of_deep_supervision_is_of_all_outputs(trainer: Callable[..., nnUNetTrainerCompact]) -> None:
    made = trainer({}, LESION)
    made.device = torch.device("cpu")
    made.network = lambda x: [x, x[..., ::2]]
    made.loss = lambda logits, target: sum((a - b).sum() for a, b in zip(logits, target, strict=True))
    batch = {"data": torch.ones(1, 1, 2, 2, 2), "target": [torch.zeros(1, 1, 2, 2, 2), torch.zeros(1, 1, 2, 2, 1)]}
    assert made.loss_of(batch) == 8 + 4


@pytest.mark.parametrize("baseline", BASELINES, ids=lambda baseline: baseline.__name__)
def test_baselines_keep_their_network_and_take_the_recipe(baseline: type) -> None:
    for method in ("configure_optimizers", "train_step", "get_training_transforms", "on_train_epoch_start"):
        assert getattr(baseline, method) is getattr(RecipeTrainer, method)
    assert baseline.loss_of is CompactRecipe.loss_of
    assert baseline.schedule_position is WallClockBudgetMixin.schedule_position
    order = [cls.__name__ for cls in baseline.__mro__]
    assert order.index("CompactRecipe") < order.index(baseline.__bases__[-1].__name__) < order.index("nnUNetTrainer")


def test_every_baseline_has_its_compact_trainer() -> None:
    from nnunetv2_cfseg.nnunet_ext import baseline_trainers

    ours = {"nnUNetTrainer_CFSegNetwork_timed"}  # whose network has a trainer with our recipe already
    timed = {name for name in baseline_trainers.__all__ if name.endswith("_timed") and "Compact" not in name} - ours
    assert {name.replace("nnUNetTrainer_", "nnUNetTrainerCompact_") for name in timed} == {
        baseline.__name__ for baseline in BASELINES
    }
