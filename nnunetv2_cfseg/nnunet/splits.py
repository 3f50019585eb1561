"""Reads and writes ``splits_final.json``, the folds of nnU-Net's cross-validation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated

from pydantic import Field

from nnunetv2_cfseg.files.atomic_files import write_json
from nnunetv2_cfseg.files.schema import Document, PlainName, check_document
from nnunetv2_cfseg.files.text_files import read_any_json

SPLITS = "splits_final.json"
MOST_FOLDS = 1000
#: How many folds nnU-Net makes for a dataset without any.
NNUNET_FOLDS = 5

Folds = list[dict[str, list[str]]]


class Fold(Document):
    """The case names of a fold."""

    train: list[PlainName]
    val: list[PlainName]


class Splits(Document):
    """The folds; the file is a bare list of them."""

    folds: Annotated[list[Fold], Field(max_length=MOST_FOLDS)]


def read_splits(file: Path) -> Folds:
    """Read folds, each with the names of the cases in ``train`` and ``val``.

    Raises:
        ValueError: the file is not nnU-Net's.
        OSError: it cannot be read.
    """
    try:
        splits = check_document({"folds": read_any_json(file)}, Splits, str(file))
    except ValueError as error:
        rule = "folds must be a JSON list of train and val, each a list of case names"
        raise ValueError(f"{rule}, and are not: {error}") from error
    return [{"train": fold.train, "val": fold.val} for fold in splits.folds]


def write_splits(folder: Path, folds: Sequence[Mapping[str, Sequence[str]]]) -> None:
    """Write folds into the folder of a dataset.

    Raises:
        OSError: they cannot be written.
    """
    write_json(folder / SPLITS, folds)
