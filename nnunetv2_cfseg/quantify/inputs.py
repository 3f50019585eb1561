"""Finds the segmentations to quantify and the scans that they belong to."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from nnunetv2_cfseg.files.case_names import check_utf8, one_name_each
from nnunetv2_cfseg.imaging.case_images import find_case_images
from nnunetv2_cfseg.imaging.segmentations import case_files


@dataclass(frozen=True)
class Scan:
    """A segmentation and the scan that it was drawn on.

    Attributes:
        case: its name, without file ending.
        segmentation: its file.
        image: the scan's file or folder of DICOM slices; None if it is not given.
        series: which series of the DICOM folder, from 1, if there are several.
    """

    case: str
    segmentation: Path
    image: Path | None = None
    series: int | None = None


def default_dataset_json(inputs: Sequence[Path]) -> Path:
    """``dataset.json`` in the first folder, where nnU-Net's prediction writes it, or beside the first file.

    Raises:
        ValueError: an input does not exist.
    """
    for path in inputs:
        _check_exists(path)
    folder = next((path for path in inputs if path.is_dir()), inputs[0].parent)
    return folder / "dataset.json"


def find_scans(
    inputs: Sequence[Path], *, file_ending: str, images: Path | None = None, series: int | None = None
) -> list[Scan]:
    """All segmentations among the inputs, in order; those of a folder are sorted.

    Args:
        inputs: files and folders of them.
        file_ending: of segmentations and images, as in ``dataset.json``.
        images: a folder of ``CASE_0000`` and the ending or of folders ``CASE`` of DICOM slices; the file or the DICOM
            folder of the only case.
        series: which series of a DICOM folder, from 1, if there are several.

    Raises:
        ValueError: a path does not exist, a folder has no segmentations, a file has another ending, or a case is given
            twice or has no image.
    """
    named = one_name_each(_files(inputs, file_ending))
    if images is None:
        return [Scan(case, file) for case, file in named.items()]
    case_images = find_case_images(named, images, file_ending, channel_needed=True)
    return [Scan(case, file, case_images[case], series) for case, file in named.items()]


def _files(inputs: Sequence[Path], file_ending: str) -> Iterator[tuple[str, Path]]:
    for path in inputs:
        if path.is_dir():
            yield from case_files(path, file_ending).items()
            continue
        _check_exists(path)
        if not path.name.endswith(file_ending) or path.name == file_ending:
            raise ValueError(f"a segmentation must be named CASE{file_ending}, as dataset.json says: {path}")
        yield path.name.removesuffix(file_ending), path


def _check_exists(path: Path) -> None:
    check_utf8(path)
    if not path.exists():
        raise ValueError(f"a segmentation must be a file or a folder of some, and there is none: {path}")
