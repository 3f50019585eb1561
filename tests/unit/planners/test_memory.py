"""The memory model: hand-checked counts, and what PyTorch itself keeps."""

from __future__ import annotations

import importlib.util
import sys
import weakref
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from nnunetv2.training.loss.compound_losses import DC_and_CE_loss
from nnunetv2.training.loss.dice import MemoryEfficientSoftDiceLoss
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter

from nnunetv2_cfseg.networks import BlockCenterTransformer
from nnunetv2_cfseg.networks.encoder import EncoderLayer, select_tokens
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
    kwargs.pop("patch_voxels", None)
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
def test_floats_saved_for_backward_are_those_autograd_saves(preset_name: str, center_patches: int, depth: int) -> None:
    arch_kwargs = small_arch(preset_name, center_patches=center_patches, depth=depth)
    blocks = 2
    network = BlockCenterTransformer(1, 5, **arch_kwargs)
    data = torch.randn(blocks, 1, *network.block_size)
    not_kept = {p.data_ptr() for p in (*network.parameters(), *network.buffers())}
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
    assert sum(storage.nbytes() for storage in saved.values()) == 4 * blocks * sum(
        stage.saved_for_backward for stage in stages
    )


class FloatsHeld(TorchDispatchMode):
    """Counts the floats of all tensors that are made within it: those held now, and the most at any time."""

    def __init__(self) -> None:
        super().__init__()
        self.sizes: dict[int, float] = {}
        self.now = self.most = 0.0

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = function(*args, **(kwargs or {}))
        for tensor in tree_iter(out):
            if isinstance(tensor, torch.Tensor):
                self._add(tensor.untyped_storage())
        return out

    def _add(self, storage: torch.UntypedStorage) -> None:
        if storage._cdata not in self.sizes:
            self.sizes[storage._cdata] = storage.nbytes() / 4
            self.now += storage.nbytes() / 4
            self.most = max(self.most, self.now)
            weakref.finalize(storage, self._remove, storage._cdata)

    def _remove(self, key: int) -> None:
        self.now -= self.sizes.pop(key, 0)

    def forget_the_most(self) -> None:
        self.most = self.now


@pytest.mark.parametrize("classes", [2, 5, 11])
def test_the_loss_holds_what_it_is_measured_to_hold(classes: int) -> None:
    shape = (2, classes, 10, 10, 10)
    loss = DC_and_CE_loss(
        {"batch_dice": True, "smooth": 1e-5, "do_bg": False, "ddp": False}, {}, dice_class=MemoryEfficientSoftDiceLoss
    )
    leaf, target = torch.randn(shape, requires_grad=True), torch.randint(0, classes, (2, 1, *shape[2:]))
    target = target.short()  # as blocks have it
    with FloatsHeld() as held:
        value = loss(leaf * 1, target)  # nobody else holds on to the logits
        forward = held.most
        held.forget_the_most()
        value.backward()
    arch_kwargs = small_arch(patch_size=[10, 10, 10])
    stage = _Network.from_plans(arch_kwargs, 1, classes).stages()[-1]  # of one block
    beside = 500  # a half float a voxel, in both passes, which the estimate leaves out
    assert forward / 2 == pytest.approx(stage.forward + beside, rel=0.01)
    assert held.most / 2 == pytest.approx(stage.backward + beside, rel=0.01)


@pytest.mark.parametrize("is_last", [False, True])
@pytest.mark.parametrize("norm", ["pre", "post"])
def test_attention_holds_what_it_is_measured_to_hold(norm: str, is_last: bool) -> None:
    """Of the last layer, which has its centre's tokens alone, and of those before."""
    blocks, tokens, width, centers = 256, 27, 16, 8
    arch_kwargs = small_arch("compact", block_patches=3, center_patches=2, embed_dim=width, norm=norm, depth=2)
    layer = EncoderLayer(width, 4, 2 * width, norm=norm, activation="gelu")
    picked = torch.arange(centers) if is_last else None
    leaf = torch.randn(blocks, tokens, width, requires_grad=True)
    with FloatsHeld() as held:
        out = attend_with_residual(layer, leaf * 1, picked)
        before = held.now
        held.forget_the_most()
        torch.autograd.backward(out, torch.ones(out.shape))
    saved = before - out.numel()
    stage = _Network.from_plans(arch_kwargs, 1, 5).stages()[4 if is_last else 2]
    assert saved / blocks == pytest.approx(stage.saved_for_backward, rel=0.01)
    assert (held.most - before) / blocks == pytest.approx(stage.backward, rel=0.03)


def attend_with_residual(layer: EncoderLayer, tokens: torch.Tensor, picked: torch.Tensor | None) -> torch.Tensor:
    """The first half of a layer's forward."""
    queries = select_tokens(tokens, picked)
    if layer.pre_norm:
        normed = layer.attention_norm(tokens)
        return queries + layer.attention(select_tokens(normed, picked), normed)
    return layer.attention_norm(queries + layer.attention(queries, tokens))


#: 27 tokens of 16 floats, 8 of them the centre's, 24 voxels a patch (648 a block, 192 a centre), three windows.
BY_HAND = _Network(
    channels_in=1, channels=3, classes=5, tokens=27, queries=8, voxels=24, width=16, hidden=40, depth=2, heads=4,
    pre_norm=True, gelu=True, learned_position=False, rotary=False, voxel_decoder=(6, 7),
)  # fmt: skip


@pytest.mark.parametrize(
    ("network", "expected"),
    [
        (
            BY_HAND,
            [
                ((3 + 1) * 648, 0),  # image
                (2 * 432, 432),  # embedding
                (2 * 432, 3 * 432 + 2 * 432),  # attention of all tokens
                (2 * 432, 27 * (16 + 40)),  # their feed-forward
                (2 * 128, 3 * 128 + 2 * 432),  # attention of the centre's
                (2 * 128, 8 * (16 + 40)),
                (0, 2 * 128),  # final norm
                (192 * (3 + 6 + 2 * 5 + 3 * 5), 192 * (2 * 5 + 7)),  # voxel decoder
                (192 * (4 * 5 + 2), 192 * 5 * 5),  # loss
            ],
        ),
        (
            replace(BY_HAND, depth=1, pre_norm=False, gelu=False, voxel_decoder=None),
            [
                ((3 + 1) * 648, 0),
                (2 * 432, 432),
                (2 * 128, 3 * 128 + 2 * 432),
                (2 * 128, 8 * (16 + 2 * 40)),  # ReLU's gradients of output and input
                (0, 128),
                (192 * (3 + 3 * 5), 192 * 5 + 128),  # linear decoder
                (192 * (4 * 5 + 2), 192 * 5 * 5),
            ],
        ),
        (
            replace(BY_HAND, depth=1, queries=1, voxel_decoder=None),
            [
                ((3 + 1) * 648, 0),
                (2 * 432, 432),
                (2 * 16, 3 * 16 + 2 * 432),
                (2 * 16, 16 + 40),
                (0, 2 * 16),
                (24 * (3 + 5), 24 * 5 + 16),  # a centre of one patch needs no copies of its logits
                (24 * (4 * 5 + 2), 24 * 5 * 5),
            ],
        ),
    ],
    ids=["voxel decoder", "linear decoder", "centre of one patch"],
)
def test_stages_hold_what_is_counted_by_hand(network: _Network, expected: list[tuple[int, int]]) -> None:
    """Floats a block, beyond those saved: in the forward and in the backward pass of each stage."""
    assert [(stage.forward, stage.backward) for stage in network.stages()] == expected


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
