"""Writes a raw nnU-Net dataset of phantoms, with a held-out test set."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from nnunetv2_cfseg import __version__
from nnunetv2_cfseg.data.phantom.files import FILE_ENDING, CaseFiles, write_case
from nnunetv2_cfseg.data.phantom.folds import choose_folds
from nnunetv2_cfseg.data.phantom.settings import CLASSES, PhantomSettings, checked_seed
from nnunetv2_cfseg.files.checksum import sha256
from nnunetv2_cfseg.files.resumable_dataset import ResumableDataset
from nnunetv2_cfseg.files.text_files import read_json
from nnunetv2_cfseg.nnunet.splits import write_splits
from nnunetv2_cfseg.processes.parallel_map import checked_processes, parallel_map
from nnunetv2_cfseg.processes.progress_bar import progress_bar

#: File with the settings that the dataset was begun with; a folder with this file was made by ``cfseg phantom``.
RECORD = "phantom.json"
ALL_CLASSES = tuple(CLASSES)
MOST_CASES = 100_000


def make_dataset(
    settings: PhantomSettings,
    folder: Path,
    *,
    num_training: int,
    num_test: int,
    seed: int,
    num_processes: int = 1,
    progress: bool = True,
) -> None:
    """Write a dataset that nnU-Net can plan: scans, labels, ``dataset.json`` and, with two cases or more, folds.

    Test cases have labels too and are numbered after the training cases, so adding some changes nothing else. With a
    factor above 1 every case also has a thick scan and thick labels, in folders that end with ``_thick``. A run that
    was stopped can be continued: complete cases are kept as long as their files are unchanged.

    Args:
        folder: named as nnU-Net names datasets; new, empty, or begun with the same settings.
        seed: determines each case together with the case's number; the number of processes has no influence.

    Raises:
        ValueError: a number is out of range, the folder holds something else, or another run works in it.
        OSError: a file cannot be read or written, or a process was killed.
    """
    _check_numbers(num_training, num_test, seed=seed, num_processes=num_processes)
    settings = replace(settings, frequencies={name: settings.frequencies.get(name, 0.0) for name in CLASSES})
    record = _record(settings, num_training=num_training, num_test=num_test, seed=seed)
    parts = ["Tr"] * num_training + ["Ts"] * num_test
    cases = [CaseFiles(settings, folder, seed, index, part) for index, part in enumerate(parts)]
    settings.require_memory(processes=min(num_processes, len(cases)))
    dataset = ResumableDataset(folder, RECORD, "a phantom dataset", "cfseg phantom", optional={"classes": ALL_CLASSES},
                               may_grow=("num_test",))  # fmt: skip
    with dataset.writing(record):
        dataset.write_record(record)
        _write_cases(cases, num_processes, progress)
        if num_training > 1:
            classes = {case.name: _classes_shown(case) for case in cases[:num_training]}
            write_splits(folder, choose_folds(classes, seed=seed))
        dataset.finish(_dataset_json(settings, num_training))


def _check_numbers(num_training: int, num_test: int, *, seed: int, num_processes: int) -> None:
    if not 1 <= num_training <= MOST_CASES:
        raise ValueError(f"a dataset needs 1 to {MOST_CASES} training cases, got {num_training}")
    if not 0 <= num_test <= MOST_CASES:
        raise ValueError(f"the number of test cases must be from 0 to {MOST_CASES}, got {num_test}")
    checked_seed(seed)
    checked_processes(num_processes)


def _record(settings: PhantomSettings, *, num_training: int, num_test: int, seed: int) -> dict[str, Any]:
    """The settings to record; a background by its checksum only, as paths belong to one machine or name a patient."""
    background = settings.background and {"sha256": sha256(settings.background)}
    record = {
        "version": __version__,
        "seed": seed,
        "num_training": num_training,
        "num_test": num_test,
        **asdict(replace(settings, background=None)),
        "background": background,
    }
    if settings.classes == ALL_CLASSES:  # so that datasets begun before classes could be chosen have the same record
        del record["classes"]
    return record


def _write_cases(cases: Sequence[CaseFiles], num_processes: int, progress: bool) -> None:
    missing = [case for case in cases if not case.are_complete()]
    if not missing:
        return
    made = parallel_map(write_case, missing, num_processes=min(num_processes, len(missing)))
    done = len(cases) - len(missing)
    for _ in progress_bar(made, doing="Making phantoms", total=len(cases), done=done, show=progress):
        pass


def _classes_shown(case: CaseFiles) -> list[str]:
    volume_ml = read_json(case.provenance)["volume_ml"]
    return [name for name, ml in volume_ml.items() if ml > 0]


def _dataset_json(settings: PhantomSettings, num_training: int) -> dict[str, Any]:
    is_real = settings.background is not None
    return {
        "description": f"Head CTs with haemorrhages, {'on a real background' if is_real else 'made from a seed'}",
        "reference": f"nnunetv2_cfseg {__version__}, cfseg phantom; settings and seed are in {RECORD}",
        "licence": "that of the background" if is_real else "CC0-1.0",
        "channel_names": {"0": "CT"},
        "labels": {"background": 0, **settings.labels},
        "numTraining": num_training,
        "file_ending": FILE_ENDING,
    }
