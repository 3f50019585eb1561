"""Defaults of inputs that several commands share."""

from __future__ import annotations

import os
from pathlib import Path


def dataset_json(given: Path | None, predictions: Path) -> Path:
    """``-djfile``, or by default the ``dataset.json`` that nnU-Net wrote beside its predictions.

    Raises:
        ValueError: there is neither.
    """
    file = predictions / "dataset.json" if given is None else given
    if given is None and not file.is_file():
        raise ValueError(f"there is no dataset.json, name one with -djfile: {file}")
    return file


def plans_json(given: Path | None, predictions: Path) -> Path | None:
    """``-pfile``, or by default ``plans.json`` beside the predictions; None if there is none, which is fine."""
    file = predictions / "plans.json" if given is None else given
    return file if given is not None or file.is_file() else None


def num_processes(given: int | None) -> int:
    """``-np``, or nnU-Net's default number of processes.

    Raises:
        ValueError: ``nnUNet_def_n_proc`` is not a number.
    """
    if given is not None:
        return given
    value = os.environ.get("nnUNet_def_n_proc", "8")
    try:
        return int(value)
    except ValueError:
        raise ValueError(f"nnUNet_def_n_proc must be a number of processes, got {value!r}") from None
