"""Run a whole benchmark: prepare, run the cells that are not done, and write the results."""

from __future__ import annotations

import os
import sys
from collections.abc import Collection, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Any

from nnunetv2_cfseg.benchmark.cell import is_done
from nnunetv2_cfseg.benchmark.collect import collect
from nnunetv2_cfseg.benchmark.folds import check_folds
from nnunetv2_cfseg.benchmark.launch import Failure, default_threads, run_cells
from nnunetv2_cfseg.benchmark.matrix import Cell, Matrix
from nnunetv2_cfseg.benchmark.page import render
from nnunetv2_cfseg.benchmark.prepare import dataset_name, new_setting, prepare
from nnunetv2_cfseg.benchmark.tables import blocks, failures_block, markdown
from nnunetv2_cfseg.files.atomic_files import write_json, write_text
from nnunetv2_cfseg.files.json_text import as_read_back
from nnunetv2_cfseg.files.text_files import read_json
from nnunetv2_cfseg.nnunet.environment import EXT_FOLDER, EXT_TRAINER, FOLDERS
from nnunetv2_cfseg.processes.progress_bar import progress_bar
from nnunetv2_cfseg.processes.subprocess_runner import CommandRunner

TITLE = "Benchmark"
SETTINGS, TABLES, REPORT = "benchmark.json", "results.md", "report.html"
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
    if launcher == "local":
        check_device(matrix.device)
    matrix = matrix.with_dataset_names(dataset_name)
    check_folds(matrix)
    output.mkdir(parents=True, exist_ok=True)
    remember(matrix, output)
    print(announcement(matrix, output, jobs), file=sys.stderr)
    runner = CommandRunner(output, {EXT_TRAINER: EXT_FOLDER, "nnUNet_def_n_proc": str(processes), **absolute_folders()})
    prepare(matrix, runner, processes=processes)
    check_folds(matrix)  # again, because planning may have copied the folds of the raw dataset
    cells = list(matrix.cells())
    waiting = [cell for cell in cells if not is_done(output / cell.folder)]
    threads = threads or default_threads(jobs)
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


def remember(matrix: Matrix, output: Path) -> None:
    """Save the settings that cells depend on, for later calls in the same folder.

    Raises:
        ValueError: the folder holds cells with other settings.
    """
    file = output / SETTINGS
    everything = as_read_back(asdict(matrix))
    now = {name: everything[name] for name in ("budget_s", "configuration", "device", "gpu_memory_target_gb")}
    rows = {row["name"]: row for row in everything["rows"]}
    if file.is_file() and any(output.glob("cells/*/*/*")):  # without cells, earlier settings do not matter
        before = read_json(file)
        made = before.get("rows")
        if not isinstance(made, dict) or not all(isinstance(row, dict) for row in made.values()):
            raise ValueError(f"{SETTINGS} has no rows and is not what cfseg benchmark wrote: {file}")
        changed = [name for name, value in now.items() if before.get(name) != value]
        changed += [f"row {name}" for name, row in rows.items() if _made_by(made.get(name, row)) != _made_by(row)]
        rows = {**made, **rows}
        if changed:
            raise ValueError(
                f"{', '.join(changed)} differs from the folder's cells, which must all have the same settings: {output}"
            )
    write_json(file, {**now, "rows": rows})


def _made_by(row: dict[str, Any]) -> dict[str, Any]:
    """The settings of a row that its cells depend on, with present names: all but its datasets."""
    made_by = {
        key: value for key, value in row.items() if key != "datasets" and value
    }  # earlier versions had fewer settings
    changes = row.get("changes")
    if isinstance(changes, dict):
        made_by["changes"] = {new_setting(path): value for path, value in changes.items()}
    return made_by


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
    done = len(results.costs)
    budget = "by epochs" if matrix.budget_s is None else f"{matrix.budget_s:g} s each"
    rows = {cell.row.name for cell in cells}
    lead = [
        f"{done} of {len(cells)} cells: {_count(rows, 'row')}, {_count(matrix.datasets, 'dataset')}, "
        f"{_count(matrix.folds, 'fold')}, {_count(matrix.seeds, 'seed')}. Training {budget}, on {matrix.device}, plans "
        f"for {matrix.gpu_memory_target_gb:g} GB."
    ]
    for name, text in (
        (TABLES, markdown(TITLE, lead, tables)),
        (REPORT, render(TITLE, lead, results, tables, command)),
    ):
        write_text(output / name, text)


def absolute_folders() -> dict[str, str]:
    """nnU-Net's folder variables with absolute paths, for commands that run in another folder."""
    return {name: str(Path(os.environ[name]).resolve()) for name in FOLDERS}


def _count(values: Collection[object], name: str) -> str:
    return f"{len(values)} {name}{'' if len(values) == 1 else 's'}"
