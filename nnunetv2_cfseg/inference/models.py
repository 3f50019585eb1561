"""Models at a place: a bundle, or nnU-Net's folder of thin slices with that of thick ones beside it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from nnunetv2_cfseg.inference.bundle import is_bundle, load_bundle
from nnunetv2_cfseg.inference.model import Model, load_model
from nnunetv2_cfseg.inference.storage_order import with_storage_order
from nnunetv2_cfseg.trainers.thick_model import THICK, THIN


def load_models(
    folder: Path, *, folds: Sequence[str] | None = None, checkpoint: str, configuration: str | None = None
) -> list[Model]:
    """Load what is there, or one configuration of it.

    Raises:
        ValueError: what is asked for is missing or broken, or is no model of this package's network.
    """
    models = _load(folder, folds, checkpoint, configuration)
    return [with_storage_order(model) for model in models]


def _load(folder: Path, folds: Sequence[str] | None, checkpoint: str, configuration: str | None) -> list[Model]:
    if is_bundle(folder):
        return load_bundle(folder, folds, configuration)
    thin, thick = folder, folder.with_name(folder.name.removesuffix(THIN) + THICK)
    is_thin = folder.name.endswith(f"__{THIN}")
    if is_thin and configuration == THICK:
        return [_named(load_model(thick, folds, checkpoint), configuration, thick)]
    models = [_named(load_model(thin, folds, checkpoint), configuration, thin)]
    if is_thin and configuration is None and thick.is_dir():
        models.append(load_model(thick, folds, checkpoint))
        if models[0].dataset_json != models[1].dataset_json:
            raise ValueError(f"models of thin and thick slices must be of one dataset, name one with -c: {folder}")
    return models


def _named(model: Model, configuration: str | None, folder: Path) -> Model:
    if configuration not in (None, model.configuration.name):
        raise ValueError(
            f"-c must be the model's configuration {model.configuration.name}, got {configuration}: {folder}"
        )
    return model
