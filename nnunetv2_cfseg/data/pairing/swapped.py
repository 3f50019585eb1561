"""Tells scans and labels that were given in each other's place."""

from __future__ import annotations

import numpy as np

from nnunetv2_cfseg.data.pairing.sources import Source
from nnunetv2_cfseg.imaging.read import read_volume

#: A scan has more different values, even a small piece of one.
MOST_LABELS = 100


def check_not_swapped(source: Source) -> None:
    """Refuse a case whose image has a few whole numbers and whose labels have many values or negative ones.

    It reads both files, so it is only for cases that were found wrong.

    Raises:
        ValueError: they look swapped, or one cannot be read.
    """
    image, label = (np.unique(read_volume(file).values) for file in (source.image, source.label))
    if _are_labels(image) and not _are_labels(label):
        raise ValueError(
            f"-i and -l look swapped: the image holds only {len(image)} whole numbers from {image[0]:g} to "
            f"{image[-1]:g}, as labels do, and the labels have values from {label[0]:g} to {label[-1]:g}, as a scan "
            f"has in HU: {source.image} and {source.label}"
        )


def _are_labels(values: np.ndarray) -> bool:
    """Whether different values (n,), sorted, are a few whole numbers from 0 on."""
    return bool(len(values) <= MOST_LABELS and values[0] >= 0 and np.array_equal(values, np.rint(values)))
