"""What every trainer of this package adds around nnU-Net's loop: a lock, clean shutdown and readable errors."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np
import torch

from nnunetv2_cfseg.files.atomic_files import remove_leftovers
from nnunetv2_cfseg.files.folder_lock import lock_folder
from nnunetv2_cfseg.processes.stop_signals import JOB_SIGNALS, Stopped, stopped_by_signals
from nnunetv2_cfseg.trainers.background import BackgroundBatches, quiet_about_dead_workers, reporting_loaders
from nnunetv2_cfseg.trainers.checkpoint import CheckpointMixin
from nnunetv2_cfseg.trainers.one_sentence import one_sentence
from nnunetv2_cfseg.trainers.preprocessed import Cases
from nnunetv2_cfseg.trainers.pretrained import check_pretrained_weights, pretrained_weights_file

WORKERS_VARIABLE = "nnUNet_n_proc_DA"


class GuardedTrainer(CheckpointMixin):
    """Allows one training per folder, ends its workers, and reports bad input in one sentence.

    Name it before nnU-Net's trainer. A subclass that changes nnU-Net's loop or its validation overrides :meth:`train`
    or :meth:`validate`.
    """

    def train(self) -> None:
        """Run nnU-Net's loop; called by :meth:`run_training` with the folder locked."""
        super().run_training()

    def validate(self, save_probabilities: bool) -> None:
        """Run nnU-Net's validation; called by :meth:`perform_actual_validation` with the folder locked."""
        super().perform_actual_validation(save_probabilities)

    def initialize(self) -> None:
        """Do nnU-Net's initialisation, then check the ``-pretrained_weights`` file, which nnU-Net reads next."""
        with one_sentence():
            if self.device.type == "cuda" and not torch.cuda.is_available():
                raise ValueError("torch finds no GPU; add -device cpu to train without one")
            super().initialize()
            if file := pretrained_weights_file():
                check_pretrained_weights(self.bare_network(), file)

    def load_checkpoint(self, filename_or_checkpoint: dict | str) -> None:
        """Load a checkpoint as :class:`~.checkpoint.CheckpointMixin` does; bad input ends in one sentence."""
        with one_sentence():
            super().load_checkpoint(filename_or_checkpoint)

    def run_training(self) -> None:
        """Run nnU-Net's training.

        Raises:
            ValueError: another training writes to the same folder, or the input is bad.
        """
        with self._guarded():
            self.train()

    def perform_actual_validation(self, save_probabilities: bool = False) -> None:
        """Run nnU-Net's validation.

        Raises:
            ValueError: another training writes to the same folder.
        """
        with self._guarded():
            self.validate(save_probabilities)

    def get_tr_and_val_datasets(self) -> tuple[Any, Any]:
        """nnU-Net's datasets, after checking that their files exist and can be opened.

        Raises:
            ValueError: there are no cases, or a file is missing or cannot be opened.
        """
        training, validation = (Cases(dataset) for dataset in super().get_tr_and_val_datasets())
        training.check()
        validation.check()
        return training, validation

    def get_dataloaders(self) -> tuple[Any, Any]:
        """nnU-Net's loaders, with workers that report their errors and end with this process."""
        check_worker_count()
        with reporting_loaders():
            return super().get_dataloaders()

    def on_train_epoch_end(self, train_outputs: list[dict]) -> None:
        """End nnU-Net's epoch.

        Raises:
            ValueError: no loss of the epoch was finite.
        """
        if not np.isfinite([output["loss"] for output in train_outputs]).any():
            raise ValueError(
                f"training has failed: the loss was not finite in any of the {len(train_outputs)} steps of epoch "
                f"{self.current_epoch}; the last checkpoint is kept: {self.output_folder}"
            )
        super().on_train_epoch_end(train_outputs)

    @contextmanager
    def _guarded(self) -> Iterator[None]:
        with ExitStack() as stack:
            stack.enter_context(one_sentence(self._log))
            stack.enter_context(stopped_by_signals(JOB_SIGNALS, raising=Stopped))
            if self.local_rank == 0:
                folder = Path(self.output_folder)
                stack.enter_context(lock_folder(folder, held="another training writes to this folder"))
                remove_leftovers(folder)
            stack.enter_context(quiet_about_dead_workers())
            stack.enter_context(redirect_stdout(sys.stdout))  # nnU-Net replaces it for a while
            stack.callback(self._end_workers)
            yield

    def _end_workers(self) -> None:
        for loader in (self.dataloader_train, self.dataloader_val):
            if isinstance(loader, BackgroundBatches):
                loader.end()

    def _log(self, text: str) -> None:
        self.print_to_log_file(text, also_print_to_console=False)


def check_worker_count() -> None:
    """Check nnU-Net's variable for the number of background workers.

    Raises:
        ValueError: it is not a whole number >= 0.
    """
    text = os.environ.get(WORKERS_VARIABLE, "0")
    if not text.isdecimal():
        raise ValueError(f"{WORKERS_VARIABLE} must be a whole number >= 0, got {text!r}")
