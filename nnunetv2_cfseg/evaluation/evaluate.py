"""Measure all classes of all cases in a folder of segmentations."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from nnunetv2_cfseg.errors.failures import explain
from nnunetv2_cfseg.evaluation.files import Case, CaseChecksums, Unpaired, find_unpaired, pair_cases, read_checksums
from nnunetv2_cfseg.evaluation.metric_definitions import KEYS
from nnunetv2_cfseg.evaluation.metrics import MetricSettings, measure
from nnunetv2_cfseg.files.schema import read_document
from nnunetv2_cfseg.imaging.labels import check_labels
from nnunetv2_cfseg.imaging.segmentations import check_same_grid, read_segmentation
from nnunetv2_cfseg.nnunet.classes import Classes, read_classes_and_ending
from nnunetv2_cfseg.nnunet.plans import LIMIT_BYTES as PLANS_LIMIT_BYTES
from nnunetv2_cfseg.nnunet.plans import ReaderPlans
from nnunetv2_cfseg.processes.parallel_map import parallel_map
from nnunetv2_cfseg.processes.progress_bar import progress_bar

#: Voxel counts, named as nnU-Net names them.
COUNTS = ("TP", "FP", "FN", "TN", "n_pred", "n_ref")
#: Columns of an evaluation's table.
TABLE_COLUMNS = ("case", "class", "label", "presence", *KEYS, *COUNTS)
#: nnU-Net's readers of 3D medical images.
READERS = ("SimpleITKIO", "NibabelIO", "NibabelIOWithReorient")


@dataclass(frozen=True)
class Evaluation:
    """The measures of all cases, and what they were measured with.

    Attributes:
        table: a row for each case and class, cases sorted, classes in their order; its columns are TABLE_COLUMNS.
        classes: the dataset's.
        cases: the measured cases, sorted.
        settings: what the measures depend on.
        unpaired: cases that were left out.
        checksums: of each case's files, taken when it was measured.
    """

    table: pd.DataFrame
    classes: Classes
    cases: list[Case]
    settings: MetricSettings
    unpaired: Unpaired = field(default_factory=Unpaired)
    checksums: Mapping[str, CaseChecksums] = field(default_factory=dict)


def evaluate_folders(
    truth: Path,
    prediction: Path,
    *,
    dataset_json: Path,
    plans_json: Path | None,
    settings: MetricSettings,
    chill: bool = False,
    num_processes: int = 2,
    progress: bool = True,
) -> Evaluation:
    """Measure every class of every case.

    Each process holds the two files of one case. If several cases fail, the error of the first one is raised.

    Args:
        truth: folder of reference segmentations.
        prediction: folder of predicted segmentations, named like their references.
        dataset_json: names classes and file ending.
        plans_json: plans of the predictions' model, which must read 3D medical images; None skips this check.
        settings: what the measures depend on.
        chill: leave out files without a counterpart; otherwise they are an error.
        num_processes: number of measuring processes.
        progress: show a bar.

    Raises:
        ValueError: files are missing, cannot be read, hold labels that the dataset lacks, or lie on different grids.
        OSError: a process was killed.
    """
    if num_processes < 1:
        raise ValueError(f"the number of processes must be >= 1, got {num_processes}")
    classes, cases, unpaired = find_cases(
        truth, prediction, dataset_json=dataset_json, plans_json=plans_json, chill=chill
    )
    jobs = [_Job(index, case, classes, settings) for index, case in enumerate(cases)]
    measured: dict[int, _Outcome] = {}
    bar = progress_bar(doing="Evaluating", total=len(jobs), show=progress)
    with bar, closing(parallel_map(_try_case, jobs, num_processes=min(num_processes, len(jobs)))) as outcomes:
        for outcome in _without_failure(outcomes):
            measured[outcome.index] = outcome
            bar.update()
    rows = [row for job in jobs for row in measured[job.index].rows]
    checksums = {job.case.name: made for job in jobs if (made := measured[job.index].checksums)}
    table = pd.DataFrame(rows, columns=list(TABLE_COLUMNS))
    return Evaluation(table, classes, cases, settings, unpaired, checksums)


def find_cases(
    truth: Path, prediction: Path, *, dataset_json: Path, plans_json: Path | None, chill: bool
) -> tuple[Classes, list[Case], Unpaired]:
    """Find what there is to measure; the arguments are those of :func:`evaluate_folders`.

    Returns:
        The dataset's classes, the cases sorted, and the cases that are left out.

    Raises:
        ValueError: files are missing, or the dataset's labels or the plans are not nnU-Net's.
    """
    classes, file_ending = read_classes_and_ending(dataset_json)
    if plans_json is not None:
        check_reader(plans_json)
    cases = pair_cases(truth, prediction, file_ending, chill=chill)
    return classes, cases, find_unpaired(truth, prediction, file_ending)


def check_reader(plans_json: Path) -> None:
    """Refuse plans whose image reader is not for 3D medical images.

    Raises:
        ValueError: the reader is another one, or the plans cannot be read.
    """
    reader = read_document(plans_json, ReaderPlans, limit_bytes=PLANS_LIMIT_BYTES).image_reader_writer
    if reader not in READERS:
        raise ValueError(f"plans must read images with one of {', '.join(READERS)}, got {reader}: {plans_json}")


@dataclass(frozen=True)
class _Job:
    index: int
    case: Case
    classes: Classes
    settings: MetricSettings


@dataclass(frozen=True)
class _Outcome:
    index: int
    rows: list[dict[str, Any]]
    error: ValueError | None = None
    checksums: CaseChecksums | None = None


def _without_failure(outcomes: Iterable[_Outcome]) -> Iterator[_Outcome]:
    """Raise the error of the first failed case, as soon as all cases before it are done."""
    failures: dict[int, ValueError] = {}
    done: set[int] = set()
    for outcome in outcomes:
        done.add(outcome.index)
        if outcome.error is not None:
            failures[outcome.index] = outcome.error
        elif not failures:
            yield outcome
        if failures and done.issuperset(range(min(failures))):
            raise failures[min(failures)]


def _try_case(job: _Job) -> _Outcome:
    """Return an error as a result, so that the reported case does not depend on which process fails first."""
    try:
        checksums = read_checksums(job.case)  # first, so that a file that changes meanwhile gets no valid checksum
        return _Outcome(job.index, _measure_case(job.case, job.classes, job.settings), checksums=checksums)
    except Exception as error:
        files = (job.case.prediction, job.case.truth)
        return _Outcome(job.index, [], error=ValueError(explain(error, files, doing="measured")))


def _measure_case(case: Case, classes: Classes, settings: MetricSettings) -> list[dict[str, Any]]:
    truth, prediction = read_segmentation(case.truth), read_segmentation(case.prediction)
    check_same_grid(prediction, truth, file=case.prediction)
    for file, segmentation in ((case.truth, truth), (case.prediction, prediction)):
        check_labels(segmentation.values, set(classes.values), file)
    ignore = None if classes.ignore is None else truth.values == classes.ignore
    rows = []
    for label_class in classes.foreground:
        measures = measure(
            label_class.mask(truth.values),
            label_class.mask(prediction.values),
            truth.geometry.spacing_mm,
            settings=settings,
            ignore=ignore,
        )
        rows.append({"case": case.name, "class": label_class.name, "label": label_class.key, **measures})
    return rows
