"""Read an evaluation from its saved table instead of measuring again, if files, classes and settings are the same.

``cfseg evaluate`` writes the table as ``NAME.csv``, and ``NAME.json`` beside it, in which ``cfseg.measured`` describes
the files, classes and settings that the table belongs to.
"""

from __future__ import annotations

import csv
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from math import nan
from pathlib import Path
from typing import Any

import pandas as pd

from nnunetv2_cfseg.evaluation.evaluate import COUNTS, TABLE_COLUMNS, Evaluation, find_cases
from nnunetv2_cfseg.evaluation.files import Case, read_checksums
from nnunetv2_cfseg.evaluation.metric_definitions import COLUMNS, KEYS
from nnunetv2_cfseg.evaluation.metrics import MetricSettings
from nnunetv2_cfseg.files.checksum import sha256, sha256_of_text
from nnunetv2_cfseg.files.csv_cells import safe_cell
from nnunetv2_cfseg.files.schema import short
from nnunetv2_cfseg.files.text_files import read_json, read_text, require_regular_file
from nnunetv2_cfseg.nnunet.classes import Classes

#: Goes up when a measure changes in a way that its definition does not show.
FORMAT = 1
#: Limit of a summary and of a table, which have an entry for each class of each case.
LIMIT_BYTES = 256 * 2**20
#: Columns that identify a row.
NAMES = ("case", "class", "label")


@dataclass(frozen=True)
class _Record:
    """The entry ``cfseg.measured`` of a summary.

    Attributes:
        content: the entry as it was read.
        table: the table that it describes, for error messages.
    """

    content: Mapping[str, Any]
    table: Path

    def part(self, name: str) -> Mapping[str, Any]:
        """The mapping of that name; empty if there is none."""
        part = self.content.get(name)
        return part if isinstance(part, dict) else {}


def summary_of(table: Path) -> Path:
    """The file of the summary that belongs to a table."""
    return table.with_suffix(".json")


def record_of(evaluation: Evaluation, table_csv: str) -> dict[str, Any]:
    """Describe a table: settings, definitions, classes, and the sha256 of each segmentation and of the table's text."""
    return {
        **_expected(evaluation.classes, evaluation.settings),
        "cases": {name: asdict(checksums) for name, checksums in evaluation.checksums.items()},
        "table_sha256": sha256_of_text(table_csv),
    }


def read_evaluation(
    table: Path,
    truth: Path,
    prediction: Path,
    *,
    dataset_json: Path,
    plans_json: Path | None,
    settings: MetricSettings,
    metrics: Collection[str] = KEYS,
    chill: bool = False,
) -> Evaluation:
    """Read from a table what :func:`~nnunetv2_cfseg.evaluation.evaluate.evaluate_folders` would measure.

    Segmentations are only read for their checksums, not measured.

    Args:
        table: ``.csv`` written by ``cfseg evaluate``, with its ``.json`` beside it.
        truth: folder of reference segmentations.
        prediction: folder of predicted segmentations.
        dataset_json: names classes and file ending.
        plans_json: plans of the predictions' model, or None.
        settings: the settings that the table must have been measured with.
        metrics: the metrics that will be used; the factor is compared only if ``boundary_Dice`` is one of them.
        chill: leave out files without a counterpart.

    Raises:
        ValueError: the table belongs to other files, cases, classes or settings, or has changed since it was written.
        OSError: a file cannot be read.
    """
    classes, cases, unpaired = find_cases(
        truth, prediction, dataset_json=dataset_json, plans_json=plans_json, chill=chill
    )
    record = _read_record(table)
    expected = _expected(classes, settings)
    _check_definitions(record, expected)
    _check_settings(record, expected["settings"], metrics)
    _check_classes(record, expected, dataset_json)
    _check_cases(record, cases, prediction)
    checksums = {case.name: read_checksums(case) for case in cases}
    for case in cases:
        for kind, file in (("truth", case.truth), ("prediction", case.prediction)):
            if getattr(checksums[case.name], kind) != record.part("cases")[case.name][kind]:
                raise ValueError(f"the table is stale, {file} has changed since it was measured: {table}")
    return Evaluation(_read_table(table, cases, classes), classes, cases, settings, unpaired, checksums)


def _expected(classes: Classes, settings: MetricSettings) -> dict[str, Any]:
    """The description that a table of these classes and settings must have, as JSON returns it."""
    return {
        "format": FORMAT,
        "metrics": {
            column.key: {"unit": column.unit, "better": column.better, "meaning": column.meaning} for column in COLUMNS
        },
        "settings": asdict(settings),
        "classes": {
            label_class.name: {"key": label_class.key, "values": list(label_class.values)}
            for label_class in classes.foreground
        },
        "ignore": classes.ignore,
    }


def _read_record(table: Path) -> _Record:
    summary = summary_of(table)
    if table.suffix != ".csv":
        raise ValueError(f"--from takes the .csv that cfseg evaluate wrote, got: {table}")
    for file in (table, summary):
        require_regular_file(file, limit_bytes=LIMIT_BYTES)
    ours = read_json(summary, limit_bytes=LIMIT_BYTES).get("cfseg")
    content = ours.get("measured") if isinstance(ours, dict) else None
    if not isinstance(content, dict):
        raise ValueError(f"the summary does not describe its table, run cfseg evaluate again: {summary}")
    if content.get("table_sha256") != sha256(table):
        raise ValueError(f"the table is not the one that {summary.name} describes: {table}")
    return _Record(content, table)


def _check_definitions(record: _Record, expected: Mapping[str, Any]) -> None:
    theirs, ours = record.part("metrics"), expected["metrics"]
    if record.content.get("format") != FORMAT or theirs != ours:
        changed = [key for key in (*ours, *theirs) if theirs.get(key) != ours.get(key)]
        which = ", ".join(dict.fromkeys(map(short, changed))) or "another format"
        raise ValueError(
            f"the table was measured by another version of cfseg evaluate ({which}), run it again: {record.table}"
        )


def _check_settings(record: _Record, asked: Mapping[str, Any], metrics: Collection[str]) -> None:
    for name, value in asked.items():
        if name == "factor" and "boundary_Dice" not in metrics:
            continue
        if (measured := record.part("settings").get(name)) != value:
            raise ValueError(f"the table was measured with {name} {short(measured)} instead of {value}: {record.table}")


def _check_classes(record: _Record, expected: Mapping[str, Any], dataset_json: Path) -> None:
    theirs, ours = record.part("classes"), expected["classes"]
    if list(theirs.items()) != list(ours.items()) or record.content.get("ignore") != expected["ignore"]:
        raise ValueError(
            f"the table has other classes ({', '.join(theirs) or 'none'}) than {dataset_json} "
            f"({', '.join(ours)}): {record.table}"
        )


def _check_cases(record: _Record, cases: list[Case], prediction: Path) -> None:
    measured, asked = record.part("cases"), [case.name for case in cases]
    missing, extra = [name for name in asked if name not in measured], sorted(measured.keys() - set(asked))
    if missing or extra:
        difference = f"it lacks {missing[0]}" if missing else f"it has {extra[0]}"
        raise ValueError(f"the table has other cases than {prediction}, {difference}: {record.table}")
    for name, files in measured.items():
        if not isinstance(files, dict) or not {"truth", "prediction"} <= files.keys():
            raise ValueError(f"the summary has no checksums of {name}: {summary_of(record.table)}")


def _read_table(table: Path, cases: list[Case], classes: Classes) -> pd.DataFrame:
    """The table with the original names of cases and classes; those in the file are made safe for spreadsheets."""
    rows = [(case.name, label_class.name, label_class.key) for case in cases for label_class in classes.foreground]
    try:
        head, *lines = csv.reader(read_text(table, limit_bytes=LIMIT_BYTES).splitlines())
        columns = dict(zip(head, zip(*lines, strict=True), strict=True))
        named = list(zip(*(columns[name] for name in NAMES), strict=True))
        is_whole = tuple(head) == TABLE_COLUMNS and named == [tuple(map(safe_cell, row)) for row in rows]
        numbers = {name: _numbers(columns[name]) for name in (*KEYS, *COUNTS)}
    except (ValueError, KeyError, csv.Error):
        is_whole = False
    if not is_whole:
        raise ValueError(f"the table is not as cfseg evaluate wrote it: {table}")
    names = dict(zip(NAMES, zip(*rows, strict=True), strict=True))
    return pd.DataFrame({**names, "presence": columns["presence"], **numbers})


def _numbers(cells: Sequence[str]) -> list[int] | list[float]:
    """Parse numbers exactly, which pandas does not guarantee; an empty field is NaN."""
    try:
        return [int(cell) for cell in cells]
    except ValueError:
        return [float(cell) if cell else nan for cell in cells]
