"""A warning in nnU-Net's own prediction about files whose axes run differently from those the model was trained on.

nnU-Net passes voxels to the network in the order in which a file stores them. A network that distinguishes left from
right is then wrong, without any warning (nnU-Net's issues 2768 and 2897). nnU-Net shows a trainer neither the files nor
the folder, so the folder is taken from the command line. Nothing here may stop a prediction: every error is ignored.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from nnunetv2_cfseg.nnunet.cfseg_section import CFSegSection
from nnunetv2_cfseg.trainers.one_sentence import nnunet_command

COMMANDS = ("nnUNetv2_predict", "nnUNetv2_predict_from_modelfolder")
#: nnU-Net's readers that keep voxels in the stored order.
READERS_AS_STORED = ("SimpleITKIO", "NibabelIO")
FIRST_CHANNEL = re.compile(r"_0000\.[^_]+$")


def warn_of_other_orders(plans: dict[str, Any], configuration: dict[str, Any]) -> None:
    """In nnU-Net's prediction commands, warn on stderr about files that are stored in another order.

    Args:
        plans: of the model.
        configuration: of the plans; its ``cfseg`` section has the ``storage_order`` that the model was trained in.
    """
    with suppress(Exception):
        order = CFSegSection.from_plans(configuration).storage_order
        folder = _input_folder()
        if folder is None or order is None or plans.get("image_reader_writer") not in READERS_AS_STORED:
            return
        others = list(_other_orders(folder, order))
        if others:
            file, file_order = others[0]
            print(
                f"WARNING: {len(others)} of the files are stored in another order than the model was trained on (where "
                f"the file's axes x, y and z run to), {file_order} instead of {order}; the first is {file.name}. "
                f"nnU-Net does not turn them, and their segmentations will be wrong. cfseg predict turns them.",
                file=sys.stderr,
                flush=True,
            )


def _input_folder() -> Path | None:
    """The folder given with ``-i`` on the command line of a prediction; None elsewhere."""
    if nnunet_command() not in COMMANDS:
        return None
    parser = argparse.ArgumentParser(add_help=False, exit_on_error=False, allow_abbrev=False)
    parser.add_argument("-i")
    arguments, _ = parser.parse_known_args(sys.argv[1:])
    return Path(arguments.i) if arguments.i else None


def _other_orders(folder: Path, order: str) -> Iterator[tuple[Path, str]]:
    """Files of first channels that are stored in another order, and that order."""
    from nnunetv2_cfseg.imaging.orientation import order_of
    from nnunetv2_cfseg.imaging.read import read_geometry

    for file in sorted(folder.iterdir()):
        if FIRST_CHANNEL.search(file.name):
            with suppress(Exception):
                file_order = order_of(read_geometry(file).direction)
                if file_order != order:
                    yield file, file_order
