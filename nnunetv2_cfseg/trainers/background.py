"""nnU-Net's background workers, changed so that the training sees their errors and no worker outlives it."""

from __future__ import annotations

import os
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.process import BaseProcess
from typing import Any

from batchgenerators.dataloading.nondet_multi_threaded_augmenter import NonDetMultiThreadedAugmenter
from batchgenerators.dataloading.single_threaded_augmenter import SingleThreadedAugmenter
from nnunetv2.training.nnUNetTrainer import nnUNetTrainer as trainer_module

from nnunetv2_cfseg.processes.lifetime import end_with_parent
from nnunetv2_cfseg.processes.stop_signals import end_by_signals
from nnunetv2_cfseg.trainers.preprocessed import describe_error

#: Key of the dict that a worker returns in place of a batch when it cannot make one.
FAILURE = "failure"


class ReportingLoader:
    """Wraps a loader inside a worker: it returns errors instead of printing them, and ends with the training.

    Args:
        loader: nnU-Net's loader, which makes the batches.
    """

    def __init__(self, loader: Any) -> None:
        self.loader, self.training = loader, os.getpid()

    @property
    def transforms(self) -> Any:
        """The loader's transforms, which nnU-Net writes to ``debug.json``."""
        return self.loader.transforms

    def set_thread_id(self, thread_id: int) -> None:
        """Called first in every worker: ties the worker's life to the training's, then sets the loader's id."""
        if os.getpid() != self.training:
            end_by_signals()
            end_with_parent(self.training)
        self.loader.set_thread_id(thread_id)

    def __next__(self) -> dict[str, Any]:
        try:
            return next(self.loader)
        except Exception as error:
            return {FAILURE: {"sentence": describe_error(self.loader, error), "traceback": traceback.format_exc()}}


class BackgroundBatches(NonDetMultiThreadedAugmenter):
    """nnU-Net's background workers around a :class:`ReportingLoader`."""

    def __init__(self, data_loader: Any, *args: Any, **kwargs: Any) -> None:
        super().__init__(ReportingLoader(data_loader), *args, **kwargs)

    def __next__(self) -> dict[str, Any]:
        """Return the next batch.

        Raises:
            ValueError: the batch cannot be made.
            OSError: a worker was killed.
        """
        try:
            batch = super().__next__()
        except RuntimeError as error:
            raise ChildProcessError(
                "a background worker of the data loader was killed, usually because memory ran out; use fewer workers "
                "(nnUNet_n_proc_DA)"
            ) from error
        if FAILURE in batch:
            raise ValueError(batch[FAILURE]["sentence"]) from RuntimeError(batch[FAILURE]["traceback"])
        return batch

    def end(self) -> None:
        """Kill the workers at once, without reading their queue: a worker may have died halfway through a batch."""
        workers: list[BaseProcess] = self._processes
        if self.abort_event is not None:
            self.abort_event.set()
        for worker in workers:
            worker.kill()
        for worker in workers:
            worker.join(5)
        if self._queue is not None:
            self._queue.close()
            self._queue.cancel_join_thread()
        self.initialized = False
        workers.clear()


class ForegroundBatches(SingleThreadedAugmenter):
    """nnU-Net's loader without workers, with the same errors as :class:`BackgroundBatches`."""

    def __next__(self) -> dict[str, Any]:
        """Return the next batch.

        Raises:
            ValueError: the batch cannot be made.
        """
        try:
            return super().__next__()
        except Exception as error:
            raise ValueError(describe_error(self.data_loader, error)) from error


@contextmanager
def reporting_loaders() -> Iterator[None]:
    """Make nnU-Net's trainer use the two loaders above; it has no setting for them."""
    stock = trainer_module.NonDetMultiThreadedAugmenter, trainer_module.SingleThreadedAugmenter
    trainer_module.NonDetMultiThreadedAugmenter = BackgroundBatches
    trainer_module.SingleThreadedAugmenter = ForegroundBatches
    try:
        yield
    finally:
        trainer_module.NonDetMultiThreadedAugmenter, trainer_module.SingleThreadedAugmenter = stock


@contextmanager
def quiet_about_dead_workers() -> Iterator[None]:
    """Suppress the reader thread's traceback for dead workers, which :class:`BackgroundBatches` raises anyway."""
    before = threading.excepthook

    def report(args: threading.ExceptHookArgs) -> None:
        if "no longer alive" not in str(args.exc_value):
            before(args)

    threading.excepthook = report
    try:
        yield
    finally:
        threading.excepthook = before
