"""Counts the training and validation cases of a dataset's folds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from nnunetv2_cfseg.nnunet.datasets import PREPROCESSED, RAW, Dataset
from nnunetv2_cfseg.nnunet.environment import missing_folders
from nnunetv2_cfseg.nnunet.splits import read_splits


@dataclass(frozen=True)
class FoldCases:
    """How many cases a fold has.

    Attributes:
        training: that the network of the fold was trained on.
        validation: that it was not trained on.
    """

    training: int
    validation: int


def count_fold_cases(dataset: str, folds: Sequence[str]) -> dict[str, FoldCases]:
    """The cases of each fold, from the dataset's splits; only the folds of which they are known.

    Args:
        dataset: its full name. It need not be on this machine.
        folds: numbers, or ``all``, whose cases are in no splits.

    Raises:
        ValueError: the splits are not nnU-Net's.
    """
    if missing_folders((RAW, PREPROCESSED)) or (file := Dataset(dataset).splits_file) is None:
        return {}
    splits = read_splits(file)
    numbered = [fold for fold in folds if fold.isdecimal() and int(fold) < len(splits)]
    return {fold: FoldCases(len(splits[int(fold)]["train"]), len(splits[int(fold)]["val"])) for fold in numbered}
