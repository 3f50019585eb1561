"""Networks small enough for a test."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from nnunetv2_cfseg.networks import BlockCenterTransformer
from nnunetv2_cfseg.networks.presets import preset
from nnunetv2_cfseg.networks.windows import WINDOWS_HU

NetworkFactory = Callable[..., BlockCenterTransformer]

TINY = {
    "patch_size": 2,
    "block_patches": 3,
    "embed_dim": 12,
    "depth": 2,
    "num_heads": 2,
    "ffn_ratio": 2.0,
    "voxel_features": 4,
    "voxel_hidden": 6,
}


def _build(input_channels: int = 1, num_classes: int = 3, **options: Any) -> BlockCenterTransformer:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = BlockCenterTransformer(input_channels, num_classes, **{**TINY, **options})
        # Biases start at 0 and norms at 1, where a test would not see them left out.
        with torch.no_grad():
            for parameter in network.parameters():
                parameter.add_(0.1 * torch.randn_like(parameter))
    return network


@pytest.fixture(scope="session")
def tiny_network() -> NetworkFactory:
    """Build a seeded network whose biases and norms are not at their initial values."""
    return _build


@pytest.fixture(scope="session")
def preset_network() -> NetworkFactory:
    """Build a network of a preset for one CT channel and three classes, at a tiny size."""

    def build(name: str, **sizes: Any) -> BlockCenterTransformer:
        options = preset(name)
        windows_hu = [WINDOWS_HU[window] for window in options.pop("window_names")]
        options.pop("patch_voxels", None)
        if windows_hu:
            options["windows"] = [{"mean": 40.0, "std": 20.0, "windows_hu": windows_hu}]
        return _build(**{**options, "patch_size": 2, "embed_dim": 12, "depth": 2, "num_heads": 2, **sizes})

    return build
