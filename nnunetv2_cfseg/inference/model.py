"""A trained model, and loading it from the folder that nnU-Net's training leaves."""

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
from nnunetv2_cfseg.inference.inference_plan import InferencePlan, read_inference_plan, require_our_network
from nnunetv2_cfseg.networks import BlockCenterTransformer
from nnunetv2_cfseg.nnunet.checkpoints import check_finite, check_weights_fit, read_model_checkpoint, without_prefix
from nnunetv2_cfseg.nnunet.dataset_json import read_dataset_json
from nnunetv2_cfseg.nnunet.plans import read_plans, resolve


@dataclass(frozen=True)
class Model:
    """Networks of one configuration, one for each fold.

    Attributes:
        configuration: of the plans.
        networks: in evaluation mode; as they are loaded, float32 and on the CPU.
        mirror_axes: axes mirrored in training, along which test-time averaging may mirror too.
        trainer: the trainer's name.
        folds: names of the networks' folds.
        plans: nnU-Net's, unchanged.
        dataset_json: nnU-Net's, unchanged.
    """

    configuration: InferencePlan
    networks: Sequence[BlockCenterTransformer]
    mirror_axes: tuple[int, ...]
    trainer: str
    folds: tuple[str, ...]
    plans: Mapping[str, Any]
    dataset_json: Mapping[str, Any]

    @property
    def precision(self) -> str:
        """The precision that the networks compute in, such as ``float32`` or ``bfloat16``."""
        return str(next(self.networks[0].parameters()).dtype).removeprefix("torch.")


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
        folds: numbers, or ``all``; None for all trained folds.
        checkpoint: name of the file in each fold's folder.
        trust_checkpoint: load checkpoints that can run code.

    Raises:
        ValueError: a file is missing or broken or can run code, or the network is not this package's.
    """
    plans, dataset_json = read_plans(folder / "plans.json"), read_dataset_json(folder / "dataset.json")
    plain_name(checkpoint, "-chk")
    _check_plans_of_folder(plans, folder)
    folds = find_folds(folder, checkpoint) if folds is None else [fold_name(fold) for fold in folds]
    files = [folder / f"fold_{fold}" / checkpoint for fold in folds]
    checkpoints = [read_model_checkpoint(file, trust=trust_checkpoint) for file in files]
    first = checkpoints[0][0]
    for (other, _), file in zip(checkpoints, files, strict=True):
        if other.init_args.configuration != first.init_args.configuration:
            raise ValueError(
                f"the folds have different configurations, {first.init_args.configuration} and "
                f"{other.init_args.configuration}: {file}"
            )
    configuration = read_inference_plan(
        plans, dataset_json, first.init_args.configuration,
        plans_file=str(folder / "plans.json"), dataset_file=str(folder / "dataset.json"),
    )  # fmt: skip
    return Model(
        configuration,
        [build_network(configuration, weights, file) for (_, weights), file in zip(checkpoints, files, strict=True)],
        tuple(first.inference_allowed_mirroring_axes or ()),
        first.trainer_name,
        tuple(folds),
        plans,
        dataset_json,
    )


def _check_plans_of_folder(plans: Mapping[str, Any], folder: Path) -> None:
    """Refuse a model of another network by its plans: its checkpoint would be refused for what it is not."""
    name, configurations = folder.name.split("__")[-1], plans.get("configurations")
    if isinstance(configurations, dict) and name in configurations:
        file = str(folder / "plans.json")
        require_our_network(resolve(plans, name, file), file)


def find_folds(folder: Path, checkpoint: str) -> list[str]:
    """Trained folds of a model folder; ``all`` only if there is no other.

    Raises:
        ValueError: there are none.
    """
    files = folder.glob(f"fold_*/{glob.escape(checkpoint)}")
    folds = sorted(file.parent.name.removeprefix("fold_") for file in files)
    numbered = [fold for fold in folds if fold != "all"]
    if not folds:
        raise ValueError(f"no trained fold; a model folder must hold a fold_N with {checkpoint}: {folder}")
    return [fold_name(fold, f"a fold of {folder}") for fold in numbered or folds]


def build_network(configuration: InferencePlan, weights: Mapping[str, Tensor], file: Path) -> BlockCenterTransformer:
    """Build the network of a configuration with trained weights, in evaluation mode.

    Raises:
        ValueError: the weights belong to another network, or hold NaN or infinity.
    """
    with torch.device("meta"):  # only shapes, so that a wrong size costs no memory
        check_weights_fit(_network(configuration, file), weights, file)
    network = _network(configuration, file)
    network.load_state_dict(without_prefix(weights))
    check_finite(network.state_dict(), file)  # after conversion to 32 bits
    return network.eval().requires_grad_(False)


def _network(configuration: InferencePlan, file: Path) -> BlockCenterTransformer:
    try:
        return BlockCenterTransformer(len(configuration.channel_names), configuration.heads, **configuration.network)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"the plans describe a network that this version does not know ({first_words(error)}), for: {file}"
        ) from error
