"""Folds that a raw dataset brings along."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Annotated

from pydantic import Field

from nnunetv2_cfseg.files.schema import Document, PlainName, check_document
from nnunetv2_cfseg.files.text_files import read_any_json
from nnunetv2_cfseg.imaging.notices import say

SPLITS = "splits_final.json"
MOST_FOLDS = 1000
#: How many nnU-Net makes where a dataset brings none.
NNUNET_FOLDS = 5
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


def say_what_folds_lack(raw: Path, preprocessed: Path, cases: Collection[str]) -> None:
    """Say what training on some fold would stumble over, or what would make its validation worth little.

    Args:
        raw: folder of the raw dataset.
        preprocessed: folder of the preprocessed dataset, whose folds count where it has some.
        cases: names of the training cases.

    Raises:
        ValueError: a file that is not nnU-Net's.
    """
    file = next((folder / SPLITS for folder in (preprocessed, raw) if (folder / SPLITS).is_file()), None)
    if file is None:
        if len(cases) < NNUNET_FOLDS:
            say(
                f"nnU-Net makes {NNUNET_FOLDS} folds, for which {len(cases)} training {_cases(len(cases))} too few: "
                f"train the fold all, or write folds of your own, a list of train and val, to {raw / SPLITS}"
            )
        return
    for number, fold in enumerate(_read(file)):
        for part in ("train", "val"):
            if not fold[part]:
                say(f"fold {number} has no cases in {part}, and training on it fails: {file}")
        both = sorted(fold["train"] & fold["val"])
        if both:
            say(
                f"fold {number} trains on {len(both)} of the {len(fold['val'])} cases it is validated on, such as "
                f"{both[0]}, so its validation says little: {file}"
            )


def _cases(count: int) -> str:
    return "case is" if count == 1 else "cases are"


def _read(file: Path) -> Folds:
    try:
        splits = check_document({"folds": read_any_json(file)}, Splits, str(file))
    except ValueError as error:
        rule = "folds must be a JSON list of train and val, each a list of case names"
        raise ValueError(f"{rule}, and are not: {error}") from error
    return [{"train": set(fold.train), "val": set(fold.val)} for fold in splits.folds]
