"""Cells as jobs: on this machine, some at a time, or on a cluster with Slurm."""

from __future__ import annotations

import os
import shutil
import threading
import time
from collections.abc import Generator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nnunetv2_cfseg.benchmark.cell import LOG, run_cell
from nnunetv2_cfseg.benchmark.cell_queue import CellQueue
from nnunetv2_cfseg.benchmark.matrix import Cell, Matrix
from nnunetv2_cfseg.errors.failure_reason import failure_reason
from nnunetv2_cfseg.processes.subprocess_runner import CommandError

if TYPE_CHECKING:
    from submitit import Executor, Job

LAUNCHERS = ("local", "slurm")
POLL_S = 0.5
WEEK_MIN = 7 * 24 * 60


@dataclass(frozen=True)
class Failure:
    """Why a cell failed.

    Attributes:
        reason: a sentence.
        log: file, relative to the benchmark's folder, with all that was printed.
    """

    reason: str
    log: Path


def run_cells(
    matrix: Matrix,
    cells: Sequence[Cell],
    output: Path,
    *,
    launcher: str,
    jobs: int,
    threads: int,
    slurm: Mapping[str, Any],
) -> Generator[tuple[Cell, Failure | None]]:
    """Run cells, at most ``jobs`` at a time.

    Close the iterator where it is left before its end: this ends the cells that run on this machine, and cancels
    those on a cluster. So do, on this machine, the end and the death of this process.

    Args:
        launcher: ``local``, or ``slurm`` for one job a cell on a cluster.
        threads: of each.
        slurm: parameters of submitit's, ``slurm_partition`` and so on.

    Yields:
        Each cell as it ends, and what was wrong; None if nothing was.

    Raises:
        ValueError: submitit or Slurm is not installed, or has no such parameters.
    """
    if launcher == "slurm":
        yield from _run_on_cluster(matrix, cells, output, jobs=jobs, threads=threads, slurm=slurm)
    elif cells:
        yield from _run_here(matrix, cells, output, jobs=jobs, threads=threads)


def _run_here(
    matrix: Matrix, cells: Sequence[Cell], output: Path, *, jobs: int, threads: int
) -> Generator[tuple[Cell, Failure | None]]:
    """In threads: all that takes time are the commands that a cell runs."""
    stop = threading.Event()

    def work(cell: Cell) -> Failure | None:
        return try_cell(matrix, cell, output, threads=threads, stop=stop)

    queue = CellQueue(matrix, cells)
    running: dict[Future[Failure | None], Cell] = {}
    with ThreadPoolExecutor(min(jobs, len(cells)), "cell") as pool:
        try:
            while queue or running:
                while len(running) < jobs and (cell := queue.take()):
                    if failure := _failure_before(queue, cell):
                        yield cell, failure
                    else:
                        running[pool.submit(work, cell)] = cell
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    cell = running.pop(future)
                    queue.end(cell, failed=future.result() is not None)
                    yield cell, future.result()
        finally:
            stop.set()
            pool.shutdown(cancel_futures=True)


def _failure_before(queue: CellQueue, cell: Cell) -> Failure | None:
    """Why a cell cannot start: the one whose weights it needs has failed. It has then failed as well."""
    before = queue.failed_before(cell)
    if before is None:
        return None
    queue.end(cell, failed=True)
    return Failure(f"it starts from the weights of row {before.row.name}, which failed", before.folder / LOG)


def try_cell(
    matrix: Matrix, cell: Cell, output: Path, *, threads: int, stop: threading.Event | None = None
) -> Failure | None:
    """Run a cell; what was wrong with it, or None."""
    log = cell.folder / LOG
    try:
        run_cell(matrix, cell, output, threads=threads, stop=stop)
    except CommandError as error:
        return Failure(error.reason, log)
    except Exception as error:  # whatever is wrong with one cell, the others run
        words = " ".join(str(error).split())
        kind = type(error).__name__
        return Failure(words if isinstance(error, ValueError | OSError) and words else f"{kind}: {words}", log)
    return None


def _run_on_cluster(
    matrix: Matrix, cells: Sequence[Cell], output: Path, *, jobs: int, threads: int, slurm: Mapping[str, Any]
) -> Generator[tuple[Cell, Failure | None]]:
    executor = _executor(output / "jobs", threads, matrix.device, slurm)
    queue = CellQueue(matrix, cells)
    running: dict[Job, Cell] = {}
    try:
        while queue or running:
            while len(running) < jobs and (cell := queue.take()):
                if failure := _failure_before(queue, cell):
                    yield cell, failure
                else:
                    running[executor.submit(try_cell, matrix, cell, output.resolve(), threads=threads)] = cell
            for job in [job for job in running if job.done()]:
                cell, failed = running.pop(job), outcome(job, output)
                queue.end(cell, failed=failed is not None)
                yield cell, failed
            time.sleep(POLL_S)
    finally:
        for job in running:
            job.cancel()


def _executor(folder: Path, threads: int, device: str, slurm: Mapping[str, Any]) -> Executor:
    try:
        import submitit
    except ModuleNotFoundError:
        raise ValueError("--launcher slurm needs submitit: pip install nnunetv2_cfseg[benchmark]") from None
    if shutil.which("sbatch") is None:
        raise ValueError("--launcher slurm needs Slurm's sbatch, which is not installed here")
    executor = submitit.AutoExecutor(folder=folder, cluster="slurm")
    defaults = {"name": "cfseg_benchmark", "timeout_min": WEEK_MIN, "cpus_per_task": threads,
                "gpus_per_node": int(device == "cuda")}  # fmt: skip
    try:
        executor.update_parameters(**{**defaults, **slurm})
    except (NameError, TypeError, ValueError) as error:  # what submitit raises at names that it does not have
        raise ValueError(f"--slurm must be parameters of submitit ({' '.join(str(error).split())})") from error
    return executor


def outcome(job: Job, output: Path) -> Failure | None:
    """How a job of a cluster ended; where it did not come to an end, what Slurm and Python printed."""
    error = job.exception()
    if error is None:
        found: Failure | None = job.result()
        return found
    log = Path(os.path.relpath(job.paths.stderr, output.resolve()))
    printed = (job.stderr() or "") if job.paths.stderr.is_file() else ""
    return Failure(failure_reason(printed or str(error)), log)


def default_threads(jobs: int) -> int:
    """Of each cell, so that all of them share the machine's cores."""
    return max(1, (os.cpu_count() or 1) // jobs)
