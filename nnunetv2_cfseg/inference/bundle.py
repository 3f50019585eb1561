"""Models to pass on: weights that cannot run code, what nnU-Net needs to know of them, and a model card.

A bundle is a folder: ``fold_N.safetensors``, ``plans.json``, ``dataset.json``, ``bundle.json`` and ``README.md``, whose
head is what model hubs read (Mitchell et al. 2019, "Model Cards for Model Reporting").
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isnan
from pathlib import Path
from shutil import copymode, rmtree
from typing import Annotated, Any

import torch
from jinja2 import Environment, PackageLoader, StrictUndefined
from pydantic import Field
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from nnunetv2_cfseg import __version__
from nnunetv2_cfseg.errors.error_sentence import is_out_of_memory
from nnunetv2_cfseg.files.atomic_files import write_json
from nnunetv2_cfseg.files.output_paths import require_new_folder
from nnunetv2_cfseg.files.schema import Count, Document, FoldName, PlainName, read_document
from nnunetv2_cfseg.files.text_files import require_regular_file
from nnunetv2_cfseg.inference.inference_plan import read_inference_plan
from nnunetv2_cfseg.inference.model import Model, build_network
from nnunetv2_cfseg.nnunet.checkpoints import check_tensors
from nnunetv2_cfseg.nnunet.dataset_json import read_dataset_json, without_files
from nnunetv2_cfseg.nnunet.plans import Axis, read_plans

FORMAT = 1
INDEX = "bundle.json"
INDEX_LIMIT_BYTES = 2**20
INTENDED_USE = "Research. Not a medical device: a segmentation has to be checked before anything is decided by it."


@dataclass(frozen=True)
class Card:
    """What a model card says that the model's files do not.

    Attributes:
        licence: of the weights, such as an SPDX name.
        training_data: where the scans are from.
        intended_use: and what it is not meant for.
    """

    licence: str
    training_data: str
    intended_use: str = INTENDED_USE


class Index(Document):
    """What ``bundle.json`` says."""

    format: Count
    trainer: PlainName
    configurations: Annotated[list[str], Field(min_length=1, max_length=100)]
    folds: Annotated[list[FoldName], Field(min_length=1, max_length=100)]
    mirror_axes: Annotated[list[Axis], Field(max_length=3)]


def is_bundle(folder: Path) -> bool:
    """Whether a folder was written by :func:`write_bundle`."""
    return os.path.lexists(folder / INDEX)


def require_no_part_of_a_bundle(folder: Path) -> None:
    """Refuse a bundle that lost its index: it would be searched for checkpoints, which bundles do not have.

    Raises:
        ValueError: the folder holds weights of a bundle.
    """
    if weights := sorted(folder.glob("*.safetensors")):
        raise ValueError(f"a bundle must have a {INDEX}, and only its {weights[0].name} is there: {folder}")


def write_bundle(
    models: Sequence[Model], folder: Path, card: Card, validation: Mapping[str, Mapping[str, float]]
) -> None:
    """Write a bundle.

    Args:
        models: configurations that share their weights, such as those of thin and of thick slices.
        folder: must not be there yet.
        validation: of each fold that was validated the mean Dice of each class, by nnU-Net's key of the class.

    Raises:
        ValueError: the folder is there, or the weights differ between configurations.
        OSError: it cannot be written.
    """
    require_new_folder(folder)
    first = models[0]
    weights = [network.state_dict() for network in first.networks]
    for other in models[1:]:
        others = [network.state_dict() for network in other.networks]
        if first.folds != other.folds or not all(map(_same_weights, weights, others)):
            raise ValueError(
                f"a bundle's configurations share their weights, and those of {first.configuration.name} and "
                f"{other.configuration.name} differ; export them one by one with -c"
            )
    card_text = _card(models, folder.name, card, validation)
    part = folder.with_name(f".{folder.name}.unfinished")
    rmtree(part, ignore_errors=True)  # left by an export that was killed
    try:
        part.mkdir(parents=True)
        _write(models, part, card_text)
        part.rename(folder)
    finally:
        rmtree(part, ignore_errors=True)


def _write(models: Sequence[Model], part: Path, card_text: str) -> None:
    first = models[0]
    index = {
        "format": FORMAT,
        "trainer": first.trainer,
        "configurations": [model.configuration.name for model in models],
        "folds": list(first.folds),
        "mirror_axes": list(first.mirror_axes),
        "nnunetv2_cfseg": __version__,
    }
    dataset_json = without_files(first.dataset_json)
    for name, content in ((INDEX, index), ("plans.json", first.plans), ("dataset.json", dataset_json)):
        write_json(part / name, content)
    (part / "README.md").write_text(card_text, encoding="utf-8", errors="backslashreplace")
    for fold, network in zip(first.folds, first.networks, strict=True):
        file = part / f"fold_{fold}.safetensors"
        try:
            save_file({name: value.contiguous() for name, value in network.state_dict().items()}, file)
        except SafetensorError as error:
            raise OSError(f"the weights cannot be written ({error}): {file}") from error
        copymode(part / INDEX, file)  # safetensors writes what nobody else may read


def load_bundle(folder: Path, folds: Sequence[str] | None = None, configuration: str | None = None) -> list[Model]:
    """Load a bundle; nothing is unpickled.

    Args:
        folds: None for all.
        configuration: None for all.

    Raises:
        ValueError: a file is missing or broken, was written by a later version, or has not what is asked for.
    """
    index = read_document(folder / INDEX, Index, limit_bytes=INDEX_LIMIT_BYTES)
    if index.format > FORMAT:
        raise ValueError(f"a bundle must be of format {FORMAT} or before, got {index.format}: {folder / INDEX}")
    plans, dataset_json = read_plans(folder / "plans.json"), read_dataset_json(folder / "dataset.json")
    folds = index.folds if folds is None else folds
    names = index.configurations
    _check_has("folds", folds, index.folds, folder)
    _check_has("configurations", names if configuration is None else [configuration], names, folder)
    files = [folder / f"fold_{fold}.safetensors" for fold in folds]
    models = []
    for name in names if configuration is None else [configuration]:
        settings = read_inference_plan(
            plans, dataset_json, name,
            plans_file=str(folder / "plans.json"), dataset_file=str(folder / "dataset.json"),
        )  # fmt: skip
        networks = [build_network(settings, _read_weights(file), file) for file in files]
        models.append(
            Model(settings, networks, tuple(index.mirror_axes), index.trainer, tuple(folds), plans, dataset_json)
        )
    return models


def _same_weights(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def _check_has(what: str, asked: Sequence[str], there: Sequence[str], folder: Path) -> None:
    if not set(asked) <= set(there):
        raise ValueError(f"the bundle has the {what} {', '.join(there)}, not {', '.join(asked)}: {folder}")


def _read_weights(file: Path) -> dict[str, Any]:
    require_regular_file(file)
    try:
        weights = load_file(file)
    except Exception as error:  # a file that is none can raise anything
        if is_out_of_memory(error):
            raise
        raise ValueError(f"weights must be a whole .safetensors file ({error}): {file}") from error
    check_tensors(weights, file)
    return weights


def _card(models: Sequence[Model], name: str, card: Card, validation: Mapping[str, Mapping[str, float]]) -> str:
    environment = Environment(
        loader=PackageLoader("nnunetv2_cfseg", "inference"), undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True, keep_trailing_newline=True, autoescape=False,
    )  # fmt: skip
    first = models[0]
    return environment.get_template("model_card.md").render(
        name=name,
        card=card,
        trainer=first.trainer,
        configurations=[model.configuration for model in models],
        classes=[label for label in first.dataset_json["labels"] if label not in ("background", "ignore")],
        channels=first.configuration.channel_names,
        cases=first.dataset_json.get("numTraining", "an unknown number of"),
        dataset=first.plans.get("dataset_name", "an unknown dataset"),
        folds=first.folds,
        parameters=sum(parameter.numel() for parameter in first.networks[0].parameters()),
        scores=_scores(validation, first),
        version=__version__,
    )


def _scores(validation: Mapping[str, Mapping[str, float]], model: Model) -> list[dict[str, Any]]:
    """Mean validation Dice of each class over the folds that have a summary."""
    rows = []
    for label, value in model.dataset_json["labels"].items():
        key = str(tuple(value)) if isinstance(value, list) else str(value)
        dices = [dice_of[key] for dice_of in validation.values() if key in dice_of]
        dices = [dice for dice in dices if not isnan(dice)]  # a class that no validation case has
        if dices:
            rows.append({"class": label, "dice": sum(dices) / len(dices), "folds": len(dices)})
    return rows
