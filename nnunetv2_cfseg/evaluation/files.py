"""The files of an evaluation: which belong together, and what they hold."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from nnunetv2_cfseg.data.pairing.sidecar import SIDECAR
from nnunetv2_cfseg.files.checksum import sha256
from nnunetv2_cfseg.files.text_files import read_json
from nnunetv2_cfseg.imaging.segmentations import case_files
from nnunetv2_cfseg.nnunet.cfseg_section import MOST_FACTOR

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
class CaseChecksums:
    """The sha256 of a case's two files."""

    truth: str
    prediction: str


@dataclass(frozen=True)
class Unpaired:
    """Names of cases that only one of two folders has.

    Attributes:
        missing_predictions: references without a prediction.
        missing_truths: predictions without a reference.
    """

    missing_predictions: tuple[str, ...] = ()
    missing_truths: tuple[str, ...] = ()


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


def read_checksums(case: Case) -> CaseChecksums:
    """Checksums of a case's files.

    Raises:
        ValueError: one is no file.
        OSError: one cannot be read.
    """
    return CaseChecksums(truth=sha256(case.truth), prediction=sha256(case.prediction))


def find_unpaired(truth: Path, prediction: Path, file_ending: str) -> Unpaired:
    """What ``pair_cases`` leaves out where it is chill."""
    truths, predictions = case_files(truth, file_ending), case_files(prediction, file_ending)
    return Unpaired(
        missing_predictions=tuple(name for name in truths if name not in predictions),
        missing_truths=tuple(name for name in predictions if name not in truths),
    )


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
        if isinstance(factor, int) and 1 < factor <= MOST_FACTOR:
            return factor
    return None
