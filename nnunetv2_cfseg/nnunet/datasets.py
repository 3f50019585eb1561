"""nnU-Net's datasets: which one an id or a name means, where it lies, and which cases and folds it has."""

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
    """A dataset in nnU-Net's folders, whatever is there of it.

    Attributes:
        name: such as ``Dataset501_Heads``.
    """

    name: str

    @property
    def raw(self) -> Path:
        """Its folder of scans and labels."""
        return Path(os.environ[RAW]) / self.name

    @property
    def preprocessed(self) -> Path:
        """Its folder of plans and preprocessed cases."""
        return Path(os.environ[PREPROCESSED]) / self.name

    @property
    def number(self) -> str:
        """Its id, as nnU-Net's commands take it."""
        return dataset_number(self.name)

    @property
    def splits_file(self) -> Path | None:
        """Its folds: the preprocessed dataset's file, or the raw one's, which planning takes over."""
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
    """The one dataset that an id or a name means.

    Args:
        folders: those of nnU-Net's folders in which it may lie; None for all that are set.
        what: is to be named, for the message.

    Raises:
        ValueError: one of the folders is not set, or there is no such dataset, or several have the id.
    """
    folders = [name for name in FOLDERS if os.environ.get(name)] if folders is None else folders
    require_folders(folders or FOLDERS)
    places = [Path(os.environ[name]) for name in folders]
    is_id = str(dataset).isascii() and str(dataset).isdigit() and len(str(dataset)) < 10
    wanted = f"Dataset{int(dataset):03d}_" if is_id else str(dataset)
    found = sorted({
        folder.name
        for place in places
        if place.is_dir()
        for folder in place.iterdir()
        if (folder.name.startswith(wanted) if is_id else folder.name == wanted) and folder.is_dir()
    })  # fmt: skip
    if len(found) != 1:
        several = f": {', '.join(found[:5])}" if found else ""
        raise ValueError(
            f"{what} must be the id or the name of one dataset in {' or '.join(folders)}, got {str(dataset)[:200]!r}, "
            f"which {len(found)} fit{several}"
        )
    return Dataset(found[0])


def dataset_number(dataset: str) -> str:
    """``501``, the id in ``501``, ``0501`` or ``Dataset501_Name``."""
    return dataset.removeprefix("Dataset").split("_")[0].lstrip("0")


def new_dataset_folder(parent: Path, dataset_id: int, name: str) -> Path:
    """Where nnU-Net will look for a dataset that is to be made.

    Raises:
        ValueError: an id or a name that nnU-Net cannot read, or an id that another dataset has.
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
            raise ValueError(f"a dataset id must belong to one dataset, and {dataset_id} is that of {other}")
    return folder
