"""The files of a raw dataset: has every case its images and its label, and are they named as nnU-Net has it?"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection
from pathlib import Path
from typing import Any, TypedDict

from nnunetv2_cfseg.imaging.notices import say

#: Files that hold images, of which a dataset uses one ending.
IMAGE_ENDINGS = (
    ".nii.gz", ".nii", ".mha", ".mhd", ".nrrd", ".nhdr", ".dcm", ".img", ".hdr", ".gipl", ".tif", ".tiff", ".png",
    ".bmp", ".jpg", ".jpeg", ".npy", ".npz", ".h5",
)  # fmt: skip


class TrainingCase(TypedDict):
    """nnU-Net's: one image file a channel, and a label file."""

    images: list[str]
    label: str


def training_cases(folder: Path, dataset_json: dict[str, Any]) -> dict[str, TrainingCase]:
    """The training cases of a raw dataset by name, as nnU-Net finds them.

    What nnU-Net passes over without a word is said: files of other endings, labels without an image, and another
    number of cases than dataset.json has.

    Args:
        folder: of the dataset, with ``imagesTr`` and ``labelsTr``.
        dataset_json: its ``dataset.json``, which names no files itself.

    Raises:
        ValueError: there are no cases, a file is named otherwise, or a case lacks a channel or its label.
    """
    ending = dataset_json["file_ending"]
    images, labels = folder / "imagesTr", folder / "labelsTr"
    image_names, label_names = _names(images), _names(labels)
    channels: dict[str, list[str]] = {}
    for name in _with_ending(image_names, ending, images):
        case, channel = _case_and_channel(name, ending, images)
        channels.setdefault(case, []).append(channel)
    if not channels:
        raise ValueError(f"a raw dataset needs images in imagesTr and labels in labelsTr, and has none: {folder}")
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
    """Of files; nnU-Net takes hidden ones, too."""
    if not folder.is_dir():
        raise ValueError(f"a raw dataset needs images in imagesTr and labels in labelsTr, and there is none: {folder}")
    return sorted(file.name for file in folder.iterdir() if not file.is_dir())


def _with_ending(names: Collection[str], ending: str, folder: Path) -> list[str]:
    found = [name for name in names if name.endswith(ending)]
    hidden = [name for name in found if name.startswith(".")]
    if hidden:
        raise ValueError(f"hidden files would be taken for cases, remove them, such as {hidden[0]}: {folder}")
    others = [name for name in names if name not in found and name.lower().endswith(IMAGE_ENDINGS)]
    if others and not found:
        raise ValueError(
            f"dataset.json says that files end with {ending}, and all {len(others)} here end otherwise, such as "
            f"{others[0]}; convert them or change file_ending: {folder}"
        )
    if others:
        verb = "does" if len(others) == 1 else "do"
        say(f"{_files(len(others))} passed over that {verb} not end with {ending}, such as {others[0]}: {folder}")
    return found


def _case_and_channel(name: str, ending: str, folder: Path) -> tuple[str, str]:
    match = re.fullmatch(r"(.+)_(\d{4})", name.removesuffix(ending), re.DOTALL)
    if match is None:
        expected = f"{name.removesuffix(ending)}_0000{ending}"
        raise ValueError(
            f"images must be named CASE_0000{ending}, with the channel's four digits, so {name} should be {expected}: "
            f"{folder}"
        )
    return match[1], match[2]


def _check_channels(channels: dict[str, list[str]], names: dict[str, str], folder: Path) -> None:
    expected = [f"{channel:04d}" for channel in range(len(names))]
    for case, found in channels.items():
        if sorted(found) != expected:
            raise ValueError(
                f"dataset.json names {len(names)} channels ({', '.join(names.values())}), so {case} should have "
                f"{', '.join(expected) or 'none'}, and has {', '.join(sorted(found))}: {folder}"
            )


def _check_labels(
    channels: Collection[str], segmented: Collection[str], names: Collection[str], folder: Path, ending: str
) -> None:
    missing = sorted(case for case in channels if case not in segmented)
    if not missing:
        return
    alike = [name for name in names if name.startswith((f"{missing[0]}.", f"{missing[0]}_0000"))]
    hint = f", which may be {alike[0]}" if alike else ""
    raise ValueError(
        f"every image needs a label, and {len(missing)} of {len(channels)} have none, such as "
        f"{missing[0]}{ending}{hint}: {folder}"
    )


def _say_what_is_passed_over(
    channels: Collection[str], segmented: Collection[str], dataset_json: dict[str, Any], folder: Path
) -> None:
    lonely = sorted(case for case in segmented if case not in channels)
    if lonely:
        say(f"{_files(len(lonely))} without an image passed over, such as {lonely[0]}: {folder / 'labelsTr'}")
    expected = dataset_json["numTraining"]
    if expected != len(channels):
        say(f"dataset.json says numTraining {expected}, and there are {len(channels)} training cases: {folder}")
    for name, times in Counter(case.casefold() for case in channels).items():
        if times > 1:
            say(f"{times} cases are named {name} but for capitals, which some disks take for one: {folder}")


def _files(count: int) -> str:
    return "a file is" if count == 1 else f"{count} files are"
