"""The order in which a dataset's files store their axes, which a network learns together with left and right."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from nnunetv2_cfseg.imaging.orientation import RAS
from nnunetv2_cfseg.imaging.storage_orders import listed, storage_orders

#: nnU-Net's reader that turns every file to RAS.
REORIENTING_READER = "NibabelIOWithReorient"


def storage_order(files: Iterable[str | Path], *, reader: str, dataset: str) -> str:
    """The single order of a dataset's training images, as nnU-Net's reader returns them.

    Args:
        files: of all cases and channels.
        reader: name of nnU-Net's reader.
        dataset: its name, for the message.

    Raises:
        ValueError: there are several orders, and the reader does not turn all files to one.
    """
    if reader == REORIENTING_READER:
        return RAS
    orders = storage_orders(map(Path, files))
    if len(orders) > 1:
        raise ValueError(
            f"the scans store their axes in several orders, {listed(orders)}, and nnU-Net trains on them as they are "
            f"stored; turn them to one order, or let nnU-Net do it with "
            f'"overwrite_image_reader_writer": "{REORIENTING_READER}" in dataset.json: {dataset}'
        )
    return next(iter(orders))
