"""Named settings of the network; a planner adds the sizes that a preset leaves open.

Two entries are for the planner alone: ``window_names``, the windows for CT, and ``patch_voxels``, about how many voxels
a patch has.
"""

from __future__ import annotations

from copy import deepcopy
from typing import Any

WINDOW_NAMES = ["brain", "soft_tissue", "bone", "lung"]

# Measured best on a small budget, over all data. The middle 2 x 2 x 2 patches of a block of 4 x 4 x 4 are predicted:
# they see as far as the middle one of 3 x 3 x 3, and need 8 tokens each instead of 27.
COMPACT: dict[str, Any] = {
    "block_patches": 4,
    "center_patches": 2,
    "norm": "pre",
    "activation": "gelu",
    "position": "sine",
    "decoder": "voxel",
    "window_names": WINDOW_NAMES,
}

PRESETS: dict[str, dict[str, Any]] = {
    # Gang 2025, exactly Eq. 1 to 10.
    "paper": {
        "center_patches": 1,
        "norm": "post",
        "activation": "relu",
        "position": "sine",
        "decoder": "linear",
        "window_names": [],
    },
    # Karimi et al. 2021: W 24, n 3, K 7, D 1024, 4 heads, learned positions.
    "karimi": {
        "patch_size": 8,
        "block_patches": 3,
        "center_patches": 1,
        "embed_dim": 1024,
        "depth": 7,
        "num_heads": 4,
        "norm": "post",
        "activation": "relu",
        "position": "learned",
        "decoder": "linear",
        "window_names": [],
    },
    "compact": COMPACT,
    # Small patches, whose tokens all blocks share.
    "shared": {**COMPACT, "patch_voxels": 96, "position": "rotary", "attention_radius": 1},
    "default": COMPACT,
}


def preset(name: str) -> dict[str, Any]:
    """Return a copy of a preset.

    Raises:
        ValueError: there is no preset of that name.
    """
    if name not in PRESETS:
        raise ValueError(f"the preset must be one of {', '.join(PRESETS)}, got {name!r}")
    return deepcopy(PRESETS[name])
