"""The files of a raw dataset: does every case have its images and label, named as nnU-Net expects?"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection
from pathlib import Path
from typing import Any, TypedDict

from nnunetv2_cfseg.imaging.notices import say

#: Endings of image files; a dataset uses one of them.
IMAGE_ENDINGS = (
    ".nii.gz", ".nii", ".mha", ".mhd", ".nrrd", ".nhdr", ".dcm", ".img", ".hdr", ".gipl", ".tif", ".tiff", ".png",
    ".bmp", ".jpg", ".jpeg", ".npy", ".npz", ".h5",
)  # fmt: skip


class TrainingCase(TypedDict):
    """A case as nnU-Net has it: one image file per channel, and a label file."""

    images: list[str]
    label: str


def training_cases(folder: Path, dataset_json: dict[str, Any]) -> dict[str, TrainingCase]:
    """The training cases of a raw dataset by name, as nnU-Net finds them.

    Prints notices about what nnU-Net ignores silently: files with other endings, labels without an image, and a
    number of cases that differs from dataset.json.

    Args:
        folder: of the dataset, with ``imagesTr`` and ``labelsTr``.
        dataset_json: its ``dataset.json``, which names no files itself.

    Raises:
        ValueError: there are no cases, a file's name is wrong, or a case lacks a channel or its label.
    """
    ending = dataset_json["file_ending"]
    images, labels = folder / "imagesTr", folder / "labelsTr"
    image_names, label_names = _names(images), _names(labels)
    channels: dict[str, list[str]] = {}
    for name in _with_ending(image_names, ending, images):
        case, channel = _case_and_channel(name, ending, images)
        channels.setdefault(case, []).append(channel)
    if not channels:
        raise ValueError(f"no images in imagesTr; a raw dataset needs images there and labels in labelsTr: {folder}")
    _check_channels(channels, dataset_json["channel_names"], images)
    segmented = {name.removesuffix(ending) for name in _with_ending(label_names, ending, labels)}
    _check_labels(channels, segmented, label_names, labels, ending)
    _say_what_is_passed_over(channels, segmented, dataset_json, folder)
    return {
        case: {
            "images": [str(images / f"{case}_{channel}{ending}") for channel in sorted(channels[case])],
            "label": str(labels / f"{case}{ending}"),
        }
        for case in sorted(channels)
    }


def _names(folder: Path) -> list[str]:
    """Sorted names of a folder's files, including hidden ones, which nnU-Net also uses."""
    if not folder.is_dir():
        raise ValueError(f"no such folder; a raw dataset needs images in imagesTr and labels in labelsTr: {folder}")
    return sorted(file.name for file in folder.iterdir() if not file.is_dir())


def _with_ending(names: Collection[str], ending: str, folder: Path) -> list[str]:
    matching = [name for name in names if name.endswith(ending)]
    hidden = [name for name in matching if name.startswith(".")]
    if hidden:
        raise ValueError(f"nnU-Net takes hidden files for cases; remove them, such as {hidden[0]}: {folder}")
    others = [name for name in names if name not in matching and name.lower().endswith(IMAGE_ENDINGS)]
    if others and not matching:
        raise ValueError(
            f"dataset.json says that files end with {ending}, but all {len(others)} here have other endings, such as "
            f"{others[0]}; convert them or change file_ending: {folder}"
        )
    if others:
        verb = "does" if len(others) == 1 else "do"
        say(f"{_files(len(others))} ignored that {verb} not end with {ending}, such as {others[0]}: {folder}")
    return matching


def _case_and_channel(name: str, ending: str, folder: Path) -> tuple[str, str]:
    match = re.fullmatch(r"(.+)_(\d{4})", name.removesuffix(ending), re.DOTALL)
    if match is None:
        expected = f"{name.removesuffix(ending)}_0000{ending}"
        raise ValueError(
            f"the image name {name} lacks the channel's four digits; images must be named CASE_0000{ending}, so this "
            f"one should be {expected}: {folder}"
        )
    return match[1], match[2]


def _check_channels(channels: dict[str, list[str]], names: dict[str, str], folder: Path) -> None:
    expected = [f"{channel:04d}" for channel in range(len(names))]
    for case, numbers in channels.items():
        if sorted(numbers) != expected:
            raise ValueError(
                f"{case} has the channels {', '.join(sorted(numbers))}, but should have "
                f"{', '.join(expected) or 'none'}, as dataset.json names {len(names)} channels "
                f"({', '.join(names.values())}): {folder}"
            )


def _check_labels(
    channels: Collection[str], segmented: Collection[str], names: Collection[str], folder: Path, ending: str
) -> None:
    missing = sorted(case for case in channels if case not in segmented)
    if not missing:
        return
    alike = [name for name in names if name.startswith((f"{missing[0]}.", f"{missing[0]}_0000"))]
    hint = f", which may be {alike[0]}" if alike else ""
    if alike and alike[0] == f"{missing[0]}_0000{ending}":
        hint = f", instead of {alike[0]}, as labels have no channel number"
    raise ValueError(
        f"{len(missing)} of {len(channels)} images have no label; missing are files such as "
        f"{missing[0]}{ending}{hint}: {folder}"
    )


def _say_what_is_passed_over(
    channels: Collection[str], segmented: Collection[str], dataset_json: dict[str, Any], folder: Path
) -> None:
    lonely = sorted(case for case in segmented if case not in channels)
    if lonely:
        verb = "has" if len(lonely) == 1 else "have"
        say(f"{_files(len(lonely))} ignored that {verb} no image, such as {lonely[0]}: {folder / 'labelsTr'}")
    expected = dataset_json["numTraining"]
    if expected != len(channels):
        say(f"dataset.json says numTraining {expected}, but there are {len(channels)} training cases: {folder}")
    for name, times in Counter(case.casefold() for case in channels).items():
        if times > 1:
            say(f"{times} cases named {name} differ only in capitals, and some disks take them for one: {folder}")


def _files(count: int) -> str:
    return "a file is" if count == 1 else f"{count} files are"
