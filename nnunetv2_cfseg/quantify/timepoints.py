"""Groups scans by patient, in the order in which they were taken."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from io import StringIO
from itertools import groupby
from pathlib import Path

from nnunetv2_cfseg.files.csv_cells import original_cell
from nnunetv2_cfseg.files.text_files import TABLE_LIMIT_BYTES, read_text

SECONDS_A_DAY = 86400


@dataclass(frozen=True)
class Timepoint:
    """A scan of a patient.

    Attributes:
        patient: name of the patient, from the table or the pattern.
        number: number of the scan among the patient's, from 1.
        case: name of the scan.
        date: as it was given; empty if it was not.
        days: since the patient's first scan; None without dates.
    """

    patient: str
    number: int
    case: str
    date: str = ""
    days: float | None = None


@dataclass(frozen=True)
class _Row:
    patient: str
    case: str
    date: str
    time: datetime | None


def visits_from_csv(file: Path, cases: Sequence[str]) -> list[Timepoint]:
    """Read a table with the columns ``case``, ``patient`` and, optionally, ``date``.

    Dates are ISO 8601, with a time to order scans of one day: ``2024-03-01`` or ``2024-03-01T14:30``. A patient's scans
    are sorted by date, or kept in the table's order if they have none.

    Raises:
        ValueError: there is no such file or column, a date is invalid or missing, or the cases are not the given ones.
    """
    rows = list(_read(file))
    listed = [row.case for row in rows]
    for case in listed:
        if listed.count(case) > 1:
            raise ValueError(f"a case must have one row, and {case} has {listed.count(case)}: {file}")
    for names, rule in (
        (sorted(set(listed) - set(cases)), "each case must have a segmentation, and there is none for"),
        (sorted(set(cases) - set(listed)), "each segmentation must have a row, and there is none for"),
    ):
        if names:
            raise ValueError(f"{rule} {_some(names)}: {file}")
    grouped = groupby(sorted(rows, key=lambda row: row.patient), key=lambda row: row.patient)
    return [visit for _, scans in grouped for visit in _in_order(list(scans), file)]


def visits_from_names(pattern: str, cases: Sequence[str]) -> list[Timepoint]:
    """Take patients from the names of cases; a patient's scans are sorted by name, with numbers in them by value.

    Args:
        pattern: a regular expression to search in each name; its first group is the patient.
        cases: the names.

    Raises:
        ValueError: it is no regular expression, has no group, or is not found in a name.
    """
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise ValueError(f"the patient's pattern must be a regular expression ({error}), got {pattern!r}") from error
    if not compiled.groups:
        raise ValueError(f"the patient's pattern must have a group for the patient, got {pattern!r}")
    patients: dict[str, list[str]] = {}
    for case in cases:
        match = compiled.search(case)
        if match is None or not match[1]:
            raise ValueError(f"each case must match the patient's pattern {pattern!r}, and this one does not: {case}")
        patients.setdefault(match[1], []).append(case)
    return [
        Timepoint(patient, number, case)
        for patient, scans in sorted(patients.items(), key=lambda item: _natural(item[0]))
        for number, case in enumerate(sorted(scans, key=_natural), 1)
    ]


def _read(file: Path) -> Iterable[_Row]:
    try:
        table = csv.DictReader(StringIO(read_text(file, limit_bytes=TABLE_LIMIT_BYTES)))
        columns = list(table.fieldnames or [])
        lines = [{key: original_cell((value or "").strip()) for key, value in line.items() if key} for line in table]
    except csv.Error as error:
        raise ValueError(f"a table of scans must be CSV ({error}): {file}") from error
    missing = [column for column in ("case", "patient") if column not in columns]
    if missing:
        raise ValueError(f"a table of scans must have the columns case and patient, and lacks {missing[0]}: {file}")
    for line in lines:
        if not line["case"] or not line["patient"]:
            raise ValueError(f"each row must have a case and a patient, and one has case {line['case']!r}: {file}")
        date = line.get("date", "")
        yield _Row(line["patient"], line["case"], date, _time(date, line["case"], file))


def _cell(text: str | None) -> str:
    return original_cell((text or "").strip())


def _time(date: str, case: str, file: Path) -> datetime | None:
    if not date:
        return None
    try:
        return datetime.fromisoformat(date)
    except ValueError as error:
        raise ValueError(f"a date must be as in 2024-03-01, got {date!r} for {case}: {file}") from error


def _in_order(scans: list[_Row], file: Path) -> list[Timepoint]:
    """The scans of one patient."""
    dated = [row for row in scans if row.time is not None]
    if not dated:
        return [Timepoint(row.patient, number, row.case) for number, row in enumerate(scans, 1)]
    if len(dated) < len(scans):
        case = next(row.case for row in scans if row.time is None)
        raise ValueError(f"all scans of a patient or none must have a date, and {case} has none: {file}")
    times = {row.case: row.time for row in scans if row.time is not None}
    if len({time.tzinfo is None for time in times.values()}) > 1:
        raise ValueError(f"all dates of a patient or none must have a time zone, see {scans[0].case}: {file}")
    ordered = sorted(scans, key=lambda row: times[row.case])
    first = times[ordered[0].case]
    return [
        Timepoint(row.patient, number, row.case, row.date, (times[row.case] - first).total_seconds() / SECONDS_A_DAY)
        for number, row in enumerate(ordered, 1)
    ]


def _natural(name: str) -> list[tuple[int, str]]:
    """Sort key that puts scan_2 before scan_10."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", name)]


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
