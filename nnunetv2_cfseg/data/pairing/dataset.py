"""A raw nnU-Net dataset of pairs, with a test set, folds and a sidecar."""

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
    """Who is tested on, and with whom.

    Attributes:
        patients: of each case.
        test: names of the test cases; None: those that the dataset brings, or the ``test_share``.
        test_share: of the patients, drawn.
        folds: of the training cases, at most so many.
        seed: decides the test set and the folds.

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
    """Write a dataset that nnU-Net can plan: thin images, thick labels repeated over their slabs.

    All cases are looked at before anything is written. A run that was stopped goes on where it was: complete cases
    are kept as long as their files are the same.

    Args:
        folder: named as nnU-Net names datasets; new, empty, or begun with the same settings.
        pictures: whether to draw an overview of each case.

    Returns:
        The sidecar's content.

    Raises:
        ValueError: a case that cannot be paired, bad numbers, or a folder that holds something else or that another
            run is at work in.
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
    """The cases, each in the training or the test set.

    Raises:
        ValueError: bad numbers, or test cases that are none, that are all, that the dataset brings some of already, or
            whose patient stays in training.
    """
    cases = sources.cases
    if split.test is not None or split.test_share:
        brought = [case.name for case in cases if case.part == TEST]
        if brought:
            raise ValueError(f"a test set must not be chosen where the dataset brings one, and {brought[0]} is in it")
        test = set(split.test or ()) | set(choose_test(split.patients, share=split.test_share, seed=split.seed))
        unknown = sorted(test - {case.name for case in cases})
        if unknown:
            raise ValueError(f"test cases must be cases of the dataset, and {unknown[0]} is none")
        cases = tuple(replace(case, part=TEST if case.name in test else TRAINING) for case in cases)
    if all(case.part == TEST for case in cases):
        raise ValueError(f"a case must be left to train on, and all {len(cases)} are in the test set")
    check_apart(split.patients, {case.name for case in cases if case.part == TEST})
    return sorted(cases, key=lambda case: case.name)


def _write_cases(
    jobs: Sequence[CaseFiles], dataset: ResumableDataset, sidecar: dict[str, Any], num_processes: int, progress: bool
) -> None:
    """Write cases and, after each, the sidecar with its record."""
    dataset.write_record(sidecar)
    for name, record in _each(write_case, jobs, "Pairing", num_processes, progress):
        sidecar["cases"] = dict(sorted({**sidecar["cases"], name: record}.items()))
        dataset.write_record(sidecar)


def _write_splits(folder: Path, sidecar: Mapping[str, Any], split: Split) -> None:
    """Folds, of two patients or more."""
    patients = {name: split.patients[name] for name in sidecar["training"]}
    if len(set(patients.values())) < 2:
        return
    shown = {name: [str(value) for value in sidecar["cases"][name]["values"]] for name in patients}
    write_splits(folder, patient_folds(patients, shown, folds=split.folds, seed=split.seed))


def _each(function: Any, jobs: Sequence[CaseFiles], what: str, num_processes: int, progress: bool) -> Any:
    """The results, with a bar."""
    results = parallel_map(function, jobs, num_processes=min(num_processes, max(1, len(jobs))))
    return progress_bar(results, doing=what, total=len(jobs), show=progress and bool(jobs))


def _dataset_json(source: Mapping[str, Any], num_training: int) -> dict[str, Any]:
    """The source's, but for what it says of its files."""
    dropped = ("numTraining", "numTest", "file_ending", "overwrite_image_reader_writer", "training", "test")
    return {
        **{key: value for key, value in source.items() if key not in dropped},
        "numTraining": num_training,
        "file_ending": FILE_ENDING,
    }
