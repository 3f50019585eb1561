"""Run a whole benchmark: prepare, run the cells that are not done, and write the results."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from nnunetv2_cfseg.benchmark.cell import is_done
from nnunetv2_cfseg.benchmark.checks import checked_matrix
from nnunetv2_cfseg.benchmark.collect import collect
from nnunetv2_cfseg.benchmark.folds import check_folds
from nnunetv2_cfseg.benchmark.heading import heading
from nnunetv2_cfseg.benchmark.launch import Failure, default_threads, run_cells
from nnunetv2_cfseg.benchmark.matrix import Cell, Matrix
from nnunetv2_cfseg.benchmark.page import render
from nnunetv2_cfseg.benchmark.prepare import prepare
from nnunetv2_cfseg.benchmark.settings_file import remember
from nnunetv2_cfseg.benchmark.tables import blocks, failures_block, markdown
from nnunetv2_cfseg.files.atomic_files import write_text
from nnunetv2_cfseg.nnunet.environment import EXT_FOLDER, EXT_TRAINER, FOLDERS
from nnunetv2_cfseg.processes.progress_bar import progress_bar
from nnunetv2_cfseg.processes.subprocess_runner import CommandRunner

TITLE = "Benchmark"
TABLES, REPORT = "results.md", "report.html"
#: Guess of the seconds of a cell besides training: start, prediction and evaluation.
OTHER_S = 90.0


def run(
    matrix: Matrix,
    output: Path,
    *,
    launcher: str = "local",
    jobs: int = 1,
    threads: int | None = None,
    processes: int = 2,
    slurm: Mapping[str, Any] | None = None,
    command: str = "",
) -> Path:
    """Run every cell that is not done yet, and write tables and page.

    Args:
        output: the benchmark's folder; a benchmark that was stopped continues in it.
        launcher: ``local`` or ``slurm``.
        jobs: number of cells at a time.
        threads: number of threads of each cell; None shares the machine's cores.
        processes: number of preprocessing processes.
        slurm: parameters of submitit.
        command: the typed command, for the page.

    Returns:
        The file of the page.

    Raises:
        ValueError: bad input, or some cells failed; the other cells are done then, and their tables written.
    """
    threads = threads or default_threads(jobs)
    matrix = checked_matrix(matrix, output, launcher=launcher, threads=threads, slurm=slurm)
    output.mkdir(parents=True, exist_ok=True)
    print(announcement(matrix, output, jobs), file=sys.stderr)
    runner = CommandRunner(output, {EXT_TRAINER: EXT_FOLDER, "nnUNet_def_n_proc": str(processes), **absolute_folders()})
    prepare(matrix, runner, processes=processes)
    check_folds(matrix)  # again, because planning may have copied the folds of the raw dataset
    remember(matrix, output)
    cells = list(matrix.cells())
    waiting = [cell for cell in cells if not is_done(output / cell.folder)]
    failed: list[tuple[Cell, Failure]] = []
    ended = run_cells(matrix, waiting, output, launcher=launcher, jobs=jobs, threads=threads, slurm=slurm or {})
    with closing(ended):
        for cell, failure in progress_bar(ended, total=len(waiting), unit="cell"):
            if failure:
                failed.append((cell, failure))
    write_results(matrix, cells, output, command, failed)
    if failed:
        lines = [f"  {cell}: {failure.reason} (log: {output / failure.log})" for cell, failure in failed]
        raise ValueError("\n".join([f"{len(failed)} of {len(waiting)} cells failed", *lines]))
    return output / REPORT


def announcement(matrix: Matrix, output: Path, jobs: int) -> str:
    """A line that says how many cells there are, and about how long they take."""
    cells = list(matrix.cells())
    left = [cell for cell in cells if not is_done(output / cell.folder)]
    words = f"{len(cells)} cells, {len(cells) - len(left)} of them done"
    if matrix.budget_s is None:
        return f"{words}; the time of a cell is not known beforehand"
    seconds = sum(OTHER_S + (matrix.budget_s if cell.row.trainer else 0) for cell in left)
    hours, minutes = divmod(round(seconds / jobs / 60), 60)
    return f"{words}; about {f'{hours} h ' if hours else ''}{minutes} min with {jobs} at a time, preprocessing aside"


def write_results(
    matrix: Matrix,
    cells: Sequence[Cell],
    output: Path,
    command: str,
    failed: Sequence[tuple[Cell, Failure]] = (),
) -> None:
    """Write tables and page of the finished cells, and of those that failed in this run."""
    results = collect(cells, output)
    results.write(output)
    tables = blocks(results, matrix.reference or matrix.rows[0].name)
    if failed:
        tables.insert(0, failures_block(failed))
    lead = [heading(matrix, cells, len(results.costs))]
    for name, text in (
        (TABLES, markdown(TITLE, lead, tables)),
        (REPORT, render(TITLE, lead, results, tables, command)),
    ):
        write_text(output / name, text)


def absolute_folders() -> dict[str, str]:
    """nnU-Net's folder variables with absolute paths, for commands that run in another folder."""
    return {name: str(Path(os.environ[name]).resolve()) for name in FOLDERS}
