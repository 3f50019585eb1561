"""The scans that a cell is scored on: the dataset's test set, or the fold's validation cases."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path

from nnunetv2_cfseg.benchmark.matrix import Cell
from nnunetv2_cfseg.files import read_json

#: Folders of labels; thin ones count more than the thick ones that were copied to them.
TEST_LABELS, TRAINING_LABELS = ("labelsTs_thin", "labelsTs"), ("labelsTr_thin", "labelsTr")


@dataclass(frozen=True)
class Scans:
    """What is predicted and what it is compared with.

    Attributes:
        images: folder of links to ``CASE_0000`` files.
        truth: folder of links to their segmentations.
        dataset_json: the dataset's.
        cases: how many.
        words: which they are.
    """

    images: Path
    truth: Path
    dataset_json: Path
    cases: int
    words: str


def find_scans(cell: Cell, folder: Path) -> Scans:
    """The scans of a cell, as links in its folder.

    Raises:
        ValueError: there is neither a test set with labels nor a fold with validation cases.
    """
    raw = Path(os.environ["nnUNet_raw"]).resolve() / cell.dataset
    ending = read_json(raw / "dataset.json")["file_ending"]
    test = next((name for name in TEST_LABELS if any((raw / name).glob(f"*{ending}"))), None)
    if test is not None and (raw / "imagesTs").is_dir():
        cases = sorted(file.name.removesuffix(ending) for file in (raw / test).glob(f"*{ending}"))
        images, labels, words = "imagesTs", test, "the test set"
    else:
        cases = validation_cases(cell)
        labels = next(name for name in TRAINING_LABELS if (raw / name).is_dir())
        images, words = "imagesTr", f"validation cases of fold {cell.fold}"
    for case in cases:
        for file in raw.glob(f"{images}/{case}_????{ending}"):
            _link(file, folder / "images")
        _link(raw / labels / f"{case}{ending}", folder / "truth")
    links = folder.resolve()
    return Scans(links / "images", links / "truth", raw / "dataset.json", len(cases), f"{words}, {labels}")


def _link(file: Path, folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    link = folder / file.name
    if not link.is_symlink():
        link.symlink_to(file)


def validation_cases(cell: Cell) -> list[str]:
    """Of a fold.

    Raises:
        ValueError: there are none: the fold is ``all``, or the splits have no such fold.
    """
    file = Path(os.environ["nnUNet_preprocessed"]) / cell.dataset / "splits_final.json"
    folds = json.loads(file.read_text()) if file.is_file() else []
    if not cell.fold.isdecimal() or int(cell.fold) >= len(folds):
        raise ValueError(
            f"a benchmark needs a test set with labels, or a fold of {len(folds)} in the splits, got fold {cell.fold}: "
            f"{file}"
        )
    return list(folds[int(cell.fold)]["val"])
