"""Folds that a raw dataset brings along."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Annotated

from pydantic import Field

from nnunetv2_cfseg.files import read_any_json
from nnunetv2_cfseg.schema import Document, PlainName, check_document

SPLITS = "splits_final.json"
MOST_FOLDS = 1000
Folds = list[dict[str, set[str]]]


class Fold(Document):
    """Names of its cases."""

    train: list[PlainName]
    val: list[PlainName]


class Splits(Document):
    """``splits_final.json``, which is a list."""

    folds: Annotated[list[Fold], Field(max_length=MOST_FOLDS)]


def check_splits(raw: Path, preprocessed: Path, cases: Collection[str]) -> None:
    """Look at the folds of a raw dataset, if it has any, before nnU-Net's planner takes them over.

    The planner copies the file to the preprocessed dataset, where training reads it. It keeps a file that is there,
    and fails where that one does not begin with the same folds.

    Args:
        raw: folder of the raw dataset.
        preprocessed: folder of the preprocessed dataset, which may not exist yet.
        cases: names of the training cases.

    Raises:
        ValueError: a file that is not nnU-Net's, a fold with a case that the dataset does not have, or other folds than
            the preprocessed dataset's.
    """
    if not (raw / SPLITS).is_file():
        return
    folds = _read(raw / SPLITS)
    unknown = sorted(set().union(*(names for fold in folds for names in fold.values())) - set(cases))
    if unknown:
        raise ValueError(f"folds must be of the dataset's cases, and {unknown[0]} is none: {raw / SPLITS}")
    if (preprocessed / SPLITS).is_file() and _read(preprocessed / SPLITS)[: len(folds)] != folds:
        raise ValueError(
            f"the preprocessed dataset must have the folds of the raw dataset, remove one file where they differ: "
            f"{preprocessed / SPLITS} and {raw / SPLITS}"
        )


def _read(file: Path) -> Folds:
    try:
        splits = check_document({"folds": read_any_json(file)}, Splits, str(file))
    except ValueError as error:
        rule = "folds must be a JSON list of train and val, each a list of case names"
        raise ValueError(f"{rule}, and are not: {error}") from error
    return [{"train": set(fold.train), "val": set(fold.val)} for fold in splits.folds]
