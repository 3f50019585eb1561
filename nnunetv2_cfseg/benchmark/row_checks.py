"""Check that what a row names exists, before anything runs: trainer, planner, plans, labels, model, predictions."""

from __future__ import annotations

from functools import cache
from importlib.util import find_spec
from pathlib import Path

from nnunetv2_cfseg.benchmark.cell import model_folder
from nnunetv2_cfseg.benchmark.matrix import Cell
from nnunetv2_cfseg.benchmark.prepare import check_plans
from nnunetv2_cfseg.benchmark.row import NNUNET_PLANNER, OUR_PLANNERS, Row
from nnunetv2_cfseg.benchmark.scans import check_predictions
from nnunetv2_cfseg.benchmark.thin_labels import check_thin_labels, trained_dataset
from nnunetv2_cfseg.nnunet.class_search import find_planner, find_trainer


def check_row(cell: Cell, output: Path) -> None:
    """Check the row of a cell on the cell's dataset and fold.

    Args:
        output: the benchmark's folder.

    Raises:
        ValueError: something that the row names does not exist or cannot be used.
    """
    row = cell.row
    if row.predictions:
        check_predictions(cell)
    elif row.model:
        model_folder(cell)
    else:
        check_trainer(row.trainer, row.name)
        _check_planner(row)
        if row.labels:
            check_thin_labels(cell.dataset)
        check_plans(cell, trained_dataset(cell, output))


@cache
def check_trainer(trainer: str, row: str) -> None:
    """Check that nnU-Net finds a trainer and that the libraries of its network are installed.

    Args:
        trainer: name of the class.
        row: name of the row, for the message.

    Raises:
        ValueError: there is no such trainer, or a library is not installed.
    """
    found = find_trainer(trainer)
    if found is None:
        raise ValueError(f"nnU-Net finds no trainer {trainer} in its own folder or in nnUNet_extTrainer: row {row}")
    if missing := [library for library in getattr(found, "libraries", ()) if find_spec(library) is None]:
        raise ValueError(f"{trainer} needs {', '.join(missing)}: pip install nnunetv2_cfseg[benchmark]")


def _check_planner(row: Row) -> None:
    """Check that a row's planner exists, and its preset.

    Raises:
        ValueError: it does not.
    """
    if row.planner in OUR_PLANNERS:
        from nnunetv2_cfseg.networks import presets  # imports torch

        presets.preset(row.preset)
    elif row.planner and row.planner != NNUNET_PLANNER and find_planner(row.planner) is None:
        raise ValueError(f"nnU-Net finds no planner {row.planner} among its own: row {row.name}")
