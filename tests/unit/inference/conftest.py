"""A small network."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from nnunetv2_cfseg.networks import BlockCenterTransformer


@pytest.fixture
def network() -> Callable[..., BlockCenterTransformer]:
    """A network in evaluation mode: patches of 2 x 3 x 4 voxels, blocks of 4, centres of 2."""

    def build(**options: object) -> BlockCenterTransformer:
        torch.manual_seed(0)
        settings = {
            "patch_size": (2, 3, 4), "block_patches": 4, "center_patches": 2, "embed_dim": 12, "depth": 2,
            "num_heads": 2, "norm": "pre", "activation": "gelu", "decoder": "voxel", **options,
        }  # fmt: skip
        return BlockCenterTransformer(1, 3, **settings).eval()  # type: ignore[arg-type]

    return build
