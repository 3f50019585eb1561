"""Which scans are of the same patient, and in which order they were taken."""

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
        patient: as the scans are grouped.
        number: of the patient's scans, from 1.
        case: the scan.
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
    """Read a table with the columns ``case``, ``patient`` and, if it has one, ``date``.

    Dates are ISO 8601, with a time if scans of one day differ: ``2024-03-01`` or ``2024-03-01T14:30``. Scans are
    ordered by them, or as in the table where a patient has none.

    Raises:
        ValueError: no such file or columns, a date that is none or is missing, or cases that are not those at hand.
    """
    rows = list(_read(file))
    listed = [row.case for row in rows]
    for case in listed:
        if listed.count(case) > 1:
            raise ValueError(f"a case must have one row, and {case} has {listed.count(case)}: {file}")
    for names, rule in (
        (sorted(set(listed) - set(cases)), "each case must have a segmentation, and none is there of"),
        (sorted(set(cases) - set(listed)), "each segmentation must have a row, and none is there of"),
    ):
        if names:
            raise ValueError(f"{rule} {_some(names)}: {file}")
    grouped = groupby(sorted(rows, key=lambda row: row.patient), key=lambda row: row.patient)
    return [visit for _, scans in grouped for visit in _in_order(list(scans), file)]


def visits_from_names(pattern: str, cases: Sequence[str]) -> list[Timepoint]:
    """Take patients from the names of cases; their scans are in the order of these, numbers in them by value.

    Args:
        pattern: a regular expression that is searched in each name; its first group is the patient.
        cases: the names.

    Raises:
        ValueError: no regular expression, one without a group, or a name in which it is not found.
    """
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise ValueError(f"the patient's pattern must be a regular expression ({error}), got {pattern!r}") from error
    if not compiled.groups:
        raise ValueError(f"the patient's pattern must have a group, the patient, got {pattern!r}")
    patients: dict[str, list[str]] = {}
    for case in cases:
        found = compiled.search(case)
        if found is None or not found[1]:
            raise ValueError(f"each case must match the patient's pattern {pattern!r}, and this one does not: {case}")
        patients.setdefault(found[1], []).append(case)
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
        raise ValueError(f"of a patient's scans all or none must have a date, and {case} has none: {file}")
    times = {row.case: row.time for row in scans if row.time is not None}
    if len({time.tzinfo is None for time in times.values()}) > 1:
        raise ValueError(f"of a patient's dates all or none must have a time zone, as {scans[0].case} shows: {file}")
    ordered = sorted(scans, key=lambda row: times[row.case])
    first = times[ordered[0].case]
    return [
        Timepoint(row.patient, number, row.case, row.date, (times[row.case] - first).total_seconds() / SECONDS_A_DAY)
        for number, row in enumerate(ordered, 1)
    ]


def _natural(name: str) -> list[tuple[int, str]]:
    """Orders scan_2 before scan_10."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", name)]


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
