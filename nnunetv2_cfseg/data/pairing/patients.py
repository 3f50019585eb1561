"""Groups cases by patient: the test set and the folds never separate a patient's cases."""

from __future__ import annotations

import csv
import json
import re
import signal
import subprocess
import sys
from collections.abc import Collection, Mapping, Sequence
from io import StringIO
from pathlib import Path

import numpy as np

from nnunetv2_cfseg.data.phantom.folds import choose_folds
from nnunetv2_cfseg.files.json_text import to_json
from nnunetv2_cfseg.files.text_files import TABLE_LIMIT_BYTES, read_text

LONGEST_PATTERN = 500
#: Seconds for all cases.
SEARCH_S = 10
SEARCH = """
import json, re, signal, sys
signal.alarm(int(sys.argv[1]))
pattern, names = json.load(sys.stdin)
expression = re.compile(pattern)
matches = [expression.search(name) for name in names]
json.dump([match and match[min(1, expression.groups)] for match in matches], sys.stdout)
"""


def patients_by_pattern(cases: Sequence[str], pattern: str | None) -> dict[str, str]:
    """Read the patient out of each case's name.

    Args:
        cases: names.
        pattern: a regular expression to search in each name; its first group, or the whole match, is the patient.
            None: every case is a separate patient.

    Raises:
        ValueError: it is no regular expression, or does not match a name.
    """
    if pattern is None:
        return {case: case for case in cases}
    if len(pattern) > LONGEST_PATTERN:
        raise ValueError(f"a pattern of patients must have at most {LONGEST_PATTERN} characters, got {len(pattern)}")
    try:
        re.compile(pattern)
    except (re.error, OverflowError, RecursionError, MemoryError) as error:
        raise ValueError(f"a pattern of patients must be a regular expression ({error}), got {pattern!r}") from error
    patients = dict(zip(cases, search_for(pattern, cases), strict=True))
    for case, patient in patients.items():
        if not patient:
            raise ValueError(f"a pattern of patients must match every case, and {pattern!r} does not match {case}")
    return {case: patient for case, patient in patients.items() if patient}


def search_for(pattern: str, names: Sequence[str], *, limit_s: int = SEARCH_S) -> list[str | None]:
    """Search a regular expression in names: its first group, or the whole match; None for names without a match.

    Some patterns take years (``(a+)+$``), and nothing can stop a search within this process. So it runs in another
    process, which the system's alarm clock ends.

    Raises:
        ValueError: it takes longer than ``limit_s`` seconds.
    """
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", SEARCH, str(limit_s)],
        input=to_json([pattern, list(names)]).encode(),
        capture_output=True,
        check=False,
    )
    if done.returncode == -signal.SIGALRM:
        raise ValueError(f"a pattern of patients must be quick to search, and takes over {limit_s} s: {pattern!r}")
    if done.returncode:
        raise OSError(f"a pattern of patients cannot be searched (status {done.returncode}): {pattern!r}")
    matches: list[str | None] = json.loads(done.stdout)
    return matches


def patients_by_table(cases: Sequence[str], file: Path) -> dict[str, str]:
    """Read the patients from a CSV file with the columns ``case`` and ``patient``.

    Raises:
        ValueError: there is no such file or column, or a case is missing or has two patients.
    """
    try:
        rows = list(csv.DictReader(StringIO(read_text(file, limit_bytes=TABLE_LIMIT_BYTES)), strict=True))
    except (OSError, ValueError, csv.Error) as error:
        raise ValueError(f"a table of patients must be a CSV file that can be read ({error}): {file}") from error
    if not rows or not {"case", "patient"} <= set(rows[0]):
        raise ValueError(f"a table of patients must have the columns case and patient, and rows: {file}")
    patients: dict[str, str] = {}
    for row in rows:
        case, patient = ((row[name] or "").strip() for name in ("case", "patient"))
        if patients.setdefault(case, patient) != patient:
            raise ValueError(f"a case must have one patient, and {case} has two: {file}")
    for case in cases:
        if not patients.get(case):
            raise ValueError(f"a table of patients must have one for every case, and has none for {case}: {file}")
    return {case: patients[case] for case in cases}


def checked_share(share: float) -> float:
    """Return a fraction of the patients if it is valid.

    Raises:
        ValueError: it is not in [0, 1).
    """
    if not 0 <= share < 1:
        raise ValueError(f"the share of test patients must be at least 0 and below 1, got {share:g}")
    return share


def choose_test(patients: Mapping[str, str], *, share: float, seed: int) -> list[str]:
    """Draw patients for a test set.

    Args:
        patients: patient of each case.
        share: fraction of the patients, rounded, but at least one patient if it is above 0.
        seed: for the draw.

    Returns:
        The names of their cases, sorted.

    Raises:
        ValueError: the share is not in [0, 1), or leaves no patient to train on.
    """
    checked_share(share)
    names = sorted(set(patients.values()))
    count = max(1, round(share * len(names))) if share else 0
    if count == len(names):
        raise ValueError(f"a share of {share:g} leaves none of {len(names)} patients for training")
    drawn = {names[i] for i in np.random.default_rng(seed).permutation(len(names))[:count]}
    return sorted(case for case, patient in patients.items() if patient in drawn)


def check_apart(patients: Mapping[str, str], test: Collection[str]) -> None:
    """Refuse a test set with a patient who is also in the training set.

    Raises:
        ValueError: there is one; the message has two of the patient's cases.
    """
    trained = {patient: case for case, patient in patients.items() if case not in test}
    for case in sorted(test):
        other = trained.get(patients[case])
        if other is not None:
            raise ValueError(
                f"no patient may be in both sets, and {case} of the test set has the same patient as {other}"
            )


def patient_folds(
    patients: Mapping[str, str], classes: Mapping[str, Collection[str]], *, folds: int, seed: int
) -> list[dict[str, list[str]]]:
    """Folds for nnU-Net's ``splits_final.json`` that keep patients together and distribute the rare classes.

    Args:
        patients: patient of each training case; at least two.
        classes: classes in each of the cases.
        folds: most folds; there are never more than patients.

    Returns:
        For each fold the sorted cases in ``train`` and ``val``.

    Raises:
        ValueError: there are fewer than two patients or folds.
    """
    shown: dict[str, set[str]] = {patient: set() for patient in dict.fromkeys(patients.values())}
    for case, patient in patients.items():
        shown[patient] |= set(classes[case])
    return [
        {
            part: sorted(case for case, patient in patients.items() if patient in set(names))
            for part, names in fold.items()
        }
        for fold in choose_folds(shown, seed=seed, most=folds)
    ]
