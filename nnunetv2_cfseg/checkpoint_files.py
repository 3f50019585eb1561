"""nnU-Net's checkpoints, read with a word on what is wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn


def read_checkpoint(file: str, device: torch.device) -> dict[str, Any]:
    """Load an nnU-Net checkpoint.

    Raises:
        ValueError: it is missing, truncated or not a checkpoint of nnU-Net.
    """
    if not Path(file).is_file():
        raise ValueError(f"the checkpoint does not exist: {file}")
    try:
        checkpoint = torch.load(file, map_location=device, weights_only=False)
    except Exception as error:  # unpickling what is no checkpoint can raise anything
        raise ValueError(f"the checkpoint cannot be read, it is truncated or no checkpoint: {file}") from error
    if not isinstance(checkpoint, dict) or "network_weights" not in checkpoint:
        raise ValueError(f"the checkpoint must hold nnU-Net's 'network_weights' and does not: {file}")
    return checkpoint


def check_weights_fit(network: nn.Module, weights: dict[str, torch.Tensor], file: str) -> None:
    """Compare names and shapes of weights with a network's.

    Raises:
        ValueError: the weights belong to another network.
    """
    own = {name: tuple(value.shape) for name, value in network.state_dict().items()}
    other = {name.removeprefix("module."): tuple(value.shape) for name, value in weights.items()}
    if own == other:
        return
    name = sorted(name for name in own.keys() | other.keys() if own.get(name) != other.get(name))[0]
    raise ValueError(
        f"the checkpoint was written for another network than the plans describe ({name} is "
        f"{other.get(name, 'missing')} there and {own.get(name, 'missing')} here): {file}"
    )
