"""Check the folds of a benchmark before training, because nnU-Net draws random cases for a fold that does not exist."""

from __future__ import annotations

from pathlib import Path

from nnunetv2_cfseg.benchmark.matrix import Matrix
from nnunetv2_cfseg.files.text_files import read_json
from nnunetv2_cfseg.nnunet.datasets import Dataset
from nnunetv2_cfseg.nnunet.splits import NNUNET_FOLDS, read_splits

#: Folders with labels of a test set; thin labels are preferred to copied thick ones.
TEST_LABELS = ("labelsTs_thin", "labelsTs")


def check_folds(matrix: Matrix) -> None:
    """Check that every dataset has the folds, and that they have cases to score.

    Raises:
        ValueError: a fold does not exist or has no cases; the message names the fold and the file.
    """
    for dataset in matrix.datasets:
        for fold in matrix.folds:
            _check_fold(dataset, fold)


def _check_fold(dataset: str, fold: str) -> None:
    file = Dataset(dataset).splits_file
    if fold == "all":
        raw = Dataset(dataset).raw
        if test_labels(raw, read_json(raw / "dataset.json")["file_ending"]) is None:
            raise ValueError(f"there is no test set with labels (imagesTs, labelsTs), which fold all needs: {raw}")
    elif file is not None:
        validation_cases(dataset, fold)
    elif int(fold) >= NNUNET_FOLDS:
        raise ValueError(f"there is no fold {fold}, nnU-Net makes {NNUNET_FOLDS} folds of {dataset}")


def test_labels(raw: Path, ending: str) -> str | None:
    """The name of the folder with labels of a raw dataset's test set; None if there is none."""
    if not (raw / "imagesTs").is_dir():
        return None
    return next((name for name in TEST_LABELS if any((raw / name).glob(f"*{ending}"))), None)


def validation_cases(dataset: str, fold: str) -> list[str]:
    """The validation cases of a dataset's fold.

    Raises:
        ValueError: the fold is ``all``, the splits have no such fold, or it is empty.
    """
    file = Dataset(dataset).splits_file
    folds = read_splits(file) if file else []
    if not fold.isdecimal() or int(fold) >= len(folds):
        raise ValueError(f"there is no fold {fold} among the {len(folds)} in the splits: {file or dataset}")
    cases = folds[int(fold)]["val"]
    if not cases:
        raise ValueError(f"fold {fold} has no cases in val: {file}")
    return cases
