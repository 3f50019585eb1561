"""A scan that is a folder of DICOM slices."""

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

#: Share of the usual distance between slices by which one may differ, since an image has but one distance.
LARGEST_IRREGULARITY = 0.1
#: Sine of the angle between the line of the slices and their normal, as with a tilted gantry.
LARGEST_TILT = 0.01
#: What tells series apart, by its tag: none of it names a patient.
TOLD = {
    "0008|0060": "{}", "0008|103e": '"{}"', "0018|1210": "kernel {}", "0018|0050": "slices of {} mm",
    "0028|0030": "pixels of {} mm", "0008|0008": "{}", "0020|0011": "number {}",
}  # fmt: skip
SERIES_UID = "0020|000e"
#: Folders named in a message, files and folders looked into for it, and characters of a tag that it shows.
MOST_NAMED, MOST_LOOKED_AT, LONGEST_TAG = 5, 5000, 60
FOLDERS_DEEP = 4


MODALITY, PIXEL_SPACING, RESCALE_TYPE, LOSSY = "0008|0060", "0028|0030", "0028|1054", "0028|2110"


@dataclass(frozen=True)
class Series:
    """Slices that belong together, in order.

    Attributes:
        files: one a slice.
        spacing_mm: between slices, the usual one.
        irregularity: largest share of it by which a distance differs.
        tilt: sine of the angle between the line of the slices and their normal.
        uid: the series' own.
        description: modality, description, kernel, thickness, pixels and type, as the first slice has them.
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
    """Whether a file begins as DICOM files do."""
    try:
        with file.open("rb") as stream:
            return stream.read(132)[128:] == b"DICM"
    except OSError:
        return False


def is_one_slice(file: Path) -> bool:
    """Whether a DICOM file holds no more than one; what cannot be read is left to the reader."""
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(file))
    try:
        reader.ReadImageInformation()
    except RuntimeError:
        return False
    return reader.GetDimension() < 3 or reader.GetSize()[2] == 1


def folders_of_slices(folder: Path) -> list[Path]:
    """Folders below this one that hold DICOM, some of them where there are many."""
    found: list[Path] = []
    for file in islice(_files_below(folder, FOLDERS_DEEP), MOST_LOOKED_AT):
        if file.parent != folder and file.parent not in found and file.name != "DICOMDIR" and is_dicom(file):
            found.append(file.parent)
            if len(found) > MOST_NAMED:
                break
    return found


def find_series(folder: Path, *, least: int = 2) -> list[Series]:
    """Series of a folder that have slices enough to be volumes, the longest first.

    Args:
        least: slices.
    """
    sitk.ProcessObject.SetGlobalWarningDisplay(False)  # of every file that is no DICOM
    try:
        ids = sitk.ImageSeriesReader.GetGDCMSeriesIDs(str(folder))
        files = [sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(folder), one) for one in ids]
    finally:
        sitk.ProcessObject.SetGlobalWarningDisplay(True)
    return sorted((_series(names) for names in files if len(names) >= least), key=lambda series: -len(series.files))


def choose_series(folder: Path, number: int | None) -> Series:
    """The only series of a folder, or that of a number, from 1.

    Raises:
        ValueError: there are several and no number, or none of that number; the message lists them.
    """
    found = find_series(folder)
    listed = "".join(f"\n  {index}: {series}" for index, series in enumerate(found, start=1))
    if not found:
        raise ValueError(_why_none(folder))
    if number is None and len(found) > 1:
        raise ValueError(
            f"one of {len(found)} DICOM series must be chosen with --series N: {printable(folder)}{listed}"
        )
    if number is not None and not 1 <= number <= len(found):
        raise ValueError(f"--series must be from 1 to {len(found)}, got {number}: {printable(folder)}{listed}")
    return found[(number or 1) - 1]


def read_series(series: Series) -> Volume:
    """Read a series, in HU.

    Raises:
        ValueError: slices are missing, the gantry was tilted, a slice is no CT, does not say its pixels' size or its
            unit is not HU, or a file cannot be read.
    """
    folder = series.files[0].parent
    if not series.irregularity <= LARGEST_IRREGULARITY:
        raise ValueError(
            f"slices must follow one another at one distance, {series.spacing_mm:.3g} mm, and one is off by "
            f"{100 * series.irregularity:.0f} %, so slices are missing, there twice or of several distances: {folder}"
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
    """What SimpleITK does not look at: it takes a missing pixel size for 1 mm, and any modality for CT."""
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(file))
    reader.ReadImageInformation()

    def value(tag: str) -> str:
        return reader.GetMetaData(tag).strip(" \0") if reader.HasMetaDataKey(tag) else ""

    modality, unit = value(MODALITY), value(RESCALE_TYPE)
    if modality != "CT":
        raise ValueError(f"a scan must be CT, and its modality is {modality or 'not said'}: {file}")
    if unit not in ("", "HU", "US"):  # US: unspecified, which many tools write of a CT in HU
        raise ValueError(f"a CT's values must be HU, and their rescale type is {unit}: {file}")
    sizes = value(PIXEL_SPACING).split("\\")
    if len(sizes) != 2 or not all(_is_positive(size) for size in sizes):
        raise ValueError(f"pixels must be some mm apart, and the pixel spacing is {value(PIXEL_SPACING) or 'missing'}: "
                         f"{file}")  # fmt: skip
    if value(LOSSY) == "01":
        say(f"compressed with loss, so that HU are off by some: {file.parent}")


def _is_positive(text: str) -> bool:
    try:
        return 0 < float(text) < np.inf
    except ValueError:
        return False


def _why_none(folder: Path) -> str:
    """What a folder without a volume holds instead."""
    below = folders_of_slices(folder)
    if below:
        named = ", ".join(printable(place.relative_to(folder)) for place in below[:MOST_NAMED])
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
    """A few files of each folder, links to folders left out."""
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError:
        return
    yield from (Path(entry) for entry in islice((entry for entry in entries if entry.is_file()), 20))
    for entry in entries:
        if depth and entry.is_dir(follow_symlinks=False):
            yield from _files_below(Path(entry), depth - 1)


def _described(reader: sitk.ImageFileReader) -> str:
    """What the header of a slice says of its series."""
    told = []
    for tag, form in TOLD.items():
        text = reader.GetMetaData(tag).strip(" \0") if reader.HasMetaDataKey(tag) else ""
        if text:
            text = printable(text.replace("\\", " x " if tag == "0028|0030" else " "))
            told.append(form.format(text[:LONGEST_TAG]))
    return ", ".join(told)


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
    along *= np.sign(along.sum()) or 1  # one that goes back is as far off as can be
    usual = float(np.median(along))
    irregularity = float(np.abs(along / usual - 1).max()) if usual else np.inf
    across = np.linalg.norm(steps - (steps @ normal)[:, None] * normal, axis=1)
    lengths = np.linalg.norm(steps, axis=1)
    tilt = float((across / np.where(lengths, lengths, 1)).max())
    return Series(tuple(Path(name) for name in names), usual, irregularity, tilt, uid, description)
