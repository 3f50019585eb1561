"""The folds of a benchmark, looked at before anything is trained: nnU-Net draws cases by chance for a fold it lacks."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from nnunetv2_cfseg.benchmark.matrix import Matrix
from nnunetv2_cfseg.files.text_files import read_json

#: Folders with labels of a test set; thin ones count more than the thick ones that were copied to them.
TEST_LABELS = ("labelsTs_thin", "labelsTs")
SPLITS = "splits_final.json"
#: Folds that are written where a dataset brings none.
NNUNET_FOLDS = 5


def check_folds(matrix: Matrix) -> None:
    """Refuse folds that a dataset does not have, and those without cases to be scored on.

    Raises:
        ValueError: with the fold and the file.
    """
    for dataset in matrix.datasets:
        for fold in matrix.folds:
            _check_fold(dataset, fold)


def _check_fold(dataset: str, fold: str) -> None:
    file = splits_file(dataset)
    if fold == "all":
        raw = Path(os.environ["nnUNet_raw"]) / dataset
        if test_labels(raw, read_json(raw / "dataset.json")["file_ending"]) is None:
            raise ValueError(f"fold all needs a test set with labels (imagesTs, labelsTs), and there is none: {raw}")
    elif file is not None:
        validation_cases(dataset, fold)
    elif int(fold) >= NNUNET_FOLDS:
        raise ValueError(f"a fold must be one of the {NNUNET_FOLDS} that nnU-Net makes of {dataset}, got fold {fold}")


def test_labels(raw: Path, ending: str) -> str | None:
    """The folder of a raw dataset with labels of its test set, if it has one."""
    if not (raw / "imagesTs").is_dir():
        return None
    return next((name for name in TEST_LABELS if any((raw / name).glob(f"*{ending}"))), None)


def validation_cases(dataset: str, fold: str) -> list[str]:
    """The validation cases of a dataset's fold.

    Raises:
        ValueError: there are none: the fold is ``all``, the splits have no such fold, or it is empty.
    """
    file = splits_file(dataset)
    folds = read_splits(file) if file else []
    if not fold.isdecimal() or int(fold) >= len(folds):
        raise ValueError(f"a fold must be one of the {len(folds)} in the splits, got fold {fold}: {file or dataset}")
    cases = folds[int(fold)]["val"]
    if not cases:
        raise ValueError(f"a fold must have cases in val, and fold {fold} has none: {file}")
    return cases


def splits_file(dataset: str) -> Path | None:
    """A dataset's folds: the preprocessed dataset's file, or the raw one's, which planning takes over."""
    places = (Path(os.environ[name]) / dataset / SPLITS for name in ("nnUNet_preprocessed", "nnUNet_raw"))
    return next((file for file in places if file.is_file()), None)


def read_splits(file: Path) -> list[dict[str, list[str]]]:
    """Read folds.

    Raises:
        ValueError: the file is not nnU-Net's.
        OSError: it cannot be read.
    """
    try:
        return [{part: _names(fold[part]) for part in ("train", "val")} for fold in json.loads(file.read_text())]
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise ValueError(f"folds must be a JSON list of train and val, each a list of case names: {file}") from error


def _names(cases: Any) -> list[str]:
    if not isinstance(cases, list) or not all(isinstance(case, str) and Path(case).name == case for case in cases):
        raise TypeError("no list of names")
    return cases
