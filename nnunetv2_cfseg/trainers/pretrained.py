"""A look at the file that ``-pretrained_weights`` names, before nnU-Net reads it."""

from __future__ import annotations

import argparse
import sys

from torch import Tensor, nn

from nnunetv2_cfseg.nnunet.checkpoints import read_checkpoint
from nnunetv2_cfseg.trainers.checkpoint import not_finite
from nnunetv2_cfseg.trainers.one_sentence import nnunet_command

#: In the names of output layers, which nnU-Net does not take over.
OUTPUT_LAYERS = ".seg_layers."


def pretrained_weights_file() -> str | None:
    """What ``nnUNetv2_train`` was called with; nnU-Net's trainers are not told.

    A training that goes on from a checkpoint of its own takes no weights of others.
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
    except argparse.ArgumentError:  # nnU-Net's own parser says so
        return None
    return None if arguments.c or arguments.val else arguments.pretrained_weights


def check_pretrained_weights(network: nn.Module, file: str) -> None:
    """See whether a checkpoint's weights, but for those of output layers, are a network's.

    Raises:
        ValueError: the file is no checkpoint, its weights are another network's, or they are not finite.
    """
    weights = read_checkpoint(file, any_network=True)["network_weights"]
    own = {name: tuple(value.shape) for name, value in network.state_dict().items() if OUTPUT_LAYERS not in name}
    for name, shape in own.items():
        there = tuple(weights[name].shape) if isinstance(weights.get(name), Tensor) else "missing"
        if there != shape:
            raise ValueError(
                f"the pretrained weights are another network's ({name} is {there} there and {shape} here): {file}"
            )
    if odd := not_finite({name: weights[name] for name in own}):
        raise ValueError(f"the pretrained weights hold values that are not finite ({odd}): {file}")
