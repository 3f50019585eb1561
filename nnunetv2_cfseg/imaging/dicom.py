"""Finds and reads scans that are folders of DICOM slices."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from nnunetv2_cfseg.errors.printable import printable
from nnunetv2_cfseg.imaging.geometry import Volume, geometry_of
from nnunetv2_cfseg.imaging.notices import say
from nnunetv2_cfseg.imaging.read import check_spacing

#: Fraction of the usual distance between slices by which one may differ, since an image has only one distance.
LARGEST_IRREGULARITY = 0.1
#: Sine of the angle between the line of the slices and their normal, as with a tilted gantry.
LARGEST_TILT = 0.01
#: Tags that distinguish series, and how they are shown: none of them names a patient.
TOLD = {
    "0008|0060": "{}", "0008|103e": '"{}"', "0018|1210": "kernel {}", "0018|0050": "slices of {} mm",
    "0028|0030": "pixels of {} mm", "0008|0008": "{}", "0020|0011": "number {}",
}  # fmt: skip
SERIES_UID = "0020|000e"
#: For messages: how many folders are named, how many files are looked at, and how many characters of a tag are shown.
MOST_NAMED, MOST_LOOKED_AT, LONGEST_TAG = 5, 5000, 60
FOLDERS_DEEP = 4


MODALITY, PIXEL_SPACING, RESCALE_TYPE, LOSSY = "0008|0060", "0028|0030", "0028|1054", "0028|2110"


@dataclass(frozen=True)
class Series:
    """Slices that belong together, in order.

    Attributes:
        files: one file for each slice.
        spacing_mm: usual distance between slices.
        irregularity: largest deviation of a distance, as a fraction of the usual one.
        tilt: sine of the angle between the line of the slices and their normal.
        uid: DICOM's Series Instance UID.
        description: modality, description, kernel, thickness, pixels and type, as in the first slice.
    """

    files: tuple[Path, ...]
    spacing_mm: float
    irregularity: float
    tilt: float
    uid: str = ""
    description: str = ""

    def __str__(self) -> str:
        slices = f"{len(self.files)} slices every {self.spacing_mm:.3g} mm"
        return f"{slices}, {self.description}" if self.description else slices


def is_dicom(file: Path) -> bool:
    """Whether a file begins like a DICOM file; False if it cannot be read."""
    try:
        with file.open("rb") as stream:
            return stream.read(132)[128:] == b"DICM"
    except OSError:
        return False


def is_one_slice(file: Path) -> bool:
    """Whether a DICOM file holds only one slice; False if it cannot be read, which the reader will report."""
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(file))
    try:
        reader.ReadImageInformation()
    except RuntimeError:
        return False
    return reader.GetDimension() < 3 or reader.GetSize()[2] == 1


def folders_of_slices(folder: Path) -> list[Path]:
    """Folders below this one that hold DICOM files; only the first ones if there are many."""
    folders: list[Path] = []
    for file in islice(_files_below(folder, FOLDERS_DEEP), MOST_LOOKED_AT):
        if file.parent != folder and file.parent not in folders and file.name != "DICOMDIR" and is_dicom(file):
            folders.append(file.parent)
            if len(folders) > MOST_NAMED:
                break
    return folders


def find_series(folder: Path, *, least: int = 2) -> list[Series]:
    """Series of a folder that have enough slices to be volumes, the longest first.

    Args:
        least: fewest slices of a series.
    """
    sitk.ProcessObject.SetGlobalWarningDisplay(False)  # it warns about every file that is no DICOM
    try:
        uids = sitk.ImageSeriesReader.GetGDCMSeriesIDs(str(folder))
        files = [sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(folder), uid) for uid in uids]
    finally:
        sitk.ProcessObject.SetGlobalWarningDisplay(True)
    return sorted((_series(names) for names in files if len(names) >= least), key=lambda series: -len(series.files))


def choose_series(folder: Path, number: int | None) -> Series:
    """The only series of a folder, or the one with a number, from 1.

    Raises:
        ValueError: there are several and no number, or none has that number; the message lists them.
    """
    series = find_series(folder)
    listed = "".join(f"\n  {index}: {one_series}" for index, one_series in enumerate(series, start=1))
    if not series:
        raise ValueError(_why_none(folder))
    if number is None and len(series) > 1:
        raise ValueError(
            f"one of {len(series)} DICOM series must be chosen with --series N: {printable(folder)}{listed}"
        )
    if number is not None and not 1 <= number <= len(series):
        raise ValueError(f"--series must be from 1 to {len(series)}, got {number}: {printable(folder)}{listed}")
    return series[(number or 1) - 1]


def read_series(series: Series) -> Volume:
    """Read a series as a volume in HU.

    Raises:
        ValueError: slices are missing, the gantry was tilted, a slice is no CT, has no pixel size or another unit than
            HU, or a file cannot be read.
    """
    folder = series.files[0].parent
    if not series.irregularity <= LARGEST_IRREGULARITY:
        raise ValueError(
            f"slices must follow one another at one distance, {series.spacing_mm:.3g} mm, and one is off by "
            f"{100 * series.irregularity:.0f} %, so slices are missing, repeated or unevenly spaced: {folder}"
        )
    if not series.tilt <= LARGEST_TILT:
        degrees = np.degrees(np.arcsin(min(series.tilt, 1)))
        raise ValueError(
            f"slices must lie straight above each other, and are off by {degrees:.2g} degrees, as with a tilted "
            f"gantry: {folder}"
        )
    for file in series.files:
        _check_header(file)
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames([str(file) for file in series.files])
    try:
        image = reader.Execute()
    except RuntimeError as error:
        raise ValueError(f"the DICOM series cannot be read, a slice is broken or of another size: {folder}") from error
    geometry = geometry_of(image)
    check_spacing(geometry.spacing_mm[::-1], folder)
    return Volume(sitk.GetArrayFromImage(image), geometry)


def _check_header(file: Path) -> None:
    """Check what SimpleITK ignores: it takes a missing pixel size for 1 mm, and any modality for CT."""
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(file))
    reader.ReadImageInformation()

    def value(tag: str) -> str:
        return reader.GetMetaData(tag).strip(" \0") if reader.HasMetaDataKey(tag) else ""

    modality, unit = value(MODALITY), value(RESCALE_TYPE)
    if modality != "CT":
        raise ValueError(f"a scan must be CT, and its modality is {modality or 'not said'}: {file}")
    if unit not in ("", "HU", "US"):  # US: unspecified, which many tools write for a CT in HU
        raise ValueError(f"a CT's values must be HU, and their rescale type is {unit}: {file}")
    sizes = value(PIXEL_SPACING).split("\\")
    if len(sizes) != 2 or not all(_is_positive(size) for size in sizes):
        raise ValueError(f"the pixel spacing must be two positive numbers of mm, and is "
                         f"{value(PIXEL_SPACING) or 'missing'}: {file}")  # fmt: skip
    if value(LOSSY) == "01":
        say(f"the scan is compressed with loss, so its HU are not exact: {file.parent}")


def _is_positive(text: str) -> bool:
    try:
        return 0 < float(text) < np.inf
    except ValueError:
        return False


def _why_none(folder: Path) -> str:
    """The error message for a folder without a volume; it says what the folder holds instead."""
    below = folders_of_slices(folder)
    if below:
        named = ", ".join(printable(subfolder.relative_to(folder)) for subfolder in below[:MOST_NAMED])
        more = " and more" if len(below) > MOST_NAMED else ""
        return (
            f"-i must be the folder of one DICOM series, and the series are in its subfolders ({named}{more}): "
            f"{printable(folder)}"
        )
    single = find_series(folder, least=1)
    if single:
        slices = "one slice" if len(single) == 1 else f"{len(single)} single slices"
        return f"a DICOM scan must have two slices or more, and this folder holds {slices}: {printable(folder)}"
    return f"-i must hold scans or DICOM slices, and there are none: {printable(folder)}"


def _files_below(folder: Path, depth: int) -> Iterator[Path]:
    """A few files of the folder and of each folder below it; links to folders are not followed."""
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError:
        return
    yield from (Path(entry) for entry in islice((entry for entry in entries if entry.is_file()), 20))
    for entry in entries:
        if depth and entry.is_dir(follow_symlinks=False):
            yield from _files_below(Path(entry), depth - 1)


def _described(reader: sitk.ImageFileReader) -> str:
    """What the header of a slice says about its series, for a list of series."""
    parts = []
    for tag, form in TOLD.items():
        text = reader.GetMetaData(tag).strip(" \0") if reader.HasMetaDataKey(tag) else ""
        if text:
            text = printable(text.replace("\\", " x " if tag == "0028|0030" else " "))
            parts.append(form.format(text[:LONGEST_TAG]))
    return ", ".join(parts)


def _series(names: tuple[str, ...]) -> Series:
    uid = description = ""
    positions, normal = np.empty((len(names), 3)), np.array([0.0, 0.0, 1.0])
    for index, name in enumerate(names):
        reader = sitk.ImageFileReader()
        reader.SetFileName(name)
        try:
            reader.ReadImageInformation()
        except RuntimeError as error:
            raise ValueError(f"the header of a DICOM slice cannot be read: {printable(name)}") from error
        positions[index] = reader.GetOrigin()
        normal = np.reshape(reader.GetDirection(), (3, 3))[:, 2]
        if index == 0:
            uid = reader.GetMetaData(SERIES_UID).strip(" \0") if reader.HasMetaDataKey(SERIES_UID) else ""
            description = _described(reader)
    if len(names) == 1:
        return Series((Path(names[0]),), 0.0, 0.0, 0.0, uid, description)
    steps = np.diff(positions, axis=0)
    along = steps @ normal
    along *= np.sign(along.sum()) or 1  # a step backwards is negative, and so far off the usual distance
    usual = float(np.median(along))
    irregularity = float(np.abs(along / usual - 1).max()) if usual else np.inf
    across = np.linalg.norm(steps - (steps @ normal)[:, None] * normal, axis=1)
    lengths = np.linalg.norm(steps, axis=1)
    tilt = float((across / np.where(lengths, lengths, 1)).max())
    return Series(tuple(Path(name) for name in names), usual, irregularity, tilt, uid, description)
