"""The scans to segment: finding them, reading them, and the grid they came on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from nnunetv2_cfseg.data.checks import check_hounsfield, read_image
from nnunetv2_cfseg.data.pairing.grids import Grid, check_slice_axis, grid_of, read_grid
from nnunetv2_cfseg.inference.dicom import Series, choose_series, read_series

NIFTI = (".nii", ".nii.gz")


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
        channels: (Z, Y, X) each, as in the file.
        grid: where the voxels lie.
    """

    case: Case
    channels: tuple[NDArray[Any], ...]
    grid: Grid


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


def read_scan(case: Case, channel_names: Sequence[str]) -> Scan:
    """Read all channels.

    Raises:
        ValueError: another number of channels than the model takes, a file that is broken, is no volume, lies askew or
            is no CT where one is due, or channels that are not on one grid.
    """
    if case.series is not None:
        folder = case.series.files[0].parent
        image = read_series(case.series)
        check_slice_axis(image.GetDirection(), folder)
        values = sitk.GetArrayFromImage(image)
        if channel_names[0].lower() == "ct":
            check_hounsfield(values, folder)
        return Scan(case, (values,), grid_of(image))
    if len(case.files) != len(channel_names):
        raise ValueError(
            f"the model takes {len(channel_names)} channels ({', '.join(channel_names)}), and there are "
            f"{len(case.files)} files of {case.name}"
        )
    grids = [read_grid(file) for file in case.files]
    for grid, file in zip(grids[1:], case.files[1:], strict=True):
        if not _same(grid, grids[0]):
            raise ValueError(
                f"all channels must be on one grid, that of {case.files[0].name}, and this one is not: {file}"
            )
    channels = tuple(read_voxels(file, grid.shape) for file, grid in zip(case.files, grids, strict=True))
    for values, name, file in zip(channels, channel_names, case.files, strict=True):
        if name.lower() == "ct":
            check_hounsfield(values, file)
    return Scan(case, channels, grids[0])


def read_voxels(file: Path, shape: tuple[int, int, int]) -> NDArray[Any]:
    """Voxels of this shape (Z, Y, X), in the type of the file; float32 where it scales them.

    nibabel reads NIfTI in one pass and notices a truncated file; SimpleITK fills it up with zeros.

    Raises:
        ValueError: the file is broken.
    """
    if not file.name.endswith(NIFTI):
        return sitk.GetArrayFromImage(read_image(str(file)))
    try:
        stored: Any = nib.load(file, mmap=False).dataobj  # type: ignore[attr-defined]
        values = stored.get_unscaled().T.reshape(shape)  # some files have a fourth axis of one
    except Exception as error:  # zlib, struct and nibabel have each their own
        raise ValueError(f"the image cannot be read, it is truncated or of an unknown format: {file}") from error
    if (stored.slope, stored.inter) == (1, 0):
        return values
    values = values.astype(np.float32)  # nibabel's is float64
    values *= np.float32(stored.slope)
    values += np.float32(stored.inter)
    return values


def _same(one: Grid, other: Grid) -> bool:
    return one.shape == other.shape and all(
        np.allclose(getattr(one, name), getattr(other, name), rtol=0, atol=1e-3)
        for name in ("spacing_mm", "origin_mm", "direction")
    )


def _stem(file: Path) -> str:
    name = file.name.removesuffix(".gz")
    return name.rpartition(".")[0] or name
