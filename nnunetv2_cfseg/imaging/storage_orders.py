"""Finds the orders in which the files of a dataset store their axes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from nnunetv2_cfseg.imaging.read import read_geometry


def storage_orders(files: Iterable[Path]) -> dict[str, list[Path]]:
    """The files of each order, from their headers; the most frequent order comes first.

    Raises:
        ValueError: a header cannot be read or makes no sense.
    """
    orders: dict[str, list[Path]] = {}
    for file in files:
        orders.setdefault(read_geometry(file).order, []).append(file)
    return dict(sorted(orders.items(), key=lambda item: -len(item[1])))


def listed(orders: Mapping[str, Sequence[Path]]) -> str:
    """How many files have which order, with an example each: ``30 are LPS (a.nii.gz), 2 RAS (b.nii.gz)``."""
    parts = [f"{len(files)} {order} ({files[0].name})" for order, files in orders.items()]
    return ", ".join(parts)
