"""Which way the axes run in the files of a dataset: a network that knows left from right learns it with them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from nnunetv2_cfseg.imaging.orientation import RAS
from nnunetv2_cfseg.imaging.storage_orders import listed, storage_orders

#: nnU-Net's reader that turns every file to RAS.
REORIENTING_READER = "NibabelIOWithReorient"


def storage_order(files: Iterable[str | Path], *, reader: str, dataset: str) -> str:
    """The one order of a dataset's training images, as nnU-Net's reader hands them on.

    Args:
        files: of all cases and channels.
        reader: name of nnU-Net's reader.
        dataset: its name, for the message.

    Raises:
        ValueError: there are several orders, and the reader does not turn them to one.
    """
    if reader == REORIENTING_READER:
        return RAS
    orders = storage_orders(map(Path, files))
    if len(orders) > 1:
        raise ValueError(
            f"the scans of a dataset must store their axes in one order, as nnU-Net trains on them as they are stored, "
            f"and there are {listed(orders)}; turn them to one, or let nnU-Net do it with "
            f'"overwrite_image_reader_writer": "{REORIENTING_READER}" in dataset.json: {dataset}'
        )
    return next(iter(orders))
