"""The files of an evaluation: which belong together, and what they hold."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nnunetv2_cfseg.case_names import check_utf8
from nnunetv2_cfseg.data.pairing.sidecar import MOST_SLICES, SIDECAR
from nnunetv2_cfseg.files import read_json
from nnunetv2_cfseg.imaging.geometry import VolumeGeometry, grid_difference
from nnunetv2_cfseg.imaging.read import read_volume

DTYPES = (np.uint8, np.uint16, np.int16, np.int32, np.int64, np.uint64)
#: How the folders are called whose slices are thick already.
THICK = "_thick"


@dataclass(frozen=True)
class Case:
    """A segmentation and what it should be.

    Attributes:
        name: of both files, without their ending.
        truth: the reference's file.
        prediction: the segmentation's file.
    """

    name: str
    truth: Path
    prediction: Path


@dataclass(frozen=True)
class Unpaired:
    """Names of cases that only one of two folders has.

    Attributes:
        missing_predictions: references without a prediction.
        missing_truths: predictions without a reference.
    """

    missing_predictions: tuple[str, ...] = ()
    missing_truths: tuple[str, ...] = ()


@dataclass(frozen=True)
class Segmentation:
    """A label map on its grid.

    Attributes:
        values: (Z, Y, X), integers of the smallest type that holds them.
        spacing_mm: z, y, x.
        origin: x, y, z in mm, as SimpleITK gives it.
        direction: the 3 x 3 direction cosines, row by row, as SimpleITK gives them.
    """

    values: np.ndarray
    spacing_mm: tuple[float, float, float]
    origin: tuple[float, ...]
    direction: tuple[float, ...]

    @property
    def geometry(self) -> VolumeGeometry:
        """Where the voxels lie."""
        (z, y, x), (right, back, up) = self.values.shape, self.origin
        return VolumeGeometry((z, y, x), self.spacing_mm, (right, back, up), self.direction)


def case_files(folder: Path, file_ending: str) -> dict[str, Path]:
    """The files of a folder by case, sorted; hidden ones are left out.

    Raises:
        ValueError: there is no such folder, or no such file in it.
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


def pair_cases(truth: Path, prediction: Path, file_ending: str, *, chill: bool = False) -> list[Case]:
    """Pair references and predictions by their names, sorted.

    Args:
        truth: folder of the references.
        prediction: folder of the predictions.
        file_ending: of both, as in ``dataset.json``.
        chill: leave out what has no counterpart; else it is an error.

    Raises:
        ValueError: an empty folder, a file without its counterpart, or no pair at all.
    """
    truths, predictions = case_files(truth, file_ending), case_files(prediction, file_ending)
    if not chill:
        for name in sorted(truths.keys() ^ predictions.keys()):
            if name in truths:
                raise ValueError(f"each reference needs a prediction in {prediction}, got none for {truths[name]}")
            raise ValueError(f"each prediction needs a reference in {truth}, got none for {predictions[name]}")
    cases = [Case(name, truths[name], predictions[name]) for name in truths if name in predictions]
    if not cases:
        raise ValueError(f"a prediction must be named as its reference is, and none in {prediction} is as in {truth}")
    return cases


def find_unpaired(truth: Path, prediction: Path, file_ending: str) -> Unpaired:
    """What ``pair_cases`` leaves out where it is chill."""
    truths, predictions = case_files(truth, file_ending), case_files(prediction, file_ending)
    return Unpaired(
        missing_predictions=tuple(name for name in truths if name not in predictions),
        missing_truths=tuple(name for name in predictions if name not in truths),
    )


def read_segmentation(file: Path) -> Segmentation:
    """Read a label map.

    Raises:
        ValueError: the file is missing or truncated, its image is not 3D, or it holds values that are no integers.
    """
    volume = read_volume(file)
    geometry = volume.geometry
    return Segmentation(_as_labels(volume.values, file), geometry.spacing_mm, geometry.origin_mm, geometry.direction)


def check_same_grid(prediction: Segmentation, truth: Segmentation, *, file: Path) -> None:
    """Refuse a prediction whose voxels lie elsewhere than its reference's.

    Args:
        file: of the prediction, for the message.

    Raises:
        ValueError: another size, spacing, origin or direction.
    """
    if difference := grid_difference(prediction.geometry, truth.geometry):
        raise ValueError(f"a prediction must have its reference's {difference}: {file}")


def find_factor(truth: Path, dataset_json: Path) -> int | None:
    """How many thin slices a thick one holds, where a ``thin_thick.json`` says so.

    It lies beside ``dataset.json`` or the folder of the references. In a folder whose name ends with ``_thick`` slices
    are thick already.

    Raises:
        ValueError: a ``thin_thick.json`` that is no JSON object.
    """
    if truth.resolve().name.endswith(THICK):
        return None
    for folder in (dataset_json.resolve().parent, truth.resolve().parent):
        file = folder / SIDECAR
        factor = read_json(file).get("factor") if file.is_file() else None
        if isinstance(factor, int) and 1 < factor <= MOST_SLICES:
            return factor
    return None


def _as_labels(values: np.ndarray, file: Path) -> np.ndarray:
    if values.dtype.kind == "f":
        wrong = values[(values != np.rint(values)) | (np.abs(values) > np.iinfo(np.int32).max)]
        if wrong.size:
            raise ValueError(f"label values must be integers, got {wrong[0]!s}: {file}")
    low, high = int(values.min()), int(values.max())
    smallest = next(t for t in DTYPES if np.iinfo(t).min <= low and high <= np.iinfo(t).max)
    return values.astype(smallest, copy=False)
