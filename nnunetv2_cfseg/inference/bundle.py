"""Bundles, models to share: weights that cannot run code, what nnU-Net needs to know about them, and a model card.

A bundle is a folder: ``fold_N.safetensors``, ``plans.json``, ``dataset.json``, ``bundle.json`` and ``README.md``, whose
header is read by model hubs (Mitchell et al. 2019, "Model Cards for Model Reporting").
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
from nnunetv2_cfseg.nnunet.fold_cases import FoldCases
from nnunetv2_cfseg.nnunet.plans import Axis, read_plans

FORMAT = 1
INDEX = "bundle.json"
INDEX_LIMIT_BYTES = 2**20
INTENDED_USE = "Research. Not a medical device: check a segmentation before basing any decision on it."


@dataclass(frozen=True)
class Card:
    """What a model card says beyond the model's files.

    Attributes:
        licence: of the weights, such as an SPDX name.
        training_data: where the scans are from.
        intended_use: what the model is and is not meant for.
    """

    licence: str
    training_data: str
    intended_use: str = INTENDED_USE


class Index(Document):
    """The content of ``bundle.json``."""

    format: Count
    trainer: PlainName
    configurations: Annotated[list[str], Field(min_length=1, max_length=100)]
    folds: Annotated[list[FoldName], Field(min_length=1, max_length=100)]
    mirror_axes: Annotated[list[Axis], Field(max_length=3)]


def is_bundle(folder: Path) -> bool:
    """Whether a folder was written by :func:`write_bundle`."""
    return os.path.lexists(folder / INDEX)


def require_no_part_of_a_bundle(folder: Path) -> None:
    """Refuse a bundle without its index, which would otherwise be searched for checkpoints.

    Raises:
        ValueError: the folder holds weights of a bundle.
    """
    if weights := sorted(folder.glob("*.safetensors")):
        raise ValueError(f"{INDEX} is missing; a bundle must have it beside {weights[0].name}: {folder}")


def write_bundle(
    models: Sequence[Model],
    folder: Path,
    card: Card,
    validation: Mapping[str, Mapping[str, float]],
    *,
    fold_cases: Mapping[str, FoldCases] | None = None,
) -> None:
    """Write a bundle.

    Args:
        models: configurations that share their weights, such as those for thin and for thick slices.
        folder: must not exist yet.
        validation: for each validated fold, the mean Dice of each class by nnU-Net's key of the class.
        fold_cases: numbers of training and validation cases, of the folds of which they are known.

    Raises:
        ValueError: the folder exists, or the weights differ between configurations.
        OSError: the bundle cannot be written.
    """
    require_new_folder(folder)
    first = models[0]
    weights = [network.state_dict() for network in first.networks]
    for other in models[1:]:
        others = [network.state_dict() for network in other.networks]
        if first.folds != other.folds or not all(map(_same_weights, weights, others)):
            raise ValueError(
                f"the weights of {first.configuration.name} and {other.configuration.name} differ, but a bundle's "
                f"configurations share their weights; export them one by one with -c"
            )
    card_text = _card(models, folder.name, card, validation, fold_cases or {})
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
        copymode(part / INDEX, file)  # safetensors makes files that only the owner can read


def load_bundle(folder: Path, folds: Sequence[str] | None = None, configuration: str | None = None) -> list[Model]:
    """Load a bundle; nothing is unpickled.

    Args:
        folds: None for all.
        configuration: None for all.

    Raises:
        ValueError: a file is missing or broken or was written by a later version, or the bundle lacks a fold or the
            configuration.
    """
    index = read_document(folder / INDEX, Index, limit_bytes=INDEX_LIMIT_BYTES)
    if index.format > FORMAT:
        raise ValueError(f"a bundle's format must be {FORMAT} or lower, got {index.format}: {folder / INDEX}")
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


def _same_weights(first: Mapping[str, Tensor], second: Mapping[str, Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def _check_has(kind: str, requested: Sequence[str], available: Sequence[str], folder: Path) -> None:
    if not set(requested) <= set(available):
        raise ValueError(f"the bundle has the {kind} {', '.join(available)}, not {', '.join(requested)}: {folder}")


def _read_weights(file: Path) -> dict[str, Any]:
    require_regular_file(file)
    try:
        weights = load_file(file)
    except Exception as error:  # a broken file can raise anything
        if is_out_of_memory(error):
            raise
        raise ValueError(f"weights must be a whole .safetensors file ({error}): {file}") from error
    check_tensors(weights, file)
    return weights


def _card(
    models: Sequence[Model],
    name: str,
    card: Card,
    validation: Mapping[str, Mapping[str, float]],
    fold_cases: Mapping[str, FoldCases],
) -> str:
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
        fold_cases=fold_cases,
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
        dices = [dice for dice in dices if not isnan(dice)]  # NaN for a class that no validation case has
        if dices:
            rows.append({"class": label, "dice": sum(dices) / len(dices), "folds": len(dices)})
    return rows
