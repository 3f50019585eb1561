"""nnU-Net's process pools, changed so that no process outlives the command that started it."""

from __future__ import annotations

import _thread
import multiprocessing
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from itertools import starmap
from multiprocessing.connection import Connection
from multiprocessing.pool import Pool
from types import ModuleType, SimpleNamespace
from typing import Any

from nnunetv2_cfseg.processes.parallel_map import start_worker


@contextmanager
def ending_with_us() -> Iterator[None]:
    """End all processes that nnU-Net starts for planning with this block, or with this process even if it is killed.

    nnU-Net's processes wait for work on a queue that they hold open themselves: if their parent is killed they wait
    forever. Here each also waits for the end of a pipe, which the system closes when the parent ends. nnU-Net also
    forks a dozen processes only to compare file names; that is done in this process.
    """
    from nnunetv2.experiment_planning import verify_dataset_integrity
    from nnunetv2.experiment_planning.dataset_fingerprint import fingerprint_extractor
    from nnunetv2.preprocessing.preprocessors import default_preprocessor
    from nnunetv2.utilities import utils

    spawn = multiprocessing.get_context("spawn")
    listener, open_end = spawn.Pipe(duplex=False)
    with listener, open_end, ExitStack() as replaced:
        watched = _Multiprocessing(listener)
        for module in (verify_dataset_integrity, fingerprint_extractor, default_preprocessor):
            if _is_nnunets_own(module):
                replaced.enter_context(_replaced(module, "multiprocessing", watched))
        if utils.Pool is multiprocessing.Pool:
            replaced.enter_context(_replaced(utils, "Pool", _NoPool))
        replaced.enter_context(_replaced(threading, "excepthook", watched.stop))
        try:
            yield
        except BaseException:
            if watched.failure is not None:
                raise ChildProcessError(
                    "processes can no longer return their results; fewer of them (-np, -npfp) need less memory"
                ) from watched.failure
            raise
        finally:
            watched.end()


class _Multiprocessing:
    """The part of the module that nnU-Net calls: ``get_context("spawn").Pool(processes)``."""

    def __init__(self, listener: Connection) -> None:
        self.listener = listener
        self.pools: list[Pool] = []
        self.children = set(multiprocessing.active_children())
        self.failure: BaseException | None = None

    def get_context(self, method: str) -> SimpleNamespace:
        context = multiprocessing.get_context(method)

        def pool(processes: int) -> Pool:
            self.pools.append(context.Pool(processes, start_worker, (self.listener,)))
            return self.pools[-1]

        return SimpleNamespace(Pool=pool)

    def stop(self, args: threading.ExceptHookArgs) -> None:
        """Interrupt the main thread when a pool's thread has died (out of memory, say); nnU-Net would wait forever."""
        if self.failure is None:  # other threads may die after it
            self.failure = args.exc_value or args.exc_type()
            _thread.interrupt_main()

    def end(self) -> None:
        """End all processes that were started since this object was made."""
        for pool in self.pools:
            with suppress(Exception):  # a pool whose threads have died may raise
                pool.terminate()
        for child in set(multiprocessing.active_children()) - self.children:
            child.kill()
            child.join()


class _NoPool:
    """A pool without processes, with the methods that nnU-Net calls."""

    def __init__(self, processes: int) -> None:
        pass

    def __enter__(self) -> _NoPool:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def starmap(self, function: Callable[..., Any], arguments: Iterable[Iterable[Any]]) -> list[Any]:
        return list(starmap(function, arguments))


def _is_nnunets_own(module: ModuleType) -> bool:
    return getattr(module, "multiprocessing", None) is multiprocessing


@contextmanager
def _replaced(module: ModuleType, name: str, value: object) -> Iterator[None]:
    before = getattr(module, name)
    setattr(module, name, value)
    try:
        yield
    finally:
        setattr(module, name, before)
