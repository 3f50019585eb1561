"""The scans to segment: finding them, reading them, and the grid they came on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from nnunetv2_cfseg.data.checks import check_hounsfield
from nnunetv2_cfseg.imaging.dicom_padding import padding_hu
from nnunetv2_cfseg.imaging.geometry import Triple, VolumeGeometry, grid_difference
from nnunetv2_cfseg.imaging.orientation import Turn, turn
from nnunetv2_cfseg.imaging.read import read_scan as read_image
from nnunetv2_cfseg.inference.dicom import Series, choose_series, read_series


@dataclass(frozen=True)
class Case:
    """A scan that is still a file, or several.

    Attributes:
        name: of the segmentation's file, without its ending.
        files: one a channel; none of a DICOM series.
        series: DICOM slices of the only channel.
    """

    name: str
    files: tuple[Path, ...]
    series: Series | None = None


@dataclass(frozen=True)
class Scan:
    """A scan that was read.

    Attributes:
        case: what it was read from.
        channels: (Z, Y, X) each, axes in the model's order.
        geometry: where the voxels lie, axes as in the file.
        turn: from the file's order to the model's.
    """

    case: Case
    channels: tuple[NDArray[Any], ...]
    geometry: VolumeGeometry
    turn: Turn

    @property
    def spacing_mm(self) -> Triple:
        """Of the channels, z, y, x."""
        z, y, x = (self.geometry.spacing_mm[axis] for axis in self.turn.axes)
        return z, y, x


def find_cases(path: Path, *, file_ending: str, channels: int, series: int | None = None) -> list[Case]:
    """Scans at a path.

    Args:
        path: a folder with ``CASE_0000`` files, as nnU-Net has it, one file, or a folder of DICOM slices.
        file_ending: of dataset.json.
        channels: that the model takes.
        series: which of a folder's DICOM series, from 1; needed where there are several.

    Raises:
        ValueError: there are none, a case lacks a channel or has one too many.
    """
    if path.is_file():
        if channels != 1:
            raise ValueError(f"one file is one channel, and the model takes {channels}; give a folder: {path}")
        return [Case(_stem(path).removesuffix("_0000"), (path,))]
    if not path.is_dir():
        raise ValueError(f"-i must be a folder of scans or a scan, and there is none: {path}")
    files: dict[str, dict[str, Path]] = {}
    for file in sorted(path.iterdir()):
        if file.name.endswith(file_ending) and not file.name.startswith("."):
            name, _, channel = file.name.removesuffix(file_ending).rpartition("_")
            if not name or len(channel) != 4 or not channel.isdigit():
                raise ValueError(f"scans must be named CASE_0000{file_ending}, the four digits for the channel: {file}")
            files.setdefault(name, {})[channel] = file
    if not files and channels == 1:
        return [Case(path.resolve().name, (), choose_series(path, series))]
    if not files:
        raise ValueError(f"-i must hold scans named CASE_0000{file_ending}, and there are none: {path}")
    for name, found in files.items():
        if sorted(found) != [f"{channel:04d}" for channel in range(channels)]:
            raise ValueError(
                f"the model takes {channels} channels, numbered from 0000, and of {name} there are "
                f"{', '.join(sorted(found))}: {path}"
            )
    return [Case(name, tuple(found[channel] for channel in sorted(found))) for name, found in files.items()]


def read_scan(case: Case, channel_names: Sequence[str], order: str | None = None, *, assume_hu: bool = False) -> Scan:
    """Read all channels and turn them to a model's order.

    Args:
        order: such as ``LPS``, what the model was trained in; None leaves axes as they are in the file.
        assume_hu: do not look at the values of a CT.

    Raises:
        ValueError: another number of channels than the model takes, a file that is broken, is no volume or is no CT
            where one is due, or channels that are not on one grid.
    """
    if case.series is not None:
        places, volumes = [case.series.files[0].parent], [read_series(case.series)]
    else:
        if len(case.files) != len(channel_names):
            raise ValueError(
                f"the model takes {len(channel_names)} channels ({', '.join(channel_names)}), and there are "
                f"{len(case.files)} files of {case.name}"
            )
        places, volumes = list(case.files), [read_image(file) for file in case.files]
    geometry = volumes[0].geometry
    for volume, place, name in zip(volumes, places, channel_names, strict=True):
        if difference := grid_difference(volume.geometry, geometry):
            raise ValueError(f"all channels must be on one grid, and this one must have the first one's {difference}: "
                             f"{place}")  # fmt: skip
        if name.lower() == "ct":
            padding = None if case.series is None else padding_hu(case.series.files[0])
            check_hounsfield(volume.values, place, padding=padding, assume_hu=assume_hu)
    turned = Turn() if order is None else turn(geometry.order, to=order)
    return Scan(case, tuple(turned.apply(volume.values) for volume in volumes), geometry, turned)


def _stem(file: Path) -> str:
    name = file.name.removesuffix(".gz")
    return name.rpartition(".")[0] or name
