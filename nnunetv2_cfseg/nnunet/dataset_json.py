"""Reads and checks nnU-Net's ``dataset.json``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, field_validator

from nnunetv2_cfseg.files.schema import Document, FileEnding, Whole, check_document, short
from nnunetv2_cfseg.files.text_files import read_json

BACKGROUND, IGNORE = "background", "ignore"
#: Segmentations are written in 16 bits without a sign.
GREATEST_LABEL = 65535
#: While a scan is segmented, regions are written in 16 bits with a sign.
GREATEST_REGION_LABEL = 32767
MOST_CHANNELS = 100


def _label(value: Any) -> tuple[int, ...]:
    """A label value, or the values of a region, as a tuple."""
    values = value if isinstance(value, list | tuple) else [value]
    if not values or len(values) > GREATEST_LABEL + 1:
        raise ValueError("must be a label value or a list of label values")
    return tuple(_label_value(item) for item in values)


def _label_value(value: Any) -> int:
    """A label value, also as text, as in older files of nnU-Net."""
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= 5:
        value = int(value)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= GREATEST_LABEL:
        raise ValueError(f"must be a whole number from 0 to {GREATEST_LABEL}, or a list of such numbers")
    return value


Label = Annotated[tuple[int, ...], BeforeValidator(_label)]
ChannelNames = Annotated[dict[str, str], Field(min_length=1, max_length=MOST_CHANNELS)]


class DatasetJson(Document):
    """The entries of ``dataset.json`` that are read.

    Attributes:
        labels: the label values of each name, several for a region.
        file_ending: of images and labels.
        channel_names: in order; raw datasets need them.
        regions_class_order: if labels are regions, the label that is written for each region.
    """

    labels: Annotated[dict[str, Label], Field(min_length=1)]
    file_ending: FileEnding
    channel_names: ChannelNames | None = None
    modality: ChannelNames | None = None
    regions_class_order: list[Whole] | None = None
    num_training: Annotated[Whole, Field(ge=0)] | None = Field(default=None, alias="numTraining")

    @field_validator("labels", mode="before")
    @classmethod
    def _check_names(cls, labels: Any) -> Any:
        if not isinstance(labels, dict):
            raise ValueError("must map names to label values")
        if isinstance(labels.get(BACKGROUND), bool) or labels.get(BACKGROUND) not in (0, "0"):
            raise ValueError("must name background, and it must be 0")
        if isinstance(labels.get(IGNORE), list):
            raise ValueError("must have one value for ignore")
        return labels


class RawDatasetJson(DatasetJson):
    """The ``dataset.json`` of a raw dataset, in which nnU-Net needs more entries."""

    channel_names: ChannelNames
    num_training: Annotated[Whole, Field(ge=0)] = Field(alias="numTraining")


def read_dataset_json(file: Path, kind: type[DatasetJson] = DatasetJson) -> dict[str, Any]:
    """Read and check the file, and return its content unchanged.

    Raises:
        ValueError: there is none, it is no JSON, or an entry is missing or does not fit.
    """
    content = read_json(file)
    check_document(content, kind, str(file))
    return content


def read_raw_dataset_json(file: Path) -> dict[str, Any]:
    """Read a raw dataset's ``dataset.json``.

    Raises:
        ValueError: it is missing, no JSON, or lacks an entry that nnU-Net needs.
    """
    return read_dataset_json(file, RawDatasetJson)


def check_heads(dataset: DatasetJson, file: str) -> None:
    """Check that a network's outputs can be written as the labels.

    nnU-Net takes the index of the largest output as the label, so labels must count from 0 without a gap. Regions need
    an entry each in ``regions_class_order``.

    Raises:
        ValueError: they cannot; the message has the labels and the file.
    """
    named = {name: values for name, values in dataset.labels.items() if name != IGNORE}
    values = list(label_values(named))
    ignore = dataset.labels.get(IGNORE)
    if ignore is not None and ignore[0] != values[-1] + 1:
        raise ValueError(f"labels.ignore must be one above all other labels, {values[-1] + 1}, got {ignore[0]}: {file}")
    if not is_of_regions(dataset):
        if values != list(range(len(values))) or len(values) != len(named):
            raise ValueError(f"labels must be 0, 1, 2 and so on, each once, got {_few(values, named)}: {file}")
        return
    regions = [name for name, region_values in named.items() if set(region_values) != {0}]
    order = dataset.regions_class_order
    if order is None or len(order) != len(regions):
        raise ValueError(
            f"regions_class_order must have a label for each of {len(regions)} regions, got {short(order)}: {file}"
        )
    if unknown := [value for value in order if value not in values or not 0 < value <= GREATEST_REGION_LABEL]:
        raise ValueError(
            f"regions_class_order must only have the labels {short(values[1:])} up to {GREATEST_REGION_LABEL}, got "
            f"{short(unknown[0])}: {file}"
        )


def label_values(labels: Mapping[str, Any]) -> tuple[int, ...]:
    """All values that the ``labels`` of a ``dataset.json`` allow in a segmentation, sorted; a region has several."""
    return tuple(sorted({value for entry in labels.values() for value in _label(entry)}))


def ignored_value(labels: Mapping[str, Any]) -> int | None:
    """The value of voxels that nobody annotated; None if the labels have no ``ignore``."""
    return _label(labels[IGNORE])[0] if IGNORE in labels else None


def is_of_regions(dataset: DatasetJson) -> bool:
    """Whether labels overlap, as nnU-Net decides it: one of them names several values."""
    return any(len(values) > 1 for values in dataset.labels.values())


def _few(values: list[int], named: Mapping[str, tuple[int, ...]]) -> str:
    every = sorted(value for entry in named.values() for value in entry)
    return str(every if len(every) <= 10 else [*every[:10], "..."]) if every != values else str(values[:10])


def without_files(content: Mapping[str, Any]) -> dict[str, Any]:
    """The entries that prediction and evaluation need, without lists of files, which can name patients and folders."""
    kept = ("channel_names", "modality", "labels", "regions_class_order", "file_ending", "numTraining",
            "overwrite_image_reader_writer")  # fmt: skip
    return {key: content[key] for key in kept if key in content}
