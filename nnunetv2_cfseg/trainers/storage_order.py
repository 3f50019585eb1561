"""A warning within nnU-Net's own prediction: files whose axes run another way than those the model was trained on.

nnU-Net hands voxels to the network in the order in which a file stores them. A network that knows left from right is
then wrong, and nothing says so (nnU-Net's issues 2768 and 2897). nnU-Net lets a trainer see neither the files nor the
folder, so the folder is taken from the command line. Nothing here may stop a prediction: what is odd is passed over.
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
#: Of nnU-Net's readers, the ones that hand voxels on as they are stored.
READERS_AS_STORED = ("SimpleITKIO", "NibabelIO")
FIRST_CHANNEL = re.compile(r"_0000\.[^_]+$")


def warn_of_other_orders(plans: dict[str, Any], configuration: dict[str, Any]) -> None:
    """Within nnU-Net's commands for prediction, say on stderr which files are stored in another order.

    Args:
        plans: of the model.
        configuration: of these; its ``cfseg`` section says in which ``storage_order`` the model was trained.
    """
    with suppress(Exception):
        order = CFSegSection.from_plans(configuration).storage_order
        folder = _input_folder()
        if folder is None or order is None or plans.get("image_reader_writer") not in READERS_AS_STORED:
            return
        others = list(_other_orders(folder, order))
        if others:
            file, found = others[0]
            print(
                f"WARNING: {len(others)} of the files are stored in another order than the model was trained on (where "
                f"the file's axes x, y and z run to), {found} instead of {order}; the first is {file.name}. nnU-Net "
                f"does not turn them, and what it finds in them will be wrong. cfseg predict turns them.",
                file=sys.stderr,
                flush=True,
            )


def _input_folder() -> Path | None:
    """What ``-i`` names on the command line of a prediction."""
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
                found = order_of(read_geometry(file).direction)
                if found != order:
                    yield file, found
