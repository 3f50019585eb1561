"""The types in a benchmark's YAML file; :mod:`.matrix` checks the values."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from nnunetv2_cfseg.files.schema import Document, Real, Whole

MOST_ROWS, MOST_VALUES = 1000, 1000


def _word(value: Any) -> str:
    """A word, or a number used as a word, such as ``501`` for a dataset or ``0`` for a fold."""
    if isinstance(value, str) and len(value) <= 200:
        return value
    if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e15:
        return str(value)
    raise ValueError("must be a word or a number")


def _words(value: Any) -> Any:
    """Wrap a single value in a list."""
    return value if isinstance(value, list | tuple) else [value]


Word = Annotated[str, BeforeValidator(_word)]
Text = Annotated[str, Field(max_length=200)]
Words = Annotated[list[Word], BeforeValidator(_words), Field(max_length=MOST_VALUES)]
Seeds = Annotated[list[Whole], BeforeValidator(_words), Field(max_length=MOST_VALUES)]


class RowEntry(Document):
    """The settings of a row in the file."""

    trainer: Text = ""
    planner: Text = ""
    preset: Text = ""
    plans: Text = ""
    configuration: Text = ""
    predict: Text = ""
    arguments: Annotated[list[Word], Field(max_length=MOST_VALUES)] = []
    datasets: Annotated[list[Word], Field(max_length=MOST_VALUES)] = []
    changes: dict[str, Any] = {}
    labels: Text = ""
    after: Text = ""
    model: Text = ""
    predictions: Text = ""


class MatrixFile(Document):
    """The whole file."""

    rows: Annotated[dict[Word, RowEntry], Field(min_length=1, max_length=MOST_ROWS)]
    datasets: Words = []
    folds: Words = []
    seeds: Seeds = []
    budget_s: Real | None = None
    reference: Text = ""
    configuration: Text = ""
    device: Text = ""
    gpu_memory_target_gb: Real = 1.0
