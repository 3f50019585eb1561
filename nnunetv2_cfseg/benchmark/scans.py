"""The scans that a cell is scored on: the dataset's test set, or the fold's validation cases."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path

from nnunetv2_cfseg.benchmark.matrix import Cell, Matrix

#: Folders of a test set's labels; thin ones count more than the thick ones that were copied to them.
TRUTHS = ("labelsTs_thin", "labelsTs")


@dataclass(frozen=True)
class Scans:
    """What is predicted and what it is compared with.

    Attributes:
        images: folder of ``CASE_0000`` files.
        truth: folder of segmentations, which may hold more cases.
        dataset_json: the dataset's.
        cases: how many.
        words: which they are.
    """

    images: Path
    truth: Path
    dataset_json: Path
    cases: int
    words: str


def find_scans(matrix: Matrix, cell: Cell, folder: Path) -> Scans:
    """The scans of a cell; links to those of a fold are put into its folder.

    Raises:
        ValueError: there is neither a test set with labels nor a fold with validation cases.
    """
    raw = Path(os.environ["nnUNet_raw"]).resolve() / cell.dataset
    dataset_json = raw / "dataset.json"
    ending = json.loads(dataset_json.read_text())["file_ending"]
    for truth in (raw / name for name in TRUTHS):
        if (count := len(list(truth.glob(f"*{ending}")))) and (raw / "imagesTs").is_dir():
            return Scans(raw / "imagesTs", truth, dataset_json, count, f"the test set, {truth.name}")
    cases = validation_cases(cell)
    truth = next(raw / name for name in ("labelsTr_thin", "labelsTr") if (raw / name).is_dir())
    images = folder.resolve() / "images"
    images.mkdir(exist_ok=True)
    for case in cases:
        for file in raw.glob(f"imagesTr/{case}_????{ending}"):
            if not (images / file.name).exists():
                (images / file.name).symlink_to(file)
    return Scans(images, truth, dataset_json, len(cases), f"validation cases of fold {cell.fold}, {truth.name}")


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
