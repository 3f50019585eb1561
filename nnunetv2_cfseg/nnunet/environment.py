"""nnU-Net's environment variables: its three folders, and where it finds this package's trainers."""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence
from pathlib import Path

FOLDERS = ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results")
EXT_TRAINER = "nnUNet_extTrainer"
#: Variables for training: a seed, and the seconds that trainers whose names end with ``_timed`` get.
SEED_VARIABLE, BUDGET_VARIABLE = "CFSEG_SEED", "CFSEG_TIME_BUDGET_S"
#: The folder that nnU-Net has to search for this package's trainers.
EXT_FOLDER = str(Path(__file__).parents[1] / "nnunet_ext")


def missing_folders(names: Sequence[str] = FOLDERS) -> list[str]:
    """The names of nnU-Net's folder variables that are not set."""
    return [name for name in names if not os.environ.get(name)]


def require_folders(names: Sequence[str] = FOLDERS) -> None:
    """Refuse to go on without nnU-Net's folders, as nnU-Net would fail later.

    Raises:
        ValueError: a variable is not set; the message names all that are missing.
    """
    missing = missing_folders(names)
    if missing:
        raise ValueError(f"nnU-Net's folders must be set, and {missing_sentence(missing)}")


def raw_folder() -> Path:
    """nnU-Net's folder of raw datasets.

    Raises:
        ValueError: its variable is not set.
    """
    require_folders(["nnUNet_raw"])
    return Path(os.environ["nnUNet_raw"])


def missing_sentence(missing: list[str]) -> str:
    """«a, b are not set», for a warning or an error."""
    return f"{', '.join(missing)} {'is' if len(missing) == 1 else 'are'} not set"


def ext_trainer_path() -> str:
    """The value of ``nnUNet_extTrainer``: this package's trainer folder, after any folders that are set already."""
    others = [path for path in os.environ.get(EXT_TRAINER, "").split(os.pathsep) if path and path != EXT_FOLDER]
    return os.pathsep.join([*others, EXT_FOLDER])


def ext_trainer_export() -> str:
    """The shell line that sets ``nnUNet_extTrainer``."""
    return f"export {EXT_TRAINER}={shlex.quote(ext_trainer_path())}"
