"""Finds and reads the image of a case: a file, or a folder of DICOM slices, as ``cfseg predict`` reads both."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from nnunetv2_cfseg.imaging.dicom import Series, choose_series, find_series, read_series
from nnunetv2_cfseg.imaging.geometry import Volume
from nnunetv2_cfseg.imaging.read import read_scan


def find_case_images(
    cases: Iterable[str], images: Path, file_ending: str, *, channel_needed: bool = False
) -> dict[str, Path]:
    """The image of each case, by name.

    It is ``CASE_0000`` (the first channel) or ``CASE`` with the file ending, or a folder ``CASE`` of DICOM slices.
    The folder may itself hold the DICOM slices of the only case, or of the case that is named as the folder is.

    Args:
        cases: their names.
        images: the folder, or the file of the only case.
        file_ending: as in ``dataset.json``.
        channel_needed: do not take ``CASE`` without ``_0000``, which may be a segmentation.

    Raises:
        ValueError: there is no such folder, a case has no image, or there is one file for several cases.
    """
    names = list(cases)
    if not images.exists():
        raise ValueError(f"images must lie in a folder, and there is none: {images}")
    if not images.is_dir():
        if len(names) > 1:
            raise ValueError(f"the images of {len(names)} cases must be a folder, and are a file: {images}")
        return {names[0]: images}
    endings = [f"_0000{file_ending}"] if channel_needed else [f"_0000{file_ending}", file_ending]
    return {name: _image(name, images, endings, alone=len(names) == 1) for name in names}


def _image(name: str, images: Path, endings: Sequence[str], *, alone: bool) -> Path:
    files = [images / f"{name}{ending}" for ending in endings]
    existing = [file for file in files if file.is_file()]
    if existing:
        return existing[0]
    folder = images / name
    if folder.is_dir() and find_series(folder):
        return folder
    if (alone or images.resolve().name == name) and find_series(images):
        return images
    raise ValueError(
        f"each case needs an image, {' or '.join(file.name for file in files)}, and there is none in: {images}, nor a "
        f"folder {name} of DICOM slices"
    )


def read_case_image(image: Path, *, series: int | None = None, slices: int | None = None) -> Volume:
    """Read an image.

    Args:
        image: a file, or a folder of DICOM slices.
        series: which of the folder's series, from 1.
        slices: number of slices of the segmentation; without ``series``, the only series with so many is taken.

    Raises:
        ValueError: it cannot be read, or there are several series and no number.
    """
    if not image.is_dir():
        return read_scan(image)
    return read_series(_series(image, series, slices))


def _series(folder: Path, number: int | None, slices: int | None) -> Series:
    if number is None:
        fitting = [series for series in find_series(folder) if len(series.files) == slices]
        if len(fitting) == 1:
            return fitting[0]
    return choose_series(folder, number)
