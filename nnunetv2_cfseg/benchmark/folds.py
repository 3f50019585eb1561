"""The folds of a benchmark, looked at before anything is trained: nnU-Net draws cases by chance for a fold it lacks."""

from __future__ import annotations

from pathlib import Path

from nnunetv2_cfseg.benchmark.matrix import Matrix
from nnunetv2_cfseg.files.text_files import read_json
from nnunetv2_cfseg.nnunet.datasets import Dataset
from nnunetv2_cfseg.nnunet.splits import NNUNET_FOLDS, read_splits

#: Folders with labels of a test set; thin ones count more than the thick ones that were copied to them.
TEST_LABELS = ("labelsTs_thin", "labelsTs")


def check_folds(matrix: Matrix) -> None:
    """Refuse folds that a dataset does not have, and those without cases to be scored on.

    Raises:
        ValueError: with the fold and the file.
    """
    for dataset in matrix.datasets:
        for fold in matrix.folds:
            _check_fold(dataset, fold)


def _check_fold(dataset: str, fold: str) -> None:
    file = Dataset(dataset).splits_file
    if fold == "all":
        raw = Dataset(dataset).raw
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
    file = Dataset(dataset).splits_file
    folds = read_splits(file) if file else []
    if not fold.isdecimal() or int(fold) >= len(folds):
        raise ValueError(f"a fold must be one of the {len(folds)} in the splits, got fold {fold}: {file or dataset}")
    cases = folds[int(fold)]["val"]
    if not cases:
        raise ValueError(f"a fold must have cases in val, and fold {fold} has none: {file}")
    return cases
