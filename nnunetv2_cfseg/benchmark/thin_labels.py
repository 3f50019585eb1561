"""A dataset of pairs with its thin labels in the place of the thick ones, for rows that are trained on them.

It has the id and the name of the dataset that it is made of, so that nothing else of a row changes, and therefore
nnU-Net's folders of its own, in the benchmark's.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from nnunetv2_cfseg.benchmark.matrix import Cell, Row
from nnunetv2_cfseg.nnunet.datasets import PREPROCESSED, RAW, Dataset

#: In a dataset of ``cfseg make_pairs``.
THIN_LABELS = "labelsTr_thin"
FOLDER = "thin_labels"


def data_folders(row: Row, output: Path) -> dict[str, str]:
    """Environment variables with the folders that a row is planned and trained in; none where they are nnU-Net's.

    Args:
        output: the benchmark's folder.
    """
    return {name: str(output.resolve() / FOLDER / name) for name in (RAW, PREPROCESSED)} if row.labels == "thin" else {}


@dataclass(frozen=True)
class ThinDataset(Dataset):
    """A dataset in the benchmark's folders.

    Attributes:
        output: the benchmark's folder.
    """

    output: Path

    @property
    def raw(self) -> Path:
        """Its folder of scans and thin labels."""
        return self.output.resolve() / FOLDER / RAW / self.name

    @property
    def preprocessed(self) -> Path:
        """Its folder of plans and preprocessed cases."""
        return self.output.resolve() / FOLDER / PREPROCESSED / self.name


def trained_dataset(cell: Cell, output: Path) -> Dataset:
    """The dataset that a cell is trained on."""
    return ThinDataset(cell.dataset, output) if cell.row.labels == "thin" else Dataset(cell.dataset)


def link_thin_dataset(dataset: str, output: Path) -> None:
    """Make the dataset of links to what ``nnUNet_raw`` has, and the folder for what is made of it.

    Raises:
        ValueError: the dataset has no thin labels.
        OSError: a link cannot be made.
    """
    source, made = Dataset(dataset).raw.resolve(), ThinDataset(dataset, output)
    if not (source / THIN_LABELS).is_dir():
        raise ValueError(f"labels: thin needs a dataset of cfseg make_pairs with thin labels, and there are none: "
                         f"{source / THIN_LABELS}")  # fmt: skip
    for folder in (made.raw, made.preprocessed):
        folder.mkdir(parents=True, exist_ok=True)
    for place in source.iterdir():
        if place.name.startswith("labelsTr"):
            continue
        _link(place, made.raw / place.name)
    _link(source / THIN_LABELS, made.raw / "labelsTr")


def _link(target: Path, link: Path) -> None:
    if not link.is_symlink():
        link.symlink_to(target)
