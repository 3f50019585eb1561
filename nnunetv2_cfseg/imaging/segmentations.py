"""Finds, reads and compares label maps."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from nnunetv2_cfseg.files.case_names import check_utf8
from nnunetv2_cfseg.imaging.geometry import Volume, grid_difference
from nnunetv2_cfseg.imaging.read import read_volume

DTYPES = (np.uint8, np.uint16, np.int16, np.int32, np.int64, np.uint64)


def case_files(folder: Path, file_ending: str) -> dict[str, Path]:
    """The files of a folder by case name, sorted; hidden ones are left out.

    Raises:
        ValueError: the folder does not exist, or holds no file with this ending.
    """
    if not folder.is_dir():
        raise ValueError(f"segmentations must lie in a folder, and there is none: {folder}")
    files = (file for file in folder.glob(f"[!.]*{file_ending}") if file.is_file())
    named = {file.name.removesuffix(file_ending): file for file in files}
    for file in (folder, *named.values()):
        check_utf8(file)
    if not named:
        raise ValueError(f"a folder of segmentations must hold files that end with {file_ending}, got none: {folder}")
    return dict(sorted(named.items()))


def read_segmentation(file: Path) -> Volume:
    """Read a label map; its values get the smallest integer type that holds them.

    Raises:
        ValueError: the file is missing or truncated, its image is not 3D, or it holds values that are no integers.
    """
    volume = read_volume(file)
    return Volume(_as_labels(volume.values, file), volume.geometry)


def check_same_grid(prediction: Volume, truth: Volume, *, file: Path) -> None:
    """Refuse a prediction whose voxels lie elsewhere than its reference's.

    Args:
        file: of the prediction, for the message.

    Raises:
        ValueError: size, spacing, origin or direction differ.
    """
    if difference := grid_difference(prediction.geometry, truth.geometry):
        raise ValueError(f"a prediction must have its reference's {difference}: {file}")


def _as_labels(values: np.ndarray, file: Path) -> np.ndarray:
    if values.dtype.kind == "f":
        wrong = values[(values != np.rint(values)) | (np.abs(values) > np.iinfo(np.int32).max)]
        if wrong.size:
            raise ValueError(f"label values must be integers, got {wrong[0]!s}: {file}")
    low, high = int(values.min()), int(values.max())
    smallest = next(t for t in DTYPES if np.iinfo(t).min <= low and high <= np.iinfo(t).max)
    return values.astype(smallest, copy=False)
