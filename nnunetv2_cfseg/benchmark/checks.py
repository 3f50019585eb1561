"""Check a benchmark before it starts, without writing anything."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nnunetv2_cfseg.benchmark.folds import check_folds
from nnunetv2_cfseg.benchmark.launch import slurm_executor
from nnunetv2_cfseg.benchmark.matrix import Matrix
from nnunetv2_cfseg.benchmark.prepare import dataset_name
from nnunetv2_cfseg.benchmark.row_checks import check_row
from nnunetv2_cfseg.benchmark.settings_file import settings_of_cells


def checked_matrix(
    matrix: Matrix,
    output: Path,
    *,
    launcher: str = "local",
    threads: int = 1,
    slurm: Mapping[str, Any] | None = None,
) -> Matrix:
    """Check all that can be known before plans are made: device, launcher, datasets, folds, rows, earlier cells.

    Args:
        output: the benchmark's folder; it need not exist.
        launcher: ``local`` or ``slurm``.
        threads: number of threads of each cell.
        slurm: parameters of submitit.

    Returns:
        The matrix with the full names of its datasets.

    Raises:
        ValueError: the benchmark cannot run as it is.
    """
    if launcher == "local":
        check_device(matrix.device)
    else:
        slurm_executor(output / "jobs", threads, matrix.device, slurm or {})
    matrix = matrix.with_dataset_names(dataset_name)
    check_folds(matrix)
    settings_of_cells(matrix, output)
    for cell in matrix.cells():
        if cell.seed == matrix.seeds[0]:
            check_row(cell, output)
    return matrix


def check_device(device: str) -> None:
    """Check that this machine has the device, before anything is trained.

    Raises:
        ValueError: torch does not find it.
    """
    if device == "cpu":
        return
    import torch

    missing = {"cuda": not torch.cuda.is_available(), "mps": not torch.backends.mps.is_available()}
    if missing.get(device):
        raise ValueError(f"-device {device} needs a device that torch finds, and there is none on this machine")
