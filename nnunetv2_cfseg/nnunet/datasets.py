"""Finds nnU-Net's datasets by id or name, with their folders, cases and folds."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from nnunetv2_cfseg.files.text_files import read_json
from nnunetv2_cfseg.nnunet.environment import FOLDERS, require_folders
from nnunetv2_cfseg.nnunet.splits import SPLITS

RAW, PREPROCESSED, RESULTS = FOLDERS
LONGEST_NAME = 100


@dataclass(frozen=True)
class Dataset:
    """A dataset in nnU-Net's folders; not all of them need to exist.

    Attributes:
        name: such as ``Dataset501_Heads``.
    """

    name: str

    @property
    def raw(self) -> Path:
        """Folder of scans and labels."""
        return Path(os.environ[RAW]) / self.name

    @property
    def preprocessed(self) -> Path:
        """Folder of plans and preprocessed cases."""
        return Path(os.environ[PREPROCESSED]) / self.name

    @property
    def number(self) -> str:
        """The dataset's id, as nnU-Net's commands take it."""
        return dataset_number(self.name)

    @property
    def splits_file(self) -> Path | None:
        """File of the folds: the preprocessed dataset's, or the raw one's, which planning copies; None without any."""
        files = (folder / SPLITS for folder in (self.preprocessed, self.raw))
        return next((file for file in files if file.is_file()), None)

    @property
    def preprocessed_cases(self) -> list[str]:
        """Names of the cases that were planned with, sorted.

        Raises:
            ValueError: the preprocessed dataset has no ``dataset.json``.
        """
        ending = read_json(self.preprocessed / "dataset.json")["file_ending"]
        labels = (self.preprocessed / "gt_segmentations").glob(f"*{ending}")
        return sorted(label.name.removesuffix(ending) for label in labels)


def find_dataset(dataset: str | int, folders: Sequence[str] | None = None, *, what: str = "a dataset") -> Dataset:
    """Find the dataset with an id or a name.

    Args:
        folders: variables of nnU-Net's folders to search; None for all that are set.
        what: is to be named, for the message.

    Raises:
        ValueError: one of the folders is not set, or there is no such dataset, or several have the id.
    """
    folders = [name for name in FOLDERS if os.environ.get(name)] if folders is None else folders
    require_folders(folders or FOLDERS)
    parents = [Path(os.environ[name]) for name in folders]
    is_id = str(dataset).isascii() and str(dataset).isdigit() and len(str(dataset)) < 10
    wanted = f"Dataset{int(dataset):03d}_" if is_id else str(dataset)
    names = sorted({
        folder.name
        for parent in parents
        if parent.is_dir()
        for folder in parent.iterdir()
        if (folder.name.startswith(wanted) if is_id else folder.name == wanted) and folder.is_dir()
    })  # fmt: skip
    if len(names) != 1:
        several = f"which {len(names)} datasets are: {', '.join(names[:5])}"
        raise ValueError(
            f"{what} must be the id or the name of one dataset in {' or '.join(folders)}, got {str(dataset)[:200]!r}, "
            f"{several if names else 'and there is no such dataset'}"
        )
    return Dataset(names[0])


def dataset_number(dataset: str) -> str:
    """``501``, the id in ``501``, ``0501`` or ``Dataset501_Name``."""
    return dataset.removeprefix("Dataset").split("_")[0].lstrip("0")


def new_dataset_folder(parent: Path, dataset_id: int, name: str) -> Path:
    """The folder for a new dataset, where nnU-Net will look for it.

    Raises:
        ValueError: nnU-Net cannot read the id or the name, or another dataset has the id.
    """
    if not 1 <= dataset_id <= 999:
        raise ValueError(f"a dataset id must be from 1 to 999, got {dataset_id}")
    if not re.fullmatch(r"[A-Za-z0-9_-]+", name) or len(name) > LONGEST_NAME:
        raise ValueError(
            f"a dataset name must consist of at most {LONGEST_NAME} letters, digits, _ and -, got {name[:200]!r}"
        )
    folder = parent / f"Dataset{dataset_id:03d}_{name}"
    for other in sorted(parent.glob(f"Dataset{dataset_id:03d}*")):
        if other.is_dir() and other.name != folder.name:
            raise ValueError(f"the dataset id {dataset_id} is taken by {other}; an id must belong to one dataset")
    return folder
