"""A dataset of pairs with its thin labels in the place of the thick ones, for rows that are trained on them.

It has the id and the name of the dataset that it is made of, so that nothing else of a row changes, and therefore
nnU-Net's folders of its own, in the benchmark's.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from nnunetv2_cfseg.benchmark.matrix import Row

#: In a dataset of ``cfseg make_pairs``.
THIN_LABELS = "labelsTr_thin"
FOLDER = "thin_labels"
NAMES = ("nnUNet_raw", "nnUNet_preprocessed")


def data_folders(row: Row, output: Path) -> dict[str, str]:
    """Environment variables with the folders that a row is planned and trained in; none where they are nnU-Net's.

    Args:
        output: the benchmark's folder.
    """
    return {name: str(output.resolve() / FOLDER / name) for name in NAMES} if row.labels == "thin" else {}


def preprocessed(row: Row, dataset: str, output: Path) -> Path:
    """The preprocessed dataset that a row is trained on."""
    folders: Mapping[str, str] = {**os.environ, **data_folders(row, output)}
    return Path(folders["nnUNet_preprocessed"]) / dataset


def link_thin_dataset(dataset: str, output: Path) -> None:
    """Make the dataset of links to what ``nnUNet_raw`` has, and the folder for what is made of it.

    Raises:
        ValueError: the dataset has no thin labels.
        OSError: a link cannot be made.
    """
    source = Path(os.environ["nnUNet_raw"]).resolve() / dataset
    if not (source / THIN_LABELS).is_dir():
        raise ValueError(f"labels: thin needs a dataset of cfseg make_pairs with thin labels, and there are none: "
                         f"{source / THIN_LABELS}")  # fmt: skip
    raw, made = (output.resolve() / FOLDER / name / dataset for name in NAMES)
    for folder in (raw, made):
        folder.mkdir(parents=True, exist_ok=True)
    for place in source.iterdir():
        if place.name.startswith("labelsTr"):
            continue
        _link(place, raw / place.name)
    _link(source / THIN_LABELS, raw / "labelsTr")


def _link(target: Path, link: Path) -> None:
    if not link.is_symlink():
        link.symlink_to(target)
