"""nnU-Net's ``summary.json`` of a validation, as far as the model card shows it."""

from __future__ import annotations

from math import nan
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, PlainValidator

from nnunetv2_cfseg.files.schema import Document, read_document

#: It has an entry for each class of each case.
LIMIT_BYTES = 256 * 2**20


def _dice(value: Any) -> float:
    """NaN where no validation case has the class: nnU-Net writes NaN, and this package null."""
    if value is None:
        return nan
    if isinstance(value, int | float) and not isinstance(value, bool) and (0 <= value <= 1 or value != value):
        return float(value)
    raise ValueError("must be a number from 0 to 1, NaN or null")


class ClassMean(Document):
    """Of a class, over the cases."""

    dice: Annotated[float, PlainValidator(_dice)] = Field(alias="Dice")


class Summary(Document):
    """Means of each class, by nnU-Net's key of it."""

    mean: dict[str, ClassMean]


def read_mean_dice(file: Path) -> dict[str, float]:
    """Mean Dice of each class, by nnU-Net's key of it: ``1``, or ``(1, 2)`` for a region.

    Raises:
        ValueError: there is none, it is no JSON, or an entry is missing or does not fit.
    """
    return {key: one.dice for key, one in read_document(file, Summary, limit_bytes=LIMIT_BYTES).mean.items()}
