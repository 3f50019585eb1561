"""The classes of a dataset's segmentations, as nnU-Net reads them from ``dataset.json``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from typing import Any

import numpy as np

from nnunetv2_cfseg.files.schema import check_document, short
from nnunetv2_cfseg.nnunet.dataset_json import IGNORE, DatasetJson, label_values, read_dataset_json


@dataclass(frozen=True)
class SegmentationClass:
    """A class that is scored: a label, or a region of several labels.

    Attributes:
        name: from ``dataset.json``.
        values: label values; several for a region.
        key: nnU-Net's key in ``summary.json``: ``3`` for a label, ``(1, 2)`` for a region.
    """

    name: str
    values: tuple[int, ...]
    key: str

    def mask(self, segmentation: np.ndarray) -> np.ndarray:
        """Where a segmentation (Z, Y, X) shows the class: bool (Z, Y, X)."""
        return reduce(np.logical_or, (segmentation == value for value in self.values))


@dataclass(frozen=True)
class Classes:
    """The classes of a dataset.

    Attributes:
        foreground: in nnU-Net's order, without background.
        ignore: label value of voxels that are not scored, or None.
        values: all values that a segmentation may hold, including ``ignore``.
    """

    foreground: tuple[SegmentationClass, ...]
    ignore: int | None
    values: frozenset[int]


def read_classes_and_ending(dataset_json: Path) -> tuple[Classes, str]:
    """Read the classes, and the ending of the dataset's files.

    Raises:
        ValueError: there is no ``dataset.json``, or nnU-Net does not accept its labels.
    """
    content = read_dataset_json(dataset_json)
    return _classes_of(content, dataset_json), content["file_ending"]


def read_classes(dataset_json: Path) -> Classes:
    """Read the classes by the rules of nnU-Net's ``LabelManager``.

    Labels come in the order of their values. As soon as one entry names several values, all entries are regions: they
    come in the order of ``dataset.json``, and each is a class.

    Raises:
        ValueError: there is no ``dataset.json``, or nnU-Net does not accept its labels.
    """
    return _classes_of(read_dataset_json(dataset_json), dataset_json)


def _classes_of(content: Mapping[str, Any], dataset_json: Path) -> Classes:
    labels = content["labels"]
    try:
        entries = dict(check_document(content, DatasetJson, str(dataset_json)).labels)
        ignore = entries.pop(IGNORE, (None,))[0]
        known = frozenset(label_values(entries))
        if ignore is not None and ignore != max(known) + 1:
            raise ValueError(f"ignore must be above all other label values, {max(known) + 1}, got {ignore}")
        if any(len(values) > 1 for values in entries.values()):
            foreground = _regions(labels, entries, content.get("regions_class_order"))
        else:
            foreground = _labels(entries)
        _check_distinct(foreground)
    except ValueError as error:
        raise ValueError(f"{error}: {dataset_json}") from error
    return Classes(foreground, ignore, known if ignore is None else known | {ignore})


def _labels(entries: Mapping[str, tuple[int, ...]]) -> tuple[SegmentationClass, ...]:
    ordered = sorted(entries.items(), key=lambda entry: entry[1])
    return tuple(SegmentationClass(name, values, str(values[0])) for name, values in ordered if values != (0,))


def _regions(
    labels: Mapping[str, Any], entries: Mapping[str, tuple[int, ...]], class_order: Any
) -> tuple[SegmentationClass, ...]:
    """All entries as regions: a single value gets the key of a label, a list of one value that of a region."""
    regions = tuple(
        SegmentationClass(name, values, str(values if isinstance(labels[name], list) else values[0]))
        for name, values in entries.items()
        if set(values) != {0}
    )
    if not isinstance(class_order, list) or len(class_order) != len(regions):
        raise ValueError(f"regions need a regions_class_order of {len(regions)} values, got {short(class_order)}")
    return regions


def _check_distinct(foreground: tuple[SegmentationClass, ...]) -> None:
    if not foreground:
        raise ValueError("labels must name a class besides background, got none")
    names: dict[str, str] = {}
    for entry in foreground:
        if entry.key in names:
            raise ValueError(
                f"classes must differ in their labels, got {entry.key} for {names[entry.key]} and {entry.name}"
            )
        names[entry.key] = entry.name
