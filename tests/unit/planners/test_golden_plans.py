"""Plans of a fixed fingerprint, to the last number.

``golden_plans.json`` holds them. Where a planner is changed on purpose, write them anew with
``python -m pytest tests/unit/planners/test_golden_plans.py`` and ``CFSEG_WRITE_GOLDEN_PLANS=1``, and read the diff.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from nnunetv2_cfseg.planners.memory import estimate_step_bytes
from nnunetv2_cfseg.planners.plan_and_preprocess import PLANNERS, plan_and_preprocess

GOLDEN = Path(__file__).with_name("golden_plans.json")
NAME = "Dataset901_Phantom"
#: Of two head CTs with bleeds, thin slices.
FINGERPRINT = {
    "spacings": [[1.25, 0.45, 0.45], [1.0, 0.5, 0.5]],
    "shapes_after_crop": [[120, 420, 400], [144, 380, 360]],
    "foreground_intensity_properties_per_channel": {
        "0": {"max": 120.0, "mean": 58.5, "median": 60.0, "min": -20.0, "percentile_00_5": 12.0,
              "percentile_99_5": 92.0, "std": 14.25},
    },
    "median_relative_size_after_cropping": 1.0,
}  # fmt: skip


@pytest.fixture
def plan(
    nnunet_folders: SimpleNamespace, write_raw_dataset: Callable[..., Path], threads_for_processes: None
) -> Callable[..., dict[str, Any]]:
    """Plans the fingerprint; the scans only say in which order their axes are stored."""
    raw = write_raw_dataset(nnunet_folders.raw, NAME, cases=2, shape=(8, 8, 8))
    (raw / "thin_thick.json").write_text(json.dumps({"factor": 4, "threshold": 0.4}))
    preprocessed = nnunet_folders.preprocessed / NAME
    preprocessed.mkdir()
    (preprocessed / "dataset_fingerprint.json").write_text(json.dumps(FINGERPRINT))

    def make(planner: str, gpu_memory_target_gb: float) -> dict[str, Any]:
        plan_and_preprocess(
            [901], planner=planner, gpu_memory_target_gb=gpu_memory_target_gb, num_processes_fingerprint=1,
            preprocess=False, progress=False,
        )  # fmt: skip
        return json.loads((preprocessed / f"{PLANNERS[planner][1]}.json").read_text())

    return make


@pytest.mark.parametrize("memory_gb", [1, 2])
@pytest.mark.parametrize("planner", PLANNERS)
def test_are_as_they_were(planner: str, memory_gb: int, plan: Callable[..., dict[str, Any]]) -> None:
    plans, name = plan(planner, memory_gb), f"{planner} {memory_gb} GB"
    golden = json.loads(GOLDEN.read_text()) if GOLDEN.is_file() else {}
    if os.environ.get("CFSEG_WRITE_GOLDEN_PLANS"):
        GOLDEN.write_text(json.dumps({**golden, name: plans}, indent=1) + "\n")
        return
    assert plans == golden[name]
    assert json.dumps(plans["configurations"]) == json.dumps(golden[name]["configurations"])  # and in their order


def test_a_network_is_planned_for_as_few_as_20_blocks_a_step(plan: Callable[..., dict[str, Any]]) -> None:
    """Blocks of 64 tokens are halved until a step fits, from 40 to 20, and not to 10."""
    planned = plan("CFSegPlanner", 1)["configurations"].values()
    least_gb = max(gb_of(configuration, blocks=20) for configuration in planned)
    just_enough = plan("CFSegPlanner", least_gb * 1.001)["configurations"].values()
    assert [one["batch_size"] * one["cfseg"]["blocks_per_crop"] for one in just_enough] == [20] * len(planned)
    with pytest.raises(ValueError, match=r"no network of the preset 'default' trains within a memory target of"):
        plan("CFSegPlanner", least_gb * 0.999)
    assert max(gb_of(configuration, blocks=10) for configuration in planned) < least_gb * 0.999


def gb_of(configuration: dict[str, Any], *, blocks: int) -> float:
    arch_kwargs = configuration["architecture"]["arch_kwargs"]
    return estimate_step_bytes(arch_kwargs, input_channels=1, num_classes=3, blocks=blocks) / 1024**3
