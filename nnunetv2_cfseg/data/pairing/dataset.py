"""Writes a raw nnU-Net dataset of pairs, with a test set, folds and a sidecar."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from nnunetv2_cfseg.data.pairing.files import FILE_ENDING, CaseFiles, check_case, write_case
from nnunetv2_cfseg.data.pairing.patients import check_apart, checked_share, choose_test, patient_folds
from nnunetv2_cfseg.data.pairing.settings import PairSettings
from nnunetv2_cfseg.data.pairing.sidecar import new_record, pairs_in
from nnunetv2_cfseg.data.pairing.sources import TEST, TRAINING, Source, Sources
from nnunetv2_cfseg.data.phantom.settings import checked_seed
from nnunetv2_cfseg.files.resumable_dataset import ResumableDataset
from nnunetv2_cfseg.nnunet.splits import write_splits
from nnunetv2_cfseg.processes.parallel_map import checked_processes, parallel_map
from nnunetv2_cfseg.processes.progress_bar import progress_bar

MOST_FOLDS = 1000


@dataclass(frozen=True)
class Split:
    """How cases are split into a test set and folds.

    Attributes:
        patients: patient of each case.
        test: names of the test cases; None: the dataset's own test cases, or the ``test_share``.
        test_share: fraction of the patients that is drawn for the test set.
        folds: most folds of the training cases.
        seed: for the test set and the folds.

    Raises:
        ValueError: a number out of its range.
    """

    patients: Mapping[str, str]
    test: Collection[str] | None = None
    test_share: float = 0.0
    folds: int = 5
    seed: int = 0

    def __post_init__(self) -> None:
        checked_seed(self.seed)
        checked_share(self.test_share)
        if not 2 <= self.folds <= MOST_FOLDS:
            raise ValueError(f"the number of folds must be from 2 to {MOST_FOLDS}, got {self.folds}")


def make_dataset(
    sources: Sources,
    folder: Path,
    *,
    settings: PairSettings,
    split: Split,
    num_processes: int = 1,
    pictures: bool = True,
    progress: bool = True,
) -> dict[str, Any]:
    """Write a dataset that nnU-Net can plan: thin images, and thick labels repeated over their slabs.

    All cases are checked before anything is written. A run that was stopped can be continued: complete cases are kept
    as long as their files are unchanged.

    Args:
        folder: named as nnU-Net names datasets; new, empty, or begun with the same settings.
        pictures: draw an overview of each case.

    Returns:
        The sidecar's content.

    Raises:
        ValueError: a case cannot be paired, a number is out of range, the folder holds something else, or another run
            works in it.
        OSError: a file cannot be read or written, or a process was killed.
    """
    checked_processes(num_processes)
    cases = assign_parts(sources, split)
    start = new_record(
        cases, settings, sources.dataset_json, patients=split.patients, folds=split.folds, seed=split.seed
    )
    dataset = pairs_in(folder)
    with dataset.writing(start) as before:
        known = before.get("cases", {})
        jobs = [CaseFiles(case, settings, folder, pictures, known.get(case.name)) for case in cases]
        done = dict(_each(check_case, jobs, "Checking cases", num_processes, progress))
        sidecar = {**start, "cases": {name: known[name] for name in sorted(done) if done[name]}}
        _write_cases([job for job in jobs if not done[job.source.name]], dataset, sidecar, num_processes, progress)
        _write_splits(folder, sidecar, split)
        dataset.finish(_dataset_json(sources.dataset_json, len(sidecar["training"])))
    return sidecar


def assign_parts(sources: Sources, split: Split) -> list[Source]:
    """The cases, sorted, each in the training or the test set.

    Raises:
        ValueError: a number is out of range, a test case is unknown, no case is left for training, the dataset has a
            test set already, or a patient is in both sets.
    """
    cases = sources.cases
    if split.test is not None or split.test_share:
        existing = [case.name for case in cases if case.part == TEST]
        if existing:
            raise ValueError(f"the dataset has a test set already, with {existing[0]}; another one must not be chosen")
        test = set(split.test or ()) | set(choose_test(split.patients, share=split.test_share, seed=split.seed))
        unknown = sorted(test - {case.name for case in cases})
        if unknown:
            raise ValueError(f"unknown test case {unknown[0]!r}; test cases must be cases of the dataset")
        cases = tuple(replace(case, part=TEST if case.name in test else TRAINING) for case in cases)
    if all(case.part == TEST for case in cases):
        raise ValueError(f"all {len(cases)} cases are in the test set; at least one must be left for training")
    check_apart(split.patients, {case.name for case in cases if case.part == TEST})
    return sorted(cases, key=lambda case: case.name)


def _write_cases(
    jobs: Sequence[CaseFiles], dataset: ResumableDataset, sidecar: dict[str, Any], num_processes: int, progress: bool
) -> None:
    """Write cases and, after each one, the sidecar with its record."""
    dataset.write_record(sidecar)
    for name, record in _each(write_case, jobs, "Pairing", num_processes, progress):
        sidecar["cases"] = dict(sorted({**sidecar["cases"], name: record}.items()))
        dataset.write_record(sidecar)


def _write_splits(folder: Path, sidecar: Mapping[str, Any], split: Split) -> None:
    """Write folds if there are at least two patients."""
    patients = {name: split.patients[name] for name in sidecar["training"]}
    if len(set(patients.values())) < 2:
        return
    classes = {name: [str(value) for value in sidecar["cases"][name]["values"]] for name in patients}
    write_splits(folder, patient_folds(patients, classes, folds=split.folds, seed=split.seed))


def _each(function: Any, jobs: Sequence[CaseFiles], what: str, num_processes: int, progress: bool) -> Any:
    """The results of a function for all jobs, with a progress bar."""
    results = parallel_map(function, jobs, num_processes=min(num_processes, max(1, len(jobs))))
    return progress_bar(results, doing=what, total=len(jobs), show=progress and bool(jobs))


def _dataset_json(source: Mapping[str, Any], num_training: int) -> dict[str, Any]:
    """The source's ``dataset.json`` with the number and the ending of the new files."""
    dropped = ("numTraining", "numTest", "file_ending", "overwrite_image_reader_writer", "training", "test")
    return {
        **{key: value for key, value in source.items() if key not in dropped},
        "numTraining": num_training,
        "file_ending": FILE_ENDING,
    }
