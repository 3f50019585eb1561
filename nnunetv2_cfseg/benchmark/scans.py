"""Find the scans that a cell is scored on: the dataset's test set, or the fold's validation cases."""

from __future__ import annotations

import os
from dataclasses import dataclass
from glob import escape
from pathlib import Path

from nnunetv2_cfseg.benchmark.folds import test_labels, validation_cases
from nnunetv2_cfseg.benchmark.matrix import Cell
from nnunetv2_cfseg.files.text_files import read_json
from nnunetv2_cfseg.nnunet.datasets import Dataset

#: Folders of training labels; thin labels are preferred to copied thick ones.
TRAINING_LABELS = ("labelsTr_thin", "labelsTr")


@dataclass(frozen=True)
class Scans:
    """The scans to predict and their references.

    Attributes:
        images: folder of links to ``CASE_0000`` files.
        truth: folder of links to their segmentations.
        dataset_json: the dataset's.
        cases: number of cases.
        words: which cases they are, in words.
    """

    images: Path
    truth: Path
    dataset_json: Path
    cases: int
    words: str


def find_scans(cell: Cell, folder: Path) -> Scans:
    """Find the scans of a cell and link them in its folder.

    Raises:
        ValueError: there is neither a test set with labels nor a fold with validation cases.
    """
    scored = _scored(cell)
    raw, ending = scored.raw, scored.ending
    for case in scored.cases:
        for file in raw.glob(f"{scored.images}/{escape(case)}_????{ending}"):
            _link(file, folder / "images")
        _link(raw / scored.labels / f"{case}{ending}", folder / "truth")
    links = folder.resolve()
    words = f"{scored.words}, {scored.labels}"
    return Scans(links / "images", links / "truth", raw / "dataset.json", len(scored.cases), words)


@dataclass(frozen=True)
class _Scored:
    """The cases that a cell is scored on, in the raw dataset.

    Attributes:
        raw: the raw dataset's folder.
        ending: the ending of its files.
        cases: names of the cases.
        images: name of the folder of their scans.
        labels: name of the folder of their references.
        words: which cases they are, in words.
    """

    raw: Path
    ending: str
    cases: list[str]
    images: str
    labels: str
    words: str


def _scored(cell: Cell) -> _Scored:
    raw = Path(os.environ["nnUNet_raw"]).resolve() / cell.dataset
    ending = read_json(raw / "dataset.json")["file_ending"]
    test = test_labels(raw, ending)
    if test is not None:
        cases = sorted(file.name.removesuffix(ending) for file in (raw / test).glob(f"*{ending}"))
        return _Scored(raw, ending, cases, "imagesTs", test, "the test set")
    cases = validation_cases(cell.dataset, cell.fold)
    labels = next(name for name in TRAINING_LABELS if (raw / name).is_dir())
    return _Scored(raw, ending, cases, "imagesTr", labels, f"validation cases of fold {cell.fold}")


def check_predictions(cell: Cell) -> None:
    """Check that the predictions of a cell's row are there, for all cases that the cell will be scored on.

    A dataset without folds gets them with its plans, and its predictions are checked when the cell runs.

    Raises:
        ValueError: the raw dataset has no such folder, or the folder lacks a case.
    """
    folder = Path(os.environ["nnUNet_raw"]).resolve() / cell.dataset / cell.row.predictions
    if not folder.is_dir():
        raise ValueError(f"there is no folder of predictions for row {cell.row.name}: {folder}")
    if Dataset(cell.dataset).splits_file is None:
        return
    scored = _scored(cell)
    for case in scored.cases:
        _check_prediction(cell, folder / f"{case}{scored.ending}")


def _check_prediction(cell: Cell, file: Path) -> None:
    if not file.is_file():
        raise ValueError(f"a prediction of row {cell.row.name} is missing: {file}")


def link_predictions(cell: Cell, scans: Scans, folder: Path) -> None:
    """Link the predictions that a row names, for the cases that the cell is scored on.

    Args:
        cell: a cell of a row with predictions.
        scans: the cell's scans.
        folder: folder for the links.

    Raises:
        ValueError: the raw dataset has no such folder, or the folder lacks a case.
    """
    source = Path(os.environ["nnUNet_raw"]).resolve() / cell.dataset / cell.row.predictions
    for truth in sorted(scans.truth.iterdir()):
        file = source / truth.name
        _check_prediction(cell, file)
        _link(file, folder)


def _link(file: Path, folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    link = folder / file.name
    if not link.is_symlink():
        link.symlink_to(file)
