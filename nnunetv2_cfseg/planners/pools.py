"""nnU-Net's pools of processes, so that none of them outlives the command that started it."""

from __future__ import annotations

import multiprocessing
import multiprocessing.pool
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from multiprocessing.connection import Connection
from types import ModuleType, SimpleNamespace
from typing import Any

from nnunetv2_cfseg.data.parallel import start_worker


@contextmanager
def ending_with_us() -> Iterator[None]:
    """Within it processes that nnU-Net starts for planning end with this block, and with this process, killed or not.

    nnU-Net's processes wait for work on a queue that they hold open themselves: where the first one was killed they
    wait for ever. Here each also waits for the end of a pipe, which the system closes with the process that holds it.
    Those that nnU-Net forks to compare names are threads here: forked after torch was loaded they may hang.
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
            replaced.enter_context(_replaced(utils, "Pool", multiprocessing.pool.ThreadPool))
        yield


class _Multiprocessing:
    """As much of the module as nnU-Net calls: ``get_context("spawn").Pool(processes)``."""

    def __init__(self, listener: Connection) -> None:
        self.listener = listener

    def get_context(self, method: str) -> SimpleNamespace:
        context = multiprocessing.get_context(method)

        def pool(processes: int) -> Any:
            return context.Pool(processes, start_worker, (self.listener,))

        return SimpleNamespace(Pool=pool)


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
