"""Runs a function on many jobs, in processes that never outlive the one that started them."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection
from typing import Generic, TypeVar

import SimpleITK as sitk

from nnunetv2_cfseg.processes.lifetime import end_with
from nnunetv2_cfseg.processes.memory_limit import in_one_sentence, require_room_for_processes

Job = TypeVar("Job")
Result = TypeVar("Result")

THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS")


def parallel_map(function: Callable[[Job], Result], jobs: Sequence[Job], *, num_processes: int) -> Generator[Result]:
    """Call the function on every job, started in order, and yield each result as soon as it is there.

    With one process the jobs run in this one; more are spawned, with one thread each. They all end at once, in the
    middle of their jobs, after an error or Ctrl-C, when this process is killed, and when the iterator is closed or
    dropped before its end. Nothing is called before the first result is requested. Errors of the function are passed
    on.

    Raises:
        ChildProcessError: a process was killed.
        OSError: memory ran out.
    """
    work = _Work(function)
    if num_processes == 1:
        yield from map(work, jobs)
        return
    with in_one_sentence():
        require_room_for_processes()
    # Forked processes would inherit locks that threads of this one may hold (tqdm's, torch's).
    context = get_context("spawn")
    listener, open_end = context.Pipe(duplex=False)
    with listener, open_end, ProcessPoolExecutor(num_processes, context, start_worker, (listener,)) as pool:
        try:
            for future in as_completed([pool.submit(work, job) for job in jobs]):
                yield future.result()
        except BrokenProcessPool as error:
            raise ChildProcessError(
                f"one of {num_processes} processes was killed; if memory was short, try fewer"
            ) from error
        except BaseException:
            open_end.close()
            raise


def checked_processes(count: int, flag: str = "-np") -> int:
    """Return the number of processes if the machine can run as many.

    Raises:
        ValueError: it is below 1, or far beyond the machine's cores.
    """
    limit = max(64, 4 * (os.cpu_count() or 1))
    if not 1 <= count <= limit:
        raise ValueError(f"{flag} must be from 1 to {limit} processes, got {count}")
    return count


@dataclass(frozen=True)
class _Work(Generic[Job, Result]):
    """A function that fails with one sentence if memory runs out."""

    function: Callable[[Job], Result]

    def __call__(self, job: Job) -> Result:
        with in_one_sentence():
            return self.function(job)


def start_worker(listener: Connection) -> None:
    """Set up a new process: ignore Ctrl-C, use one thread, and end with the process that started it.

    Args:
        listener: one end of a pipe; the process that started this one holds the other end.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches every process of a terminal; the main one handles it
    os.environ.update(dict.fromkeys(THREADS, "1"))
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    end_with(listener)
