"""Reads the parts of nnU-Net's validation ``summary.json`` that the model card shows."""

from __future__ import annotations

from math import nan
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, PlainValidator

from nnunetv2_cfseg.files.schema import Document, read_document

#: Largest file; it has an entry for each class of each case.
LIMIT_BYTES = 256 * 2**20


def _dice(value: Any) -> float:
    """Dice of a class, NaN if no validation case has it: nnU-Net writes NaN for that, and this package null."""
    if value is None:
        return nan
    if isinstance(value, int | float) and not isinstance(value, bool) and (0 <= value <= 1 or value != value):
        return float(value)
    raise ValueError("must be a number from 0 to 1, NaN or null")


class ClassMean(Document):
    """Means of a class over the cases."""

    dice: Annotated[float, PlainValidator(_dice)] = Field(alias="Dice")


class Summary(Document):
    """Means of all classes, by nnU-Net's keys."""

    mean: dict[str, ClassMean]


def read_mean_dice(file: Path) -> dict[str, float]:
    """Mean Dice of each class, by nnU-Net's key: ``1``, or ``(1, 2)`` for a region.

    Raises:
        ValueError: there is none, it is no JSON, or an entry is missing or does not fit.
    """
    return {key: mean.dice for key, mean in read_document(file, Summary, limit_bytes=LIMIT_BYTES).mean.items()}
