"""A trained model, from the folder that nnU-Net's training leaves or from a bundle of ``cfseg export``."""

from __future__ import annotations

import glob
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from nnunetv2_cfseg.files.plain_name import fold_name, plain_name
from nnunetv2_cfseg.files.schema import first_words
from nnunetv2_cfseg.inference.inference_plan import InferencePlan, read_inference_plan
from nnunetv2_cfseg.networks import BlockCenterTransformer
from nnunetv2_cfseg.nnunet.checkpoints import check_finite, check_weights_fit, read_model_checkpoint, without_prefix
from nnunetv2_cfseg.nnunet.dataset_json import read_dataset_json
from nnunetv2_cfseg.nnunet.plans import read_plans


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

    configuration: InferencePlan
    networks: Sequence[BlockCenterTransformer]
    mirror_axes: tuple[int, ...]
    trainer: str
    folds: tuple[str, ...]
    plans: Mapping[str, Any]
    dataset_json: Mapping[str, Any]


def load_model(
    folder: Path,
    folds: Sequence[str] | None = None,
    checkpoint: str = "checkpoint_final.pth",
    *,
    trust_checkpoint: bool = False,
) -> Model:
    """Load a model folder of nnU-Net.

    Args:
        folder: ``TRAINER__PLANS__CONFIGURATION``, with ``plans.json``, ``dataset.json`` and ``fold_N``.
        folds: numbers, or ``all``; None for all that are there.
        checkpoint: name of the file in each fold's folder.
        trust_checkpoint: load checkpoints that can run code.

    Raises:
        ValueError: a file is missing or broken, can run code, or the model is not one of this package's network.
    """
    plans, dataset_json = read_plans(folder / "plans.json"), read_dataset_json(folder / "dataset.json")
    plain_name(checkpoint, "-chk")
    folds = find_folds(folder, checkpoint) if folds is None else [fold_name(fold) for fold in folds]
    files = [folder / f"fold_{fold}" / checkpoint for fold in folds]
    read = [read_model_checkpoint(file, trust=trust_checkpoint) for file in files]
    first = read[0][0]
    for (other, _), file in zip(read, files, strict=True):
        if other.init_args.configuration != first.init_args.configuration:
            raise ValueError(
                f"folds must be of one configuration, {first.init_args.configuration}, got "
                f"{other.init_args.configuration}: {file}"
            )
    configuration = read_inference_plan(
        plans, dataset_json, first.init_args.configuration,
        plans_file=str(folder / "plans.json"), dataset_file=str(folder / "dataset.json"),
    )  # fmt: skip
    return Model(
        configuration,
        [build_network(configuration, weights, file) for (_, weights), file in zip(read, files, strict=True)],
        tuple(first.inference_allowed_mirroring_axes or ()),
        first.trainer_name,
        tuple(folds),
        plans,
        dataset_json,
    )


def find_folds(folder: Path, checkpoint: str) -> list[str]:
    """Folds of a model folder that were trained; ``all`` only where there is no other.

    Raises:
        ValueError: there are none.
    """
    found = sorted(file.parent.name.removeprefix("fold_") for file in folder.glob(f"fold_*/{glob.escape(checkpoint)}"))
    numbered = [fold for fold in found if fold != "all"]
    if not found:
        raise ValueError(f"a model folder must hold a fold_N with {checkpoint}, and there is none: {folder}")
    return [fold_name(fold, f"a fold of {folder}") for fold in numbered or found]


def build_network(configuration: InferencePlan, weights: Mapping[str, Tensor], file: Path) -> BlockCenterTransformer:
    """The network of a configuration with trained weights, in evaluation mode.

    Raises:
        ValueError: the weights belong to another network, or hold NaN or infinity.
    """
    with torch.device("meta"):  # shapes alone, so that plans of any size cost nothing
        check_weights_fit(_network(configuration, file), weights, file)
    network = _network(configuration, file)
    network.load_state_dict(without_prefix(weights))
    check_finite(network.state_dict(), file)  # as the network has them, in 32 bits
    return network.eval().requires_grad_(False)


def _network(configuration: InferencePlan, file: Path) -> BlockCenterTransformer:
    try:
        return BlockCenterTransformer(len(configuration.channel_names), configuration.heads, **configuration.network)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"the plans must describe a network that this version knows ({first_words(error)}), for: {file}"
        ) from error
