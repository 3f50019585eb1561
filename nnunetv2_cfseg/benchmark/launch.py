"""Cells as jobs: on this machine, some at a time, or on a cluster with Slurm."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nnunetv2_cfseg.benchmark.cell import run_cell
from nnunetv2_cfseg.benchmark.matrix import Cell, Matrix

if TYPE_CHECKING:
    from submitit import Executor, Job

LAUNCHERS = ("local", "slurm")
POLL_S = 0.5
WEEK_MIN = 7 * 24 * 60


def run_cells(
    matrix: Matrix,
    cells: Sequence[Cell],
    output: Path,
    *,
    launcher: str,
    jobs: int,
    threads: int,
    slurm: Mapping[str, Any],
) -> Iterator[tuple[Cell, str]]:
    """Run cells, at most ``jobs`` at a time.

    Args:
        launcher: ``local``, or ``slurm`` for one job a cell on a cluster.
        threads: of each.
        slurm: parameters of submitit's, ``slurm_partition`` and so on.

    Yields:
        Each cell as it ends, and what was wrong; nothing if nothing was.

    Raises:
        ValueError: submitit is not installed.
    """
    executor = _executor(launcher, output / "jobs", threads, matrix.device, slurm)
    waiting = list(reversed(cells))
    running: dict[Job, Cell] = {}
    try:
        while waiting or running:
            while waiting and len(running) < jobs:
                cell = waiting.pop()
                running[executor.submit(run_cell, matrix, cell, output.resolve(), threads=threads)] = cell
            for job in [job for job in running if job.done()]:
                yield running.pop(job), _failure(job)
            time.sleep(POLL_S)
    finally:
        for job in running:
            job.cancel()


def _executor(launcher: str, folder: Path, threads: int, device: str, slurm: Mapping[str, Any]) -> Executor:
    try:
        import submitit
    except ModuleNotFoundError:
        raise ValueError("cfseg benchmark needs submitit: pip install nnunetv2_cfseg[benchmark]") from None
    executor = submitit.AutoExecutor(folder=folder, cluster=launcher)
    defaults = {"name": "cfseg_benchmark", "timeout_min": WEEK_MIN, "cpus_per_task": threads,
                "gpus_per_node": int(device == "cuda")}  # fmt: skip
    executor.update_parameters(**{**defaults, **slurm})
    return executor


def _failure(job: Job) -> str:
    error = job.exception()
    if error is None:
        return ""
    lines = [line for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__


def default_threads(jobs: int) -> int:
    """Of each cell, so that all of them share the machine's cores."""
    return max(1, (os.cpu_count() or 1) // jobs)
