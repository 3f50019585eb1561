"""A trained model, from the folder that nnU-Net's training leaves or from a bundle of ``cfseg export``."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.serialization import get_unsafe_globals_in_checkpoint, safe_globals

from nnunetv2_cfseg.checkpoint_files import check_weights_fit
from nnunetv2_cfseg.files import read_json
from nnunetv2_cfseg.inference.configuration import Configuration, read_configuration
from nnunetv2_cfseg.networks import BlockCenterTransformer

#: What nnU-Net's checkpoints hold besides tensors: numbers of numpy in the training log.
HARMLESS = [np._core.multiarray.scalar, np.dtype, *(type(np.dtype(kind)) for kind in ("f4", "f8", "i4", "i8", "b1"))]  # type: ignore[attr-defined]


@dataclass(frozen=True)
class Model:
    """Networks of one configuration, one for each fold.

    Attributes:
        configuration: of the plans.
        networks: in evaluation mode, float32, on the CPU.
        mirror_axes: along which its training mirrored, and test-time averaging may.
        trainer: the trainer's name.
        folds: that the networks are of.
        plans: nnU-Net's, as they are.
        dataset_json: nnU-Net's, as it is.
    """

    configuration: Configuration
    networks: Sequence[BlockCenterTransformer]
    mirror_axes: tuple[int, ...]
    trainer: str
    folds: tuple[str, ...]
    plans: Mapping[str, Any]
    dataset_json: Mapping[str, Any]


def load_model(folder: Path, folds: Sequence[str] | None = None, checkpoint: str = "checkpoint_final.pth") -> Model:
    """Load a model folder of nnU-Net.

    Args:
        folder: ``TRAINER__PLANS__CONFIGURATION``, with ``plans.json``, ``dataset.json`` and ``fold_N``.
        folds: numbers, or ``all``; None for all that are there.
        checkpoint: name of the file in each fold's folder.

    Raises:
        ValueError: a file is missing or broken, or the model is not one of this package's network.
    """
    plans, dataset_json = (read_json(folder / name) for name in ("plans.json", "dataset.json"))
    folds = find_folds(folder, checkpoint) if folds is None else folds
    files = [folder / f"fold_{fold}" / checkpoint for fold in folds]
    checkpoints = [read_weights(file) for file in files]
    first = checkpoints[0]
    configuration = read_configuration(plans, dataset_json, first["init_args"]["configuration"])
    return Model(
        configuration,
        [
            build_network(configuration, one["network_weights"], file)
            for one, file in zip(checkpoints, files, strict=True)
        ],
        tuple(first.get("inference_allowed_mirroring_axes") or ()),
        first["trainer_name"],
        tuple(folds),
        plans,
        dataset_json,
    )


def find_folds(folder: Path, checkpoint: str) -> list[str]:
    """Folds of a model folder that were trained; ``all`` only where there is no other.

    Raises:
        ValueError: there are none.
    """
    found = sorted(file.parent.name.removeprefix("fold_") for file in folder.glob(f"fold_*/{checkpoint}"))
    numbered = [fold for fold in found if fold != "all"]
    if not found:
        raise ValueError(f"a model folder must hold a fold_N with {checkpoint}, and there is none: {folder}")
    return numbered or found


def build_network(configuration: Configuration, weights: Mapping[str, Tensor], file: Path) -> BlockCenterTransformer:
    """The network of a configuration with trained weights, in evaluation mode.

    Raises:
        ValueError: the weights belong to another network.
    """
    try:
        network = BlockCenterTransformer(len(configuration.channel_names), configuration.heads, **configuration.network)
    except TypeError as error:
        raise ValueError(f"the plans must describe a network that this version knows ({error}), for: {file}") from error
    check_weights_fit(network, dict(weights), str(file))
    network.load_state_dict({name.removeprefix("module."): value for name, value in weights.items()})
    return network.eval().requires_grad_(False)


def read_weights(file: Path) -> dict[str, Any]:
    """A checkpoint of nnU-Net, read without running any code that it may hold, where torch can.

    Raises:
        ValueError: it is missing, broken or not a checkpoint of nnU-Net.
    """
    if not file.is_file():
        raise ValueError(f"the checkpoint does not exist: {file}")
    try:
        content = _load(file)
    except Exception as error:  # a file that is no checkpoint can raise anything
        raise ValueError(f"the checkpoint cannot be read, it is truncated or no checkpoint: {file}") from error
    if not isinstance(content, dict) or not {"network_weights", "trainer_name", "init_args"} <= content.keys():
        raise ValueError(f"the checkpoint must hold nnU-Net's 'network_weights' and does not: {file}")
    return content


def _load(file: Path) -> Any:
    known = {f"{kind.__module__}.{kind.__qualname__}" for kind in HARMLESS}
    unknown = sorted(set(get_unsafe_globals_in_checkpoint(file)) - known)
    if unknown:
        print(f"Can run code as it is loaded ({', '.join(unknown)}), so it has to be trusted: {file}", file=sys.stderr)
        return torch.load(file, map_location="cpu", weights_only=False)
    with safe_globals(HARMLESS):
        return torch.load(file, map_location="cpu", weights_only=True)
