"""Lists the trained models of a dataset, to say what there is when one is missing."""

from __future__ import annotations

from pathlib import Path

#: Models that a message names at most.
MOST_NAMED = 10


def describe_models(dataset_folder: Path, checkpoint: str) -> str:
    """The trained models in a dataset's folder of nnU-Net's results, with their folds, in words.

    Args:
        dataset_folder: holds folders named ``TRAINER__PLANS__CONFIGURATION``.
        checkpoint: name of the file that a trained fold has.
    """
    folders = sorted(folder for folder in dataset_folder.glob("*__*__*") if folder.is_dir())
    models = [f"{folder.name} ({_folds(folder, checkpoint)})" for folder in folders]
    if not models:
        return "there is none"
    named = [*models[:MOST_NAMED], *([f"{len(models) - MOST_NAMED} more"] if len(models) > MOST_NAMED else [])]
    return f"there {'is' if len(models) == 1 else 'are'} {', '.join(named)}"


def _folds(model: Path, checkpoint: str) -> str:
    folds = sorted(file.parent.name.removeprefix("fold_") for file in model.glob("fold_*/*") if file.name == checkpoint)
    if not folds:
        return f"no fold with {checkpoint}"
    return f"fold{'' if len(folds) == 1 else 's'} {', '.join(folds)}"
