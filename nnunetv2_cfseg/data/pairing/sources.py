"""Finds the files that pairs are made from."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nnunetv2_cfseg.files.case_names import check_case_name, check_distinct, check_utf8
from nnunetv2_cfseg.nnunet.dataset_json import read_raw_dataset_json

TRAINING, TEST = "Tr", "Ts"


@dataclass(frozen=True)
class Source:
    """The files of one case.

    Attributes:
        part: ``Tr`` or ``Ts``.
        thick_image: the thick reconstruction, if there is one.
    """

    name: str
    part: str
    image: Path
    label: Path
    thick_image: Path | None = None

    @property
    def files(self) -> dict[str, Path]:
        """All files that are read, by kind."""
        files = {"image": self.image, "label": self.label}
        return files if self.thick_image is None else {**files, "thick_image": self.thick_image}


@dataclass(frozen=True)
class Sources:
    """All cases of a dataset.

    Attributes:
        dataset_json: content of the file ``dataset_file``.
        unlabelled: names of test images without labels, which are left out.
    """

    cases: tuple[Source, ...]
    dataset_json: dict[str, Any]
    dataset_file: Path
    unlabelled: tuple[str, ...] = ()


def find_sources(
    images: Path, labels: Path | None = None, thick_images: Path | None = None, *, dataset_json: Path | None = None
) -> Sources:
    """List the cases of raw nnU-Net datasets or of plain folders.

    Args:
        images: a raw dataset, or a folder of ``CASE_0000`` files.
        labels: likewise, of ``CASE`` files; by default the images' dataset.
        thick_images: likewise, of ``CASE_0000`` files.
        dataset_json: by default that of the images' dataset, or of the labels'.

    Raises:
        ValueError: a folder or file is missing, a case has more than one CT, or lacks one of its files.
    """
    labels = labels or images
    file = dataset_json or _dataset_file(images, labels)
    content = read_raw_dataset_json(file)
    _check_dataset_json(content, file)
    ending = content["file_ending"]
    cases = _cases(images, labels, thick_images, part=TRAINING, ending=ending)
    unlabelled: tuple[str, ...] = ()
    if _is_dataset(images) and (images / "imagesTs").is_dir():
        if _folder(labels, "labels", TEST).is_dir():
            cases += _cases(images, labels, thick_images, part=TEST, ending=ending)
        else:
            unlabelled = tuple(_images(images / "imagesTs", ending))
    in_test = {case.name for case in cases if case.part == TEST}
    for case in cases:
        if case.part == TRAINING and case.name in in_test:
            raise ValueError(f"a case must be in the training or in the test set, and {case.name} is in both: {images}")
    check_distinct((case.name, case.image) for case in cases)
    for case in cases:
        check_case_name(case.name, case.image, ending=ending)
    return Sources(tuple(cases), content, file, unlabelled)


def _dataset_file(*folders: Path) -> Path:
    """The first ``dataset.json`` that exists.

    Raises:
        ValueError: none does.
    """
    files = [folder / "dataset.json" for folder in dict.fromkeys(folders)]
    existing = next((file for file in files if file.is_file()), None)
    if existing is None:
        raise ValueError(
            f"there is no dataset.json; it must lie beside the labels, or be named with -djfile: "
            f"{' or '.join(str(file) for file in reversed(files))}"
        )
    return existing


def _check_dataset_json(content: dict[str, Any], file: Path) -> None:
    names = list(content["channel_names"].values())
    if [str(name).lower() for name in names] != ["ct"]:
        raise ValueError(
            f"the one channel must be CT, because a thick slice is the mean of thin ones in HU, got {names}: {file}"
        )
    if "dataset" in content:
        raise ValueError(f"cases must lie in imagesTr and labelsTr, and dataset.json lists their files: {file}")


def _cases(images: Path, labels: Path, thick_images: Path | None, *, part: str, ending: str) -> list[Source]:
    folder = _folder(images, "images", part)
    _check_not_swapped(folder, _folder(labels, "labels", part), ending)
    scans = _images(folder, ending)
    if not scans:
        raise ValueError(f"a folder of images must hold CASE_0000{ending}, and holds none: {folder}")
    others = [(labels, "labels", _labels), *([] if thick_images is None else [(thick_images, "images", _images)])]
    other_files = []
    for root, kind, list_files in others:
        files = list_files(_folder(root, kind, part), ending)
        if list_files is _labels:
            _check_no_channel(files, scans, _folder(root, kind, part))
        _check_has(files, scans, _folder(root, kind, part), folder)
        if _is_dataset(root) or not _is_dataset(images):  # a plain folder may hold the files of both parts
            _check_has(scans, files, folder, _folder(root, kind, part))
        other_files.append(files)
    return [Source(name, part, file, *(files[name] for files in other_files)) for name, file in scans.items()]


def _check_not_swapped(images: Path, labels: Path, ending: str) -> None:
    """Refuse two plain folders of which only that of the labels has names of images, with a channel's number.

    Raises:
        ValueError: they look swapped.
    """
    if images == labels:
        return
    without, numbered = _files(images, ending), _files(labels, ending)
    if without and numbered and not any(map(_has_channel, without)) and all(map(_has_channel, numbered)):
        raise ValueError(
            f"-i and -l look swapped: images are named CASE_0000{ending}, and {numbered[0].name} is among the labels "
            f"and {without[0].name} among the images: {images}"
        )


def _has_channel(file: Path) -> bool:
    return re.search(r"_\d{4}$", file.name.split(".")[0]) is not None


def _check_no_channel(labels: Mapping[str, Path], scans: Collection[str], folder: Path) -> None:
    """Refuse labels that are named like their images.

    Raises:
        ValueError: a label has a channel's number, and there is an image of the case.
    """
    for name, file in labels.items():
        case = re.sub(r"_\d{4}$", "", name)
        if case != name and case in scans and name not in scans:
            expected = file.name.replace(name, case, 1)
            raise ValueError(f"labels have no channel number, so {file.name} must be named {expected}: {folder}")


def _is_dataset(folder: Path) -> bool:
    return (folder / "imagesTr").is_dir() or (folder / "labelsTr").is_dir()


def _folder(folder: Path, kind: str, part: str) -> Path:
    return folder / f"{kind}{part}" if _is_dataset(folder) else folder


def _images(folder: Path, ending: str) -> dict[str, Path]:
    files = {}
    for file in _files(folder, ending):
        match = re.fullmatch(r"(.+)_(\d{4})", file.name.removesuffix(ending))
        if match is None or match[2] != "0000":
            raise ValueError(f"images must be one CT a case, named CASE_0000{ending}: {file}")
        files[match[1]] = file
    return files


def _labels(folder: Path, ending: str) -> dict[str, Path]:
    return {file.name.removesuffix(ending): file for file in _files(folder, ending)}


def _files(folder: Path, ending: str) -> list[Path]:
    if not folder.is_dir():
        raise ValueError(f"there must be a folder of images or labels, and there is none: {folder}")
    files = sorted(file for file in folder.glob(f"[!.]*{ending}") if file.is_file())
    for file in (folder, *files):
        check_utf8(file)
    return files


def _check_has(files: Collection[str], needed: Collection[str], folder: Path, other: Path) -> None:
    missing = sorted(set(needed) - set(files))
    if missing:
        raise ValueError(f"every case must have all its files, and {missing[0]} is in {other} and not in {folder}")
