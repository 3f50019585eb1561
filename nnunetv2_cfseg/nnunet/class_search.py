"""Find trainers and planners by name, where nnU-Net's commands look for them."""

from __future__ import annotations

import os
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path

from nnunetv2_cfseg.nnunet.environment import ext_trainer_path


def find_trainer(name: str) -> type | None:
    """The trainer that nnU-Net finds: its own, one of ``nnUNet_extTrainer``, or one of this package; None without any.

    Raises:
        ValueError: a file of trainers cannot be imported.
    """
    found = _find_in_nnunet("training/nnUNetTrainer", name)
    folders = [folder for folder in ext_trainer_path().split(os.pathsep) if Path(folder).is_dir()]
    while found is None and folders:
        found = _find(folders.pop(0), name)
    return found


def find_planner(name: str) -> type | None:
    """One of nnU-Net's own planners; None if it has no such planner.

    Raises:
        ValueError: a file of planners cannot be imported.
    """
    return _find_in_nnunet("experiment_planning", name)


def _find_in_nnunet(folder: str, name: str) -> type | None:
    import nnunetv2  # slow

    package = Path(nnunetv2.__path__[0])
    return _find(str(package / folder), name, f"nnunetv2.{folder.replace('/', '.')}", str(package))


def _find(folder: str, name: str, module: str | None = None, base: str | None = None) -> type | None:
    from nnunetv2.utilities.find_class_by_name import recursive_find_python_class

    try:
        with redirect_stdout(StringIO()):
            found: type | None = recursive_find_python_class(
                folder, name, module, base_folder=base or folder, cleanup_imports_from_base_folder=module is None
            )
    except ImportError as error:
        raise ValueError(f"{name} cannot be looked up, because an import fails ({error}): {folder}") from error
    return found
