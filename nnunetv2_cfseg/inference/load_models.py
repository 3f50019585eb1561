"""Loading models from a bundle, or from nnU-Net's folder for thin slices and the one for thick slices beside it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from nnunetv2_cfseg.inference.bundle import is_bundle, load_bundle, require_no_part_of_a_bundle
from nnunetv2_cfseg.inference.model import Model, load_model
from nnunetv2_cfseg.inference.storage_order import with_storage_order
from nnunetv2_cfseg.trainers.export_thick_model import THICK, THIN

#: Number of shifts that every model accepts.
MOST_SHIFTS = 8


def load_models(
    folder: Path,
    *,
    folds: Sequence[str] | None = None,
    checkpoint: str,
    configuration: str | None = None,
    trust_checkpoint: bool = False,
) -> list[Model]:
    """Load all configurations of a model, or one of them.

    Args:
        folder: a bundle or a model folder of nnU-Net.
        folds: None for all.
        checkpoint: name of the file in each fold's folder.
        configuration: None for all.
        trust_checkpoint: load checkpoints that can run code; bundles have no checkpoints.

    Raises:
        ValueError: a fold or the configuration is missing or broken, or the network is not this package's.
    """
    load = partial(load_model, folds=folds, checkpoint=checkpoint, trust_checkpoint=trust_checkpoint)
    models = load_bundle(folder, folds, configuration) if is_bundle(folder) else _load(folder, configuration, load)
    return [with_storage_order(model) for model in models]


def _load(folder: Path, configuration: str | None, load: Callable[[Path], Model]) -> list[Model]:
    require_no_part_of_a_bundle(folder)
    thin, thick = folder, folder.with_name(folder.name.removesuffix(THIN) + THICK)
    is_thin = folder.name.endswith(f"__{THIN}")
    if is_thin and configuration == THICK:
        return [_named(load(thick), configuration, thick)]
    models = [_named(load(thin), configuration, thin)]
    if is_thin and configuration is None and thick.is_dir():
        models.append(load(thick))
        if models[0].dataset_json != models[1].dataset_json:
            raise ValueError(
                f"the models for thin and thick slices have different dataset.json files; name one of them with -c: "
                f"{folder}"
            )
    return models


def check_shifts(models: Sequence[Model], shifts: int) -> None:
    """Refuse more grids than a patch has voxels along its longest axis, since they would repeat each other.

    Raises:
        ValueError: ``shifts`` is below 1, or above both that number and ``MOST_SHIFTS``.
    """
    longest = max(max(model.networks[0].patch_size) for model in models)
    if not 1 <= shifts <= max(MOST_SHIFTS, longest):
        raise ValueError(
            f"--shifts must be from 1 to {max(MOST_SHIFTS, longest)} for patches of at most {longest} voxels along an "
            f"axis, got {shifts}"
        )


def _named(model: Model, configuration: str | None, folder: Path) -> Model:
    if configuration not in (None, model.configuration.name):
        raise ValueError(
            f"-c must be the model's configuration, {model.configuration.name}, got {configuration}: {folder}"
        )
    return model
