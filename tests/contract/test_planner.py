"""What the planner and ``cfseg plan_and_preprocess`` take for granted of the installed nnU-Net."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import pytest
from nnunetv2.experiment_planning import plan_and_preprocess_api as api
from nnunetv2.experiment_planning.experiment_planners.default_experiment_planner import ExperimentPlanner
from nnunetv2.paths import nnUNet_raw
from nnunetv2.preprocessing.resampling.resample_torch import resample_torch_fornnunet
from nnunetv2.preprocessing.resampling.utils import recursive_find_resampling_fn_by_name

from nnunetv2_cfseg.planners.cfseg_planner import PLANS_NAME, CFSegPlanner


def signature(function: Callable[..., Any]) -> dict[str, Any]:
    return {name: p.default for name, p in inspect.signature(function).parameters.items()}


def test_constructor_is_nnunets_with_a_plans_name_of_its_own() -> None:
    assert signature(CFSegPlanner.__init__) == {**signature(ExperimentPlanner.__init__), "plans_name": PLANS_NAME}
    assert list(signature(CFSegPlanner.__init__)) == list(signature(ExperimentPlanner.__init__))


@pytest.mark.parametrize("method", ["plan_experiment", "get_plans_for_configuration", "save_plans"])
def test_methods_have_nnunets_signature(method: str) -> None:
    assert signature(getattr(CFSegPlanner, method)) == signature(getattr(ExperimentPlanner, method))


@pytest.mark.parametrize(
    "method",
    [
        "get_plans_for_configuration",
        "determine_resampling",
        "determine_segmentation_softmax_export_fn",
        "determine_normalization_scheme_and_whether_mask_is_used_for_norm",
        "save_plans",
    ],
)
def test_nnunets_planning_goes_through_what_is_replaced(method: str) -> None:
    assert f"self.{method}(" in inspect.getsource(ExperimentPlanner)


def test_resampling_is_found_by_name() -> None:
    assert recursive_find_resampling_fn_by_name("resample_torch_fornnunet") is resample_torch_fornnunet


@pytest.mark.parametrize(
    ("function", "names"),
    [
        ("extract_fingerprint_dataset", ["num_processes", "check_dataset_integrity", "clean", "verbose"]),
        ("extract_fingerprint_dataset", ["dataset_id", "show_progress_bar"]),
        ("plan_experiment_dataset", ["dataset_id", "experiment_planner_class", "gpu_memory_target_in_gb"]),
        ("plan_experiment_dataset", ["overwrite_target_spacing", "overwrite_plans_name"]),
    ],
)
def test_commands_take_what_is_given_to_them(function: str, names: list[str]) -> None:
    assert set(names) <= set(signature(getattr(api, function)))


def test_preprocessing_takes_its_arguments_in_this_order() -> None:
    assert list(signature(api.preprocess_dataset)) == [
        "dataset_id",
        "plans_identifier",
        "configurations",
        "num_processes",
        "verbose",
        "show_progress_bar",
    ]


def test_folders_are_read_from_the_environment_when_they_are_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("nnUNet_raw", "/first")
    assert str(nnUNet_raw) == "/first"
    monkeypatch.setenv("nnUNet_raw", "/second")
    assert str(nnUNet_raw) == "/second"
