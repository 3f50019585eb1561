"""The scans to segment: finding and reading them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from zipfile import is_zipfile

from numpy.typing import NDArray

from nnunetv2_cfseg.errors.printable import printable
from nnunetv2_cfseg.files.case_names import check_case_name, check_distinct, check_utf8
from nnunetv2_cfseg.imaging.dicom import Series, choose_series, find_series, is_dicom, is_one_slice, read_series
from nnunetv2_cfseg.imaging.dicom_padding import padding_hu
from nnunetv2_cfseg.imaging.geometry import Triple, VolumeGeometry, grid_difference
from nnunetv2_cfseg.imaging.hounsfield import check_hounsfield
from nnunetv2_cfseg.imaging.orientation import Turn, turn
from nnunetv2_cfseg.imaging.read import read_scan as read_image

#: Endings of images, the longer first, and of archives.
IMAGES = (".nii.gz", ".nii", ".mha", ".mhd", ".nrrd", ".nhdr", ".img", ".hdr", ".gipl", ".tif", ".tiff", ".png", ".jpg")
ARCHIVES = (".zip", ".7z", ".rar", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")
#: Endings of files beside scans that are certainly not scans.
NO_SCANS = (".json", ".csv", ".txt", ".md")


@dataclass(frozen=True)
class Case:
    """A scan that has not been read yet, in one or several files.

    Attributes:
        name: of the segmentation's file, without its ending.
        files: one per channel; empty for a DICOM series.
        series: DICOM slices of the only channel.
    """

    name: str
    files: tuple[Path, ...]
    series: Series | None = None

    @property
    def sources(self) -> tuple[Path, ...]:
        """All files that the scan is read from."""
        return self.files if self.series is None else self.series.files

    @property
    def place(self) -> Path:
        """Path for messages: its first file, or the folder of its slices."""
        return self.files[0] if self.series is None else self.series.files[0].parent


@dataclass(frozen=True)
class Scan:
    """A scan that was read.

    Attributes:
        case: what it was read from.
        channels: (Z, Y, X) each, axes in the model's order.
        geometry: position of the voxels, axes as in the file.
        turn: from the file's order of axes to the model's.
    """

    case: Case
    channels: tuple[NDArray[Any], ...]
    geometry: VolumeGeometry
    turn: Turn

    @property
    def spacing_mm(self) -> Triple:
        """Spacing of the channels, z, y, x."""
        z, y, x = (self.geometry.spacing_mm[axis] for axis in self.turn.axes)
        return z, y, x


def find_cases(
    path: Path, *, file_ending: str, channels: int, series: int | None = None, name: str | None = None
) -> list[Case]:
    """Find the scans at a path.

    Args:
        path: a folder with ``CASE_0000`` files, as in nnU-Net, one file, or a folder of DICOM slices.
        file_ending: of dataset.json.
        channels: number of channels that the model takes.
        series: which of a folder's DICOM series, from 1; needed if there are several.
        name: of the only case; None for the name of its file, or of the folder of its slices.

    Raises:
        ValueError: there are no scans, a case has the wrong channels, or names are invalid or too similar.
    """
    check_utf8(path)
    if path.is_file():
        cases = [_one_file(path, file_ending, channels)]
    elif path.is_dir():
        cases = _of_folder(path, file_ending, channels)
        if not cases and (channels != 1 or not find_series(path)):
            _check_endings(path, file_ending)
        if not cases and channels == 1:
            cases = [Case(path.resolve().name, (), choose_series(path, series))]
    else:
        raise ValueError(f"-i must be a folder of scans or a scan, and {_what(path)}: {printable(path)}")
    if not cases:
        raise ValueError(f"-i must hold scans named CASE_0000{file_ending}, and there are none: {printable(path)}")
    if name is not None:
        if len(cases) > 1:
            raise ValueError(f"--name is for one scan, but there are {len(cases)}: {printable(path)}")
        cases = [replace(cases[0], name=name)]
    for case in cases:
        check_case_name(case.name, case.place, ending=file_ending)
    check_distinct((case.name, case.place) for case in cases)
    return cases


def passed_over(path: Path, cases: Sequence[Case]) -> list[str]:
    """Names of a folder's files that belong to no case, without hidden files, tables and the like."""
    if not path.is_dir():
        return []
    used = {file for case in cases for file in case.sources}
    is_series = any(case.series is not None for case in cases)  # whose slices may be called anything
    return [
        printable(file.name)
        for file in sorted(path.iterdir())
        if file not in used
        and not file.name.startswith(".")
        and not file.name.lower().endswith(NO_SCANS)
        and (not is_series or file.name.lower().endswith(IMAGES))
        and file.is_file()
    ]


def _one_file(path: Path, file_ending: str, channels: int) -> Case:
    if channels != 1:
        raise ValueError(f"one file is one channel, but the model takes {channels}; give a folder: {printable(path)}")
    if path.name.lower().endswith(ARCHIVES) or (path.suffix.lower() != ".npz" and is_zipfile(path)):
        raise ValueError(f"this is an archive, which has to be unpacked; -i must be a scan: {printable(path)}")
    if path.name == "DICOMDIR":
        raise ValueError(f"this is a list of DICOM series; -i must be the folder of one series: {printable(path)}")
    if is_dicom(path) and is_one_slice(path):
        raise ValueError(
            f"this file is one slice, but -i must be the folder of a DICOM series; give {printable(path.parent)}, and "
            f"--series N if it holds several: {printable(path)}"
        )
    stem = path.name.removesuffix(file_ending) if path.name.endswith(file_ending) else _stem(path)
    return Case(stem.removesuffix("_0000"), (path,))


def _of_folder(path: Path, file_ending: str, channels: int) -> list[Case]:
    """Cases from ``CASE_0000`` files; none if no file of the folder has the ending."""
    files_of: dict[str, dict[str, Path]] = {}
    for file in sorted(path.iterdir()):
        if file.name.endswith(file_ending) and not file.name.startswith("."):
            check_utf8(file)
            case, _, channel = file.name.removesuffix(file_ending).rpartition("_")
            if not case or len(channel) != 4 or not (channel.isascii() and channel.isdigit()):
                raise ValueError(
                    f"scans must be named CASE_0000{file_ending}, the four digits for the channel: {printable(file)}"
                )
            files_of.setdefault(case, {})[channel] = file
    for case, files in files_of.items():
        if sorted(files) != [f"{channel:04d}" for channel in range(channels)]:
            raise ValueError(
                f"the model takes {channels} {'channel' if channels == 1 else 'channels'}, numbered from 0000, but "
                f"{printable(case)} has {', '.join(sorted(files))}: {printable(path)}"
            )
    return [Case(case, tuple(files[channel] for channel in sorted(files))) for case, files in files_of.items()]


def _check_endings(path: Path, file_ending: str) -> None:
    """Refuse a folder of archives, or of images with another ending than the model's."""
    names = [file.name.lower() for file in path.iterdir() if not file.name.startswith(".")]
    for ending in (*IMAGES, *ARCHIVES):
        count = sum(name.endswith(ending) for name in names)
        if count:
            rule = (
                "and archives have to be unpacked" if ending in ARCHIVES else "the ending of the model's dataset.json"
            )
            files = "file" if count == 1 else "files"
            raise ValueError(
                f"-i holds {count} {files} named *{ending}, but must hold scans named CASE_0000{file_ending}, {rule}: "
                f"{printable(path)}"
            )


def _what(path: Path) -> str:
    return "this is neither" if os.path.lexists(path) else "there is none"


def read_scan(case: Case, channel_names: Sequence[str], order: str | None = None, *, assume_hu: bool = False) -> Scan:
    """Read all channels and turn them to a model's order.

    Args:
        order: such as ``LPS``, the order that the model was trained in; None leaves axes as they are in the file.
        assume_hu: do not check the values of a CT.

    Raises:
        ValueError: the number of channels is not the model's, a file is broken or not a volume, a channel should be CT
            and is not in HU, or the channels are not on one grid.
    """
    if case.series is not None:
        places, volumes = [case.series.files[0].parent], [read_series(case.series)]
    else:
        if len(case.files) != len(channel_names):
            raise ValueError(
                f"the model takes {len(channel_names)} channels ({', '.join(channel_names)}), but there are "
                f"{len(case.files)} files of {case.name}"
            )
        places, volumes = list(case.files), [read_image(file) for file in case.files]
    geometry = volumes[0].geometry
    for volume, place, name in zip(volumes, places, channel_names, strict=True):
        if difference := grid_difference(volume.geometry, geometry):
            raise ValueError(f"all channels must be on one grid, so this one must have the first one's {difference}: "
                             f"{place}")  # fmt: skip
        if name.lower() == "ct":
            padding = None if case.series is None else padding_hu(case.series.files[0])
            check_hounsfield(volume.values, place, padding=padding, assume_hu=assume_hu)
    turned = Turn() if order is None else turn(geometry.order, to=order)
    return Scan(case, tuple(turned.apply(volume.values) for volume in volumes), geometry, turned)


def _stem(file: Path) -> str:
    name = file.name.removesuffix(".gz")
    return name.rpartition(".")[0] or name
