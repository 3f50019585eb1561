from __future__ import annotations

import inspect
from collections.abc import Callable
from copy import deepcopy

import pytest
import torch

from nnunetv2_cfseg.networks import BlockCenterTransformer
from nnunetv2_cfseg.networks.presets import PRESETS, preset
from nnunetv2_cfseg.networks.windows import WINDOWS_HU


@pytest.mark.parametrize("name", PRESETS)
def test_preset_builds_a_network_that_segments(
    name: str, preset_network: Callable[..., BlockCenterTransformer]
) -> None:
    logits = preset_network(name)(torch.randn(1, 1, 3, 4, 5))
    assert logits.shape == (1, 3, 3, 4, 5)
    assert torch.isfinite(logits).all()


@pytest.mark.parametrize("name", PRESETS)
def test_preset_names_options_of_the_network_and_known_windows(name: str) -> None:
    options = preset(name)
    assert set(options.pop("window_names")) <= set(WINDOWS_HU)
    assert options.pop("patch_voxels", 216) > 0
    assert set(options) <= set(inspect.signature(BlockCenterTransformer).parameters)


def test_paper_preset_is_the_paper() -> None:
    assert preset("paper") == {
        "center_patches": 1,
        "norm": "post",
        "activation": "relu",
        "position": "sine",
        "decoder": "linear",
        "window_names": [],
    }


def test_karimi_preset_has_the_published_size() -> None:
    options = preset("karimi")
    assert options.pop("window_names") == []
    network = BlockCenterTransformer(1, 2, **options)
    assert network.block_size == (24, 24, 24)
    d, voxels, tokens = 1024, 8**3, 27
    layer = (
        4 * (d * d + d)  # query, key, value, out
        + (d * 4 * d + 4 * d)  # feed-forward in
        + (4 * d * d + d)  # feed-forward out
        + 2 * 2 * d  # two norms
    )
    expected = (voxels * d + d) + tokens * d + 7 * layer + (d * 2 * voxels + 2 * voxels)
    assert sum(p.numel() for p in network.parameters()) == expected == 89_776_128


def test_unknown_preset_is_refused() -> None:
    with pytest.raises(ValueError, match="one of paper, karimi, compact, shared, default, got 'unet'"):
        preset("unet")


@pytest.mark.parametrize("name", PRESETS)
def test_preset_is_a_copy(name: str) -> None:
    before = deepcopy(PRESETS)
    options = preset(name)
    options["norm"] = "batch"
    options["window_names"].append("liver")
    assert before == PRESETS
    assert preset(name) == before[name]
