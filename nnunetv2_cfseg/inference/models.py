"""Models at a place: a bundle, or nnU-Net's folder of thin slices with that of thick ones beside it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from nnunetv2_cfseg.inference.bundle import is_bundle, load_bundle
from nnunetv2_cfseg.inference.model import Model, load_model

THIN, THICK = "3d_fullres", "3d_thick"


def load_models(
    folder: Path, *, folds: Sequence[str] | None = None, checkpoint: str, configuration: str | None = None
) -> list[Model]:
    """Load what is there, or one configuration of it.

    Raises:
        ValueError: what is asked for is missing or broken, or is no model of this package's network.
    """
    if is_bundle(folder):
        return load_bundle(folder, folds, configuration)
    folders = [folder]
    if configuration is None and folder.name.endswith(f"__{THIN}"):
        folders += [thick for thick in [folder.with_name(folder.name.removesuffix(THIN) + THICK)] if thick.is_dir()]
    return [load_model(one, folds, checkpoint) for one in folders]
