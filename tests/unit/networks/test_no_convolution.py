"""No convolution anywhere: neither a module nor an operation of a forward and backward pass."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from nnunetv2_cfseg.networks import BlockCenterTransformer
from nnunetv2_cfseg.networks.presets import PRESETS

NetworkFactory = Callable[..., BlockCenterTransformer]


class OpRecorder(TorchDispatchMode):
    """Notes the name of every aten operation."""

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.names.add(func.name())
        return func(*args, **(kwargs or {}))


def ops_of_a_step(forward: Callable[[Tensor], Tensor], x: Tensor) -> set[str]:
    """Operations of a forward and backward pass, down to the input."""
    x = x.requires_grad_()
    with OpRecorder() as recorder:
        forward(x).square().sum().backward()
    return recorder.names


def convolution_ops(names: set[str]) -> set[str]:
    return {name for name in names if re.search(r"conv(?!ert)", name)}


def convolution_modules(network: nn.Module) -> list[str]:
    return [name for name, module in network.named_modules() if "conv" in type(module).__name__.lower()]


def assert_no_convolution(network: nn.Module, x: Tensor, **kwargs: Any) -> None:
    names = ops_of_a_step(lambda v: network(v, **kwargs), x)
    # The recorder saw the forward pass and the backward pass.
    assert {"aten::native_layer_norm", "aten::native_layer_norm_backward"} <= names
    assert convolution_ops(names) == set()
    assert convolution_modules(network) == []


@pytest.mark.parametrize("layer", [nn.Conv3d, nn.ConvTranspose3d])
def test_recorder_sees_a_convolution_forward_and_backward(layer: Callable[..., nn.Module]) -> None:
    module = layer(1, 1, 2)
    names = ops_of_a_step(module, torch.randn(1, 1, 3, 3, 3))
    assert convolution_ops(names) == {"aten::convolution", "aten::convolution_backward"}
    assert convolution_modules(nn.Sequential(nn.Linear(1, 1), module)) == ["1"]


def test_recorder_sees_a_functional_convolution() -> None:
    weight = torch.ones(1, 1, 2, 2, 2)
    assert convolution_ops(ops_of_a_step(lambda x: F.conv3d(x, weight), torch.randn(1, 1, 3, 3, 3)))


def test_network_with_a_convolution_is_caught(tiny_network: NetworkFactory) -> None:
    network = tiny_network()
    network.register_forward_hook(lambda module, args, out: F.conv3d(out, torch.ones(1, 3, 1, 1, 1)))
    with pytest.raises(AssertionError, match="aten::convolution"):
        assert_no_convolution(network, torch.randn(2, 1, 6, 6, 6), centers_only=True)


@pytest.mark.parametrize("centers_only", [False, True])
@pytest.mark.parametrize("decoder", ["linear", "voxel"])
@pytest.mark.parametrize("norm", ["post", "pre"])
def test_no_option_convolves(norm: str, decoder: str, centers_only: bool, tiny_network: NetworkFactory) -> None:
    network = tiny_network(2, norm=norm, decoder=decoder)
    x = torch.randn(2, 2, 6, 6, 6) if centers_only else torch.randn(1, 2, 5, 4, 3)
    assert_no_convolution(network, x, centers_only=centers_only)


@pytest.mark.parametrize("position", ["sine", "learned", "none"])
@pytest.mark.parametrize("activation", ["relu", "gelu"])
def test_no_position_or_activation_convolves(activation: str, position: str, tiny_network: NetworkFactory) -> None:
    assert_no_convolution(tiny_network(activation=activation, position=position), torch.randn(1, 1, 3, 3, 3))


@pytest.mark.parametrize("name", PRESETS)
def test_no_preset_convolves(name: str, preset_network: NetworkFactory) -> None:
    assert_no_convolution(preset_network(name), torch.randn(1, 1, 4, 4, 4))
    network = preset_network(name)
    assert_no_convolution(network, torch.randn(2, 1, *network.block_size), centers_only=True)


def test_features_need_no_convolution(tiny_network: NetworkFactory) -> None:
    names = ops_of_a_step(tiny_network().forward_features, torch.randn(1, 1, 4, 4, 4))
    assert "aten::native_layer_norm_backward" in names
    assert convolution_ops(names) == set()
