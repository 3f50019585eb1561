"""The memory model: hand-checked counts, and what PyTorch itself keeps."""

from __future__ import annotations

import importlib.util
import sys
from itertools import pairwise
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from nnunetv2_cfseg.networks import BlockCenterTransformer
from nnunetv2_cfseg.networks.presets import PRESETS, preset
from nnunetv2_cfseg.planners.memory import _Network, estimate_step_bytes

BENCHMARK = Path(__file__).parents[3] / "experiments" / "memory.py"
BANK = {"mean": 40.0, "std": 300.0, "windows_hu": [[0, 80], [-160, 240], [-500, 1500]]}


def small_arch(preset_name: str = "default", **changes: Any) -> dict[str, Any]:
    """A preset's network, small, with the windows of one CT channel where the preset has any."""
    kwargs = {
        **preset(preset_name),
        "patch_size": [2, 4, 3],
        "block_patches": 3,
        "center_patches": 1,
        "embed_dim": 48,
        "depth": 3,
        "num_heads": 4,
    }
    windows = [BANK] if kwargs.pop("window_names") else None
    return {**kwargs, "windows": windows, **changes}


def estimate(arch_kwargs: dict[str, Any], blocks: int, **changes: Any) -> int:
    return estimate_step_bytes(arch_kwargs, **{"input_channels": 1, "num_classes": 5, **changes}, blocks=blocks)


@pytest.mark.parametrize("preset_name", PRESETS)
def test_parameters_are_the_networks(preset_name: str) -> None:
    arch_kwargs = small_arch(preset_name)
    counted = [size for stage in _Network.from_plans(arch_kwargs, 1, 5).stages() for size in stage.parameters]
    network = BlockCenterTransformer(1, 5, **arch_kwargs)
    assert sorted(counted) == sorted(p.numel() for p in network.parameters())


@pytest.mark.parametrize("depth", [1, 3])
@pytest.mark.parametrize("center_patches", [1, 3])
@pytest.mark.parametrize("preset_name", PRESETS)
def test_kept_floats_are_those_autograd_saves(preset_name: str, center_patches: int, depth: int) -> None:
    arch_kwargs = small_arch(preset_name, center_patches=center_patches, depth=depth)
    blocks = 2
    network = BlockCenterTransformer(1, 5, **arch_kwargs)
    data = torch.randn(blocks, 1, *network.block_size)
    not_kept = {p.data_ptr() for p in network.parameters()}
    saved: dict[int, torch.UntypedStorage] = {}

    def remember(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if tensor.dtype == torch.float32 and storage.data_ptr() not in not_kept:
            saved[storage.data_ptr()] = storage
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(remember, lambda tensor: tensor):
        logits = network(data, centers_only=True)
    assert logits.requires_grad
    stages = _Network.from_plans(arch_kwargs, 1, 5).stages()
    assert sum(storage.nbytes() for storage in saved.values()) == 4 * blocks * sum(stage.kept for stage in stages)


@pytest.mark.parametrize("preset_name", PRESETS)
def test_without_blocks_only_weights_are_left(preset_name: str) -> None:
    arch_kwargs = small_arch(preset_name)
    sizes = [p.numel() for p in BlockCenterTransformer(1, 5, **arch_kwargs).parameters()]
    # Weights, gradients and two moments; AdamW's denominators of all weights or of three at a time.
    assert estimate(arch_kwargs, 0) == 4 * (4 * sum(sizes) + sum(sizes))
    assert estimate(arch_kwargs, 0, foreach=False) == 4 * (4 * sum(sizes) + 3 * max(sizes))


@pytest.mark.parametrize("preset_name", PRESETS)
def test_many_blocks_each_cost_the_same(preset_name: str) -> None:
    many = [estimate(small_arch(preset_name), blocks) for blocks in (512, 1024, 1536, 2048)]
    steps = {b - a for a, b in pairwise(many)}
    assert len(steps) == 1
    assert steps.pop() > 0


@pytest.mark.parametrize("preset_name", PRESETS)
def test_few_blocks_never_cost_more_each_than_many(preset_name: str) -> None:
    counts = [estimate(small_arch(preset_name), blocks) for blocks in range(0, 400, 8)]
    steps = [b - a for a, b in pairwise(counts)]
    assert steps == sorted(steps)


@pytest.mark.parametrize(
    "larger",
    [
        {"embed_dim": 96},
        {"depth": 4},
        {"block_patches": 5},
        {"patch_size": [3, 4, 3]},
        {"ffn_ratio": 6.0},
        {"decoder": "voxel"},
    ],
    ids=lambda changes: next(iter(changes)),
)
@pytest.mark.parametrize("preset_name", PRESETS)
@pytest.mark.parametrize("blocks", [0, 1, 32, 256])
def test_larger_networks_never_need_less(larger: dict[str, Any], preset_name: str, blocks: int) -> None:
    assert estimate(small_arch(preset_name, **larger), blocks) >= estimate(small_arch(preset_name), blocks)


def test_classes_and_channels_cost_memory() -> None:
    arch_kwargs = small_arch("paper")
    assert estimate(arch_kwargs, 64, num_classes=60) > estimate(arch_kwargs, 64, num_classes=2)
    assert estimate(arch_kwargs, 64, input_channels=2) > estimate(arch_kwargs, 64, input_channels=1)


def test_negative_blocks_are_refused() -> None:
    with pytest.raises(ValueError, match="blocks must be >= 0, got -1"):
        estimate(small_arch(), -1)


def test_unknown_network_argument_is_refused() -> None:
    with pytest.raises(TypeError, match="kernel_size"):
        estimate(small_arch(kernel_size=3), 1)


@pytest.fixture(scope="module")
def benchmark_module() -> ModuleType:
    spec = importlib.util.spec_from_file_location("benchmarks_memory", BENCHMARK)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="resident memory is read from Linux's /proc")
def test_estimate_is_within_a_quarter_of_a_measured_step(benchmark_module: ModuleType) -> None:
    plan = benchmark_module.Plan(128, 3, 4, (8, 8, 8), 64)
    assert plan.estimate_bytes() == pytest.approx(benchmark_module.measure_step_bytes(plan), rel=0.25)
