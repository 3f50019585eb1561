"""Link a dataset of pairs with thin labels in place of the thick ones, for rows that are trained on them.

The new dataset keeps the id and name of its source, so that nothing else in a row changes. It therefore needs its own
nnU-Net folders, which are in the benchmark's folder.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from nnunetv2_cfseg.benchmark.matrix import Cell
from nnunetv2_cfseg.benchmark.row import Row
from nnunetv2_cfseg.nnunet.datasets import PREPROCESSED, RAW, Dataset

#: Folder of thin labels in a dataset of ``cfseg make_pairs``.
THIN_LABELS = "labelsTr_thin"
FOLDER = "thin_labels"


def data_folders(row: Row, output: Path) -> dict[str, str]:
    """Environment variables with the folders in which a row is planned and trained; empty for nnU-Net's own.

    Args:
        output: the benchmark's folder.
    """
    return {name: str(_folder(output, name)) for name in (RAW, PREPROCESSED)} if row.labels == "thin" else {}


@dataclass(frozen=True)
class ThinDataset(Dataset):
    """A dataset with thin labels in the benchmark's folder.

    Attributes:
        output: the benchmark's folder.
    """

    output: Path

    @property
    def raw(self) -> Path:
        """The folder of scans and thin labels."""
        return _folder(self.output, RAW) / self.name

    @property
    def preprocessed(self) -> Path:
        """The folder of plans and preprocessed cases."""
        return _folder(self.output, PREPROCESSED) / self.name


def trained_dataset(cell: Cell, output: Path) -> Dataset:
    """The dataset that a cell is trained on."""
    return ThinDataset(cell.dataset, output) if cell.row.labels == "thin" else Dataset(cell.dataset)


def check_thin_labels(dataset: str) -> None:
    """Check that a dataset has thin labels.

    Raises:
        ValueError: it has none.
    """
    folder = Dataset(dataset).raw.resolve() / THIN_LABELS
    if not folder.is_dir():
        raise ValueError(f"there are no thin labels; labels: thin needs a dataset of cfseg make_pairs with them: "
                         f"{folder}")  # fmt: skip


def link_thin_dataset(dataset: str, output: Path) -> None:
    """Make the dataset with links into ``nnUNet_raw``, and the folder for its preprocessed data.

    Raises:
        ValueError: the dataset has no thin labels.
        OSError: a link cannot be made.
    """
    check_thin_labels(dataset)
    source, made = Dataset(dataset).raw.resolve(), ThinDataset(dataset, output)
    for folder in (made.raw, made.preprocessed):
        folder.mkdir(parents=True, exist_ok=True)
    for entry in source.iterdir():
        if entry.name.startswith("labelsTr"):
            continue
        _link(entry, made.raw / entry.name)
    _link(source / THIN_LABELS, made.raw / "labelsTr")


def _folder(output: Path, variable: str) -> Path:
    """What one of nnU-Net's variables names for datasets with thin labels."""
    return output.resolve() / FOLDER / variable


def _link(target: Path, link: Path) -> None:
    if not link.is_symlink():
        link.symlink_to(target)
