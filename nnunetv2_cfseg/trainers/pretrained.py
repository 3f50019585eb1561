"""Checks of the file that ``-pretrained_weights`` names, before nnU-Net reads it."""

from __future__ import annotations

import argparse
import sys

from torch import Tensor, nn

from nnunetv2_cfseg.nnunet.checkpoints import read_checkpoint
from nnunetv2_cfseg.trainers.checkpoint import not_finite
from nnunetv2_cfseg.trainers.one_sentence import nnunet_command

#: Part of the names of output layers, whose weights nnU-Net does not load.
OUTPUT_LAYERS = ".seg_layers."


def pretrained_weights_file() -> str | None:
    """The file given to ``nnUNetv2_train -pretrained_weights``, read from the command line; None if there is none.

    nnU-Net does not pass it to its trainers. A training that continues from its own checkpoint ignores it.
    """
    if nnunet_command() != "nnUNetv2_train":
        return None
    parser = argparse.ArgumentParser(add_help=False, exit_on_error=False, allow_abbrev=False)
    parser.add_argument("-pretrained_weights")
    for flag in ("--c", "--val"):
        parser.add_argument(flag, action="store_true")
    for other in ("-tr", "-p", "-num_gpus", "-device"):
        parser.add_argument(other)
    for flag in ("--npz", "--val_best", "--disable_checkpointing"):
        parser.add_argument(flag, action="store_true")
    try:
        arguments, _ = parser.parse_known_args(sys.argv[1:])
    except argparse.ArgumentError:  # nnU-Net's own parser reports it
        return None
    return None if arguments.c or arguments.val else arguments.pretrained_weights


def check_pretrained_weights(network: nn.Module, file: str) -> None:
    """Check that a checkpoint's weights, except those of output layers, fit a network.

    Raises:
        ValueError: the file is not a checkpoint, its weights are another network's, or they are not finite.
    """
    weights = read_checkpoint(file, any_network=True)["network_weights"]
    own = {name: tuple(value.shape) for name, value in network.state_dict().items() if OUTPUT_LAYERS not in name}
    for name, shape in own.items():
        there = tuple(weights[name].shape) if isinstance(weights.get(name), Tensor) else "missing"
        if there != shape:
            raise ValueError(
                f"the pretrained weights are another network's ({name} is {there} there and {shape} here): {file}"
            )
    if bad_name := not_finite({name: weights[name] for name in own}):
        raise ValueError(f"the pretrained weights hold values that are not finite ({bad_name}): {file}")
