"""Run cells as jobs: on this machine, several at a time, or on a Slurm cluster."""

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
        reason: the reason in one sentence.
        log: file with all output, relative to the benchmark's folder.
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

    Close the iterator if you leave it before its end: this stops cells on this machine and cancels those on a cluster.
    Cells on this machine also stop when this process ends or is killed.

    Args:
        launcher: ``local``, or ``slurm`` for one job per cell on a cluster.
        threads: number of threads of each cell.
        slurm: parameters of submitit, such as ``slurm_partition``.

    Yields:
        Each cell as it ends, with its failure, or None if it succeeded.

    Raises:
        ValueError: submitit or Slurm is not installed, or a parameter does not exist.
    """
    if launcher == "slurm":
        yield from _run_on_cluster(matrix, cells, output, jobs=jobs, threads=threads, slurm=slurm)
    elif cells:
        yield from _run_here(matrix, cells, output, jobs=jobs, threads=threads)


def _run_here(
    matrix: Matrix, cells: Sequence[Cell], output: Path, *, jobs: int, threads: int
) -> Generator[tuple[Cell, Failure | None]]:
    """Run cells in threads, which suffice because all the work is in the commands that cells run."""
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
    """The failure of a cell whose weights come from a failed cell, which ends it as failed too; otherwise None."""
    before = queue.failed_before(cell)
    if before is None:
        return None
    queue.end(cell, failed=True)
    return Failure(f"it starts from the weights of row {before.row.name}, which failed", before.folder / LOG)


def try_cell(
    matrix: Matrix, cell: Cell, output: Path, *, threads: int, stop: threading.Event | None = None
) -> Failure | None:
    """Run a cell and return its failure, or None if it succeeded."""
    log = cell.folder / LOG
    try:
        run_cell(matrix, cell, output, threads=threads, stop=stop)
    except CommandError as error:
        return Failure(error.reason, log)
    except Exception as error:  # a failed cell must not stop the others
        message = " ".join(str(error).split())
        kind = type(error).__name__
        return Failure(message if isinstance(error, ValueError | OSError) and message else f"{kind}: {message}", log)
    return None


def _run_on_cluster(
    matrix: Matrix, cells: Sequence[Cell], output: Path, *, jobs: int, threads: int, slurm: Mapping[str, Any]
) -> Generator[tuple[Cell, Failure | None]]:
    executor = slurm_executor(output / "jobs", threads, matrix.device, slurm)
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


def slurm_executor(folder: Path, threads: int, device: str, slurm: Mapping[str, Any]) -> Executor:
    """What submits cells to Slurm; nothing is written before the first of them.

    Args:
        folder: for the jobs' files.
        threads: number of threads of each cell.
        device: ``cuda`` asks for a GPU.
        slurm: parameters of submitit.

    Raises:
        ValueError: submitit or Slurm is not installed, or a parameter does not exist.
    """
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
    except (NameError, TypeError, ValueError) as error:  # what submitit raises for unknown names
        raise ValueError(f"--slurm must be parameters of submitit ({' '.join(str(error).split())})") from error
    return executor


def outcome(job: Job, output: Path) -> Failure | None:
    """The failure of a cluster job, or None; for a job that broke off, from the output of Slurm and Python."""
    error = job.exception()
    if error is None:
        failure: Failure | None = job.result()
        return failure
    log = Path(os.path.relpath(job.paths.stderr, output.resolve()))
    printed = (job.stderr() or "") if job.paths.stderr.is_file() else ""
    return Failure(failure_reason(printed or str(error)), log)


def default_threads(jobs: int) -> int:
    """The number of threads of each cell, so that all jobs share the machine's cores."""
    return max(1, (os.cpu_count() or 1) // jobs)
