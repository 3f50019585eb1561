from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from nnunetv2_cfseg.networks.presets import preset
from nnunetv2_cfseg.networks.windows import WINDOWS_HU
from nnunetv2_cfseg.planners.plan_and_preprocess import plan_and_preprocess

FINGERPRINT = {
    "spacings": [[5.0, 0.5, 0.5]] * 2,
    "shapes_after_crop": [[30, 400, 400]] * 2,
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
    write_raw_dataset(nnunet_folders.raw, "Dataset901_Phantom", cases=2, shape=(8, 8, 8))
    preprocessed = nnunet_folders.preprocessed / "Dataset901_Phantom"
    preprocessed.mkdir()

    def make(gpu_memory_target_gb: float | None = None, **changes: Any) -> dict[str, Any]:
        (preprocessed / "dataset_fingerprint.json").write_text(json.dumps({**FINGERPRINT, **changes}))
        plan_and_preprocess(
            [901], planner="CompactPlanner", gpu_memory_target_gb=gpu_memory_target_gb, num_processes_fingerprint=1,
            preprocess=False, progress=False,
        )  # fmt: skip
        return json.loads((preprocessed / "nnUNetCompactPlans.json").read_text())

    return make


def test_small_unet_for_thick_slices_halves_planes_before_slices(plan: Callable[..., dict[str, Any]]) -> None:
    configuration = plan()["configurations"]["3d_fullres"]
    kwargs = configuration["architecture"]["arch_kwargs"]
    assert kwargs["features_per_stage"] == [16, 32, 64, 128, 128][: kwargs["n_stages"]]
    assert kwargs["strides"][0] == [1, 1, 1]
    assert kwargs["strides"][1] == [1, 2, 2]
    z, y, x = configuration["patch_size"]
    assert z < y == x
    assert z * y * x <= 1.6 * 48**3


def test_crop_is_whole_strides(plan: Callable[..., dict[str, Any]]) -> None:
    configuration = plan(spacings=[[1.0, 0.8, 0.8]] * 2, shapes_after_crop=[[90, 300, 300]] * 2)["configurations"][
        "3d_fullres"
    ]
    strides = configuration["architecture"]["arch_kwargs"]["strides"]
    for axis, size in enumerate(configuration["patch_size"]):
        whole = 1
        for stride in strides:
            whole *= stride[axis]
        assert size % whole == 0


def test_windows_and_clip_range_are_ours(plan: Callable[..., dict[str, Any]]) -> None:
    plans = plan()
    (channel,) = plans["configurations"]["3d_fullres"]["cfseg"]["windows"]
    names = preset("default")["window_names"]
    assert channel == {"mean": 58.5, "std": 14.25, "windows_hu": [list(WINDOWS_HU[name]) for name in names]}
    clipped = plans["foreground_intensity_properties_per_channel"]["0"]
    assert (clipped["percentile_00_5"], clipped["percentile_99_5"]) == (-1024, 3071)


def test_more_memory_is_used(plan: Callable[..., dict[str, Any]]) -> None:
    features = [
        plan(target)["configurations"]["3d_fullres"]["architecture"]["arch_kwargs"]["features_per_stage"][0]
        for target in (1, 4, 8)
    ]
    assert features == [16, 24, 32]


def test_presets_are_for_the_other_planners(nnunet_folders: SimpleNamespace) -> None:
    with pytest.raises(ValueError, match="-preset is for CFSegPlanner and ThinThickPlanner, got 'paper' with -pl"):
        plan_and_preprocess([901], planner="CompactPlanner", preset="paper")
