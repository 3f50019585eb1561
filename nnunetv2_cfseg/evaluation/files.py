"""Files of an evaluation: pairs of references and predictions, their checksums, and the thick factor."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from nnunetv2_cfseg.data.pairing.sidecar import SIDECAR
from nnunetv2_cfseg.files.checksum import sha256
from nnunetv2_cfseg.files.text_files import read_json
from nnunetv2_cfseg.imaging.segmentations import case_files
from nnunetv2_cfseg.nnunet.cfseg_section import MOST_FACTOR

#: Ending of the names of folders whose slices are thick already.
THICK = "_thick"


@dataclass(frozen=True)
class Case:
    """A predicted segmentation and its reference.

    Attributes:
        name: of both files, without the ending.
        truth: file of the reference.
        prediction: file of the predicted segmentation.
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
    """Pair references and predictions by name, sorted.

    Args:
        truth: folder of the references.
        prediction: folder of the predictions.
        file_ending: of both, as in ``dataset.json``.
        chill: leave out files without a counterpart; otherwise they are an error.

    Raises:
        ValueError: a folder is empty, a file has no counterpart, or there is no pair at all.
    """
    truths, predictions = case_files(truth, file_ending), case_files(prediction, file_ending)
    if not chill:
        for name in sorted(truths.keys() ^ predictions.keys()):
            if name in truths:
                raise ValueError(f"no prediction in {prediction} for the reference {truths[name]}")
            raise ValueError(f"no reference in {truth} for the prediction {predictions[name]}")
    cases = [Case(name, truths[name], predictions[name]) for name in truths if name in predictions]
    if not cases:
        raise ValueError(f"no prediction in {prediction} has the name of a reference in {truth}")
    return cases


def read_checksums(case: Case) -> CaseChecksums:
    """The sha256 of a case's two files.

    Raises:
        ValueError: one of them is not a file.
        OSError: one of them cannot be read.
    """
    return CaseChecksums(truth=sha256(case.truth), prediction=sha256(case.prediction))


def find_unpaired(truth: Path, prediction: Path, file_ending: str) -> Unpaired:
    """The cases that ``pair_cases`` leaves out with ``chill``."""
    truths, predictions = case_files(truth, file_ending), case_files(prediction, file_ending)
    return Unpaired(
        missing_predictions=tuple(name for name in truths if name not in predictions),
        missing_truths=tuple(name for name in predictions if name not in truths),
    )


def find_factor(truth: Path, dataset_json: Path) -> int | None:
    """The number of thin slices in a thick one, from ``thin_thick.json``; None if there is none.

    The file is looked for beside ``dataset.json``, then beside the folder of the references. A folder whose name ends
    with ``_thick`` has no factor, as its slices are thick already.

    Raises:
        ValueError: a ``thin_thick.json`` is not a JSON object.
    """
    if truth.resolve().name.endswith(THICK):
        return None
    for folder in (dataset_json.resolve().parent, truth.resolve().parent):
        file = folder / SIDECAR
        factor = read_json(file).get("factor") if file.is_file() else None
        if isinstance(factor, int) and 1 < factor <= MOST_FACTOR:
            return factor
    return None
