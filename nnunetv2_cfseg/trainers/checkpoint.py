"""Checkpoints that survive a kill, hold everything a continued training needs, and are checked when loaded."""

from __future__ import annotations

from typing import Any, cast

import torch
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from torch import Tensor, nn
from torch._dynamo import OptimizedModule
from torch.nn.parallel import DistributedDataParallel

from nnunetv2_cfseg.files.atomic_files import atomic_write
from nnunetv2_cfseg.nnunet.checkpoints import check_weights_fit, read_checkpoint

#: Entry of nnU-Net's checkpoints under which this package keeps its own.
STATE = "cfseg"
#: Entries of a checkpoint that nnU-Net reads to continue a training, with their types.
NEEDED = {
    "network_weights": dict,
    "optimizer_state": dict,
    "logging": dict,
    "init_args": dict,
    "current_epoch": int,
    "_best_ema": object,
}


class CheckpointMixin(nnUNetTrainer):
    """Saves checkpoints atomically and checks them when loading; name it before the trainer it is mixed into."""

    def training_state(self) -> dict[str, Any]:
        """Return what a continued training needs besides nnU-Net's own entries, as plain values and tensors."""
        return {}

    def load_training_state(self, state: dict[str, Any]) -> None:
        """Restore what :meth:`training_state` returned; ``state`` is empty for checkpoints of other trainers."""

    def restore(self, filename: str) -> None:
        """Load a checkpoint as nnU-Net does, without the checks of :meth:`load_checkpoint`."""
        super().load_checkpoint(filename)

    def save_checkpoint(self, filename: str) -> None:
        """Write nnU-Net's checkpoint with the training's state, atomically; it is read back before it is moved.

        Raises:
            ValueError: weights are not finite; an existing checkpoint is kept.
            OSError: the checkpoint cannot be written.
        """
        if self.local_rank != 0 or self.disable_checkpointing:
            super().save_checkpoint(filename)
            return
        try:
            with atomic_write(filename) as temporary:
                super().save_checkpoint(temporary)
                checkpoint = read_checkpoint(temporary, trust=True, any_network=True)  # just written here
                if name := not_finite(checkpoint["network_weights"]):
                    raise ValueError(
                        f"training has failed: the weights are no longer finite ({name}); this checkpoint was not "
                        f"written: {filename}"
                    )
                if state := self.training_state():
                    torch.save({**checkpoint, STATE: state}, temporary)
        except RuntimeError as error:  # torch's for a full disk
            raise OSError(f"the checkpoint cannot be written ({_first_line(error)}): {filename}") from error

    def load_checkpoint(self, filename_or_checkpoint: dict | str) -> None:
        """Check a checkpoint file, then load it as nnU-Net does.

        Raises:
            ValueError: the checkpoint is missing, truncated, written for another network, lacks an entry, or holds
                values that are not finite.
        """
        if not isinstance(filename_or_checkpoint, str):
            raise ValueError(f"a checkpoint must be a file's name, got a {type(filename_or_checkpoint).__name__}")
        if not self.was_initialized:
            self.initialize()
        checkpoint = read_checkpoint(filename_or_checkpoint, any_network=True)
        check_training_checkpoint(self.bare_network(), checkpoint, filename_or_checkpoint)
        self._check_log(checkpoint, filename_or_checkpoint)
        try:
            self.restore(filename_or_checkpoint)
        except (AssertionError, AttributeError, KeyError, RuntimeError, TypeError, ValueError) as error:
            raise ValueError(
                f"training cannot be continued from this checkpoint ({_first_line(error)}): {filename_or_checkpoint}"
            ) from error
        # nnU-Net writes checkpoint_latest before it notes a new best score, so the best comes from the log.
        smoothed_dice = self.logger.get_value("ema_fg_dice", step=None)
        if smoothed_dice:
            self._best_ema = max(smoothed_dice)
        self._note_other_plans(checkpoint["init_args"])
        state = checkpoint.get(STATE, {})
        self.load_training_state(state if isinstance(state, dict) else {})

    def bare_network(self) -> nn.Module:
        """The network itself, without the wrappers of DDP and torch.compile."""
        # `is_ddp` does not say whether it is wrapped: nnU-Net wraps it only after asking for the optimiser.
        network = self.network.module if isinstance(self.network, DistributedDataParallel) else self.network
        return cast(nn.Module, network._orig_mod if isinstance(network, OptimizedModule) else network)

    def _check_log(self, checkpoint: dict[str, Any], file: str) -> None:
        """Check that nnU-Net's log has a list per quantity, no longer than the number of epochs."""
        log, epochs = checkpoint["logging"], checkpoint["current_epoch"]
        for key in self.logger.get_checkpoint():
            if not isinstance(log.get(key), list) or not 0 <= len(log[key]) <= epochs:
                raise ValueError(
                    f"training cannot be continued from this checkpoint (its log of {key} does not match its {epochs} "
                    f"epochs): {file}"
                )

    def _note_other_plans(self, init_args: dict[str, Any]) -> None:
        """Warn which keys of the plans have changed since the checkpoint was written."""
        then = (init_args.get("plans") or {}).get("configurations", {}).get(self.configuration_name)
        now = self.plans_manager.plans["configurations"][self.configuration_name]
        if not isinstance(then, dict):
            return
        if changed := sorted(key for key in then.keys() | now.keys() if then.get(key) != now.get(key)):
            self.print_to_log_file(
                f"WARNING: the plans have changed since this checkpoint was written: {', '.join(changed)} of "
                f"{self.configuration_name}. Training continues with the new plans."
            )


def check_training_checkpoint(network: nn.Module, checkpoint: dict[str, Any], file: str) -> None:
    """Check that a training can continue from a checkpoint read by ``nnunet.checkpoints.read_checkpoint``.

    Raises:
        ValueError: an entry is missing or has the wrong type, the weights are another network's, or values are not
            finite.
    """
    for key, kind in NEEDED.items():
        if key not in checkpoint or not isinstance(checkpoint[key], kind):
            actual = f"a {type(checkpoint[key]).__name__}" if key in checkpoint else "missing"
            raise ValueError(f"training cannot be continued from this checkpoint ({key!r} is {actual}): {file}")
    if not_tensors := [name for name, value in checkpoint["network_weights"].items() if not isinstance(value, Tensor)]:
        raise ValueError(
            f"training cannot be continued from this checkpoint ({not_tensors[0]!r} is not a tensor): {file}"
        )
    check_weights_fit(network, checkpoint["network_weights"], file)
    for key in ("network_weights", "optimizer_state"):
        if name := not_finite(checkpoint[key]):
            raise ValueError(f"the checkpoint's {key} hold values that are not finite ({name}): {file}")


def not_finite(values: Any, name: str = "") -> str | None:
    """Name of the first tensor with NaN or infinity among nested dicts and lists; None if all values are finite."""
    if isinstance(values, Tensor):
        return None if not values.is_floating_point() or bool(values.isfinite().all()) else name
    if isinstance(values, dict):
        pairs = list(values.items())
    else:
        pairs = list(enumerate(values)) if isinstance(values, list | tuple) else []
    names = (not_finite(value, f"{name}.{key}" if name else str(key)) for key, value in pairs)
    return next((inner_name for inner_name in names if inner_name), None)


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [""])[0] or type(error).__name__
