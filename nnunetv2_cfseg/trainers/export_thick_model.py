"""Writing a second model folder, for thick slices, from the one that thin-thick training leaves."""

from __future__ import annotations

import shutil
from pathlib import Path

import torch

from nnunetv2_cfseg.files.atomic_files import atomic_write, remove_leftovers
from nnunetv2_cfseg.nnunet.checkpoints import read_checkpoint

THIN, THICK = "3d_fullres", "3d_thick"


def write_thick_model(fold_folder: str | Path) -> Path:
    """Write ``TRAINER__PLANS__3d_thick`` beside a trained ``TRAINER__PLANS__3d_fullres``, for one fold.

    The weights are the same. The checkpoint names another configuration, so prediction resamples scans to another
    spacing.

    Args:
        fold_folder: the thin model's fold, with ``checkpoint_final.pth``.

    Returns:
        The thick model's folder.

    Raises:
        ValueError: the folder is not a thin model's, or its checkpoint cannot be read.
    """
    fold = Path(fold_folder)
    thin = fold.parent
    if not thin.name.endswith(f"__{THIN}"):
        raise ValueError(f"a thin model's folder must be named TRAINER__PLANS__{THIN}, got {thin.name}")
    thick = thin.with_name(thin.name.removesuffix(THIN) + THICK)
    (thick / fold.name).mkdir(parents=True, exist_ok=True)
    remove_leftovers(thick / fold.name)
    for name in ("plans.json", "dataset.json", "dataset_fingerprint.json"):
        if (thin / name).is_file():
            with atomic_write(str(thick / name)) as file:
                shutil.copyfile(thin / name, file)
    for name in ("checkpoint_final.pth", "checkpoint_best.pth"):
        if (fold / name).is_file():
            checkpoint = read_checkpoint(str(fold / name), torch.device("cpu"))
            checkpoint["init_args"] = {**checkpoint["init_args"], "configuration": THICK}
            with atomic_write(str(thick / fold.name / name)) as file:
                torch.save(checkpoint, file)
    return thick
