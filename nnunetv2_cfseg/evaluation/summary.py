"""Make ``summary.json``: nnU-Net's keys and values, our measures beside them, and statistics under ``cfseg``."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from math import nan
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from nnunetv2_cfseg import __version__
from nnunetv2_cfseg.evaluation.bootstrap import bootstrap_mean, nan_mean
from nnunetv2_cfseg.evaluation.evaluate import COUNTS, Evaluation
from nnunetv2_cfseg.evaluation.files import Case
from nnunetv2_cfseg.evaluation.metric_definitions import COLUMNS, KEYS
from nnunetv2_cfseg.evaluation.saved_table import record_of
from nnunetv2_cfseg.files.csv_cells import table_to_csv
from nnunetv2_cfseg.files.json_text import to_json
from nnunetv2_cfseg.files.output_paths import check_not_read, check_not_taken
from nnunetv2_cfseg.files.private_paths import told
from nnunetv2_cfseg.nnunet.classes import SegmentationClass

CONFIDENCE = 0.95
#: Measures of quality: those with a direction.
QUALITY = tuple(column.key for column in COLUMNS if column.better)
ERROR = "volume_error_ml"
POLICY = (
    "A case in which neither reference nor prediction shows a class says nothing about it and is left out of its "
    "statistics, including volume errors; a missed class and a false alarm have Dice, IoU, surface Dice and lesion F1 "
    "of 0 and the diagonal of the image in mm as distance."
)
#: Half the width of a 95 % range of a normal distribution, in standard deviations (Bland and Altman 1986).
LIMITS_SD = 1.96


def summarise(evaluation: Evaluation, *, resamples: int = 2000, seed: int = 0) -> dict[str, Any]:
    """Summarise an evaluation.

    ``metric_per_case``, ``mean`` and ``foreground_mean`` are nnU-Net's, with our columns beside its own; missing values
    are NaN. ``cfseg`` holds the settings and, with percentile bootstrap intervals over cases:

    - ``classes``, by nnU-Net's key: ``name``; the number of cases that are ``present`` in the reference, ``missed``
      among these, ``false_alarms`` and ``absent``; ``measures``, each with ``n``, ``mean``, ``median`` and
      ``interval``, and the volume error also with ``bias`` and ``limits_of_agreement``.
    - ``overall``: ``mDSC`` and ``mIoU`` (arXiv 2502.05396, Eq. 14 and section 4.3) and every measure of quality, each
      the mean over classes of the mean over cases. They are nnU-Net's ``foreground_mean``, but a class that no case
      shows is left out, whereas nnU-Net's mean is NaN then.

    Args:
        evaluation: the evaluation to summarise.
        resamples: number of bootstrap resamples.
        seed: seeds the bootstrap.
    """
    table, foreground = evaluation.table, evaluation.classes.foreground
    columns = [*KEYS, *COUNTS]
    means = {label_class.key: _means(table[table["label"] == label_class.key], columns) for label_class in foreground}
    per_case = table.set_index(["case", "label"])[columns].to_dict("index")
    return {
        "foreground_mean": {column: float(np.mean([mean[column] for mean in means.values()])) for column in columns},
        "mean": means,
        "cfseg": {
            "version": __version__,
            "settings": {
                **asdict(evaluation.settings),
                "resamples": resamples,
                "seed": seed,
                "confidence": CONFIDENCE,
                "policy": POLICY,
            },
            "cases": len(evaluation.cases),
            "missing_predictions": list(evaluation.unpaired.missing_predictions),
            "missing_references": list(evaluation.unpaired.missing_truths),
            "classes": {
                label_class.key: _class_statistics(table, label_class, resamples, seed) for label_class in foreground
            },
            "overall": _overall(table, foreground, resamples, seed),
        },
        "metric_per_case": [_case_entry(case, foreground, per_case) for case in evaluation.cases],
    }


def write_summary(evaluation: Evaluation, summary: Mapping[str, Any], output: Path) -> None:
    """Write the summary and, beside it with the ending ``.csv``, the table, each atomically.

    Paths of segmentations are relative to the summary's folder. NaN is ``null`` in the summary and an empty field in
    the table. ``cfseg.measured`` describes the table.

    Raises:
        ValueError: the output's name does not end with ``.json``.
        OSError: a file cannot be written.
    """
    check_output(output)
    output.parent.mkdir(parents=True, exist_ok=True)
    csv = table_to_csv(evaluation.table)
    content = with_files_from(summary, evaluation.cases, output.parent)
    content["cfseg"] = {**content["cfseg"], "measured": record_of(evaluation, csv)}
    texts = {
        output.with_suffix(".csv"): csv,
        output: to_json(content, indent=4) + "\n",
    }
    with ExitStack() as stack:
        unfinished = {file: file.with_name(f".{file.name}.{os.getpid()}") for file in texts}
        for file, text in texts.items():
            stack.callback(unfinished[file].unlink, missing_ok=True)
            unfinished[file].write_text(text, encoding="utf-8", newline="\n")
        for file in texts:
            unfinished[file].replace(file)


def with_files_from(summary: Mapping[str, Any], cases: Sequence[Case], folder: Path) -> dict[str, Any]:
    """The summary with the paths of its segmentations relative to a folder."""
    named = [
        {
            **entry,
            "prediction_file": told(case.prediction, folder),
            "reference_file": told(case.truth, folder),
        }
        for entry, case in zip(summary["metric_per_case"], cases, strict=True)
    ]
    return {**summary, "metric_per_case": named}


def check_output(output: Path, inputs: Iterable[Path | None] = ()) -> None:
    """Check the file of a summary, before anything is measured.

    Args:
        output: file of the summary.
        inputs: files that are read.

    Raises:
        ValueError: the name does not end with ``.json``, or the summary or its table is a folder, one of the inputs,
            or has the name of another kind of file.
    """
    if output.suffix != ".json":
        raise ValueError(f"the output must end with .json, got: {output}")
    files = (output, output.with_suffix(".csv"))
    for file in files:
        if file.is_dir():
            raise ValueError(f"the output is a folder and must be a file: {file}")
    check_not_taken(files)
    check_not_read(files, inputs)


def _case_entry(case: Case, foreground: Sequence[SegmentationClass], per_case: Mapping[Any, Any]) -> dict[str, Any]:
    return {
        "metrics": {label_class.key: per_case[case.name, label_class.key] for label_class in foreground},
        "prediction_file": str(case.prediction),
        "reference_file": str(case.truth),
    }


def _means(rows: pd.DataFrame, columns: Sequence[str]) -> dict[str, float]:
    return {column: float(nan_mean(_values(rows, column), axis=0)) for column in columns}


def _class_statistics(table: pd.DataFrame, label_class: SegmentationClass, resamples: int, seed: int) -> dict[str, Any]:
    rows = table[table["label"] == label_class.key]
    count = rows["presence"].value_counts()
    both, missed, false_alarms, absent = (int(count.get(p, 0)) for p in ("both", "missed", "false_alarm", "absent"))
    measures = {}
    for key in (*QUALITY, ERROR):
        values = _values(rows, key)
        known = values[~np.isnan(values)]
        mean = float(known.mean()) if known.size else nan
        measures[key] = {
            "n": known.size,
            "mean": mean,
            "median": float(np.median(known)) if known.size else nan,
            "interval": list(bootstrap_mean(values, resamples=resamples, seed=seed, confidence=CONFIDENCE)),
        }
        if key == ERROR:
            spread = LIMITS_SD * float(known.std(ddof=1)) if known.size > 1 else nan
            measures[key] |= {"bias": mean, "limits_of_agreement": [mean - spread, mean + spread]}
    return {
        "name": label_class.name,
        "present": both + missed,
        "missed": missed,
        "false_alarms": false_alarms,
        "absent": absent,
        "measures": measures,
    }


def _overall(
    table: pd.DataFrame, foreground: Sequence[SegmentationClass], resamples: int, seed: int
) -> dict[str, dict[str, Any]]:
    overall = {}
    for key in (*QUALITY, ERROR):
        values = np.stack(
            [_values(table[table["label"] == label_class.key], key) for label_class in foreground], axis=1
        )
        overall[key] = {
            "mean": float(nan_mean(nan_mean(values, axis=0), axis=0)),
            "interval": list(bootstrap_mean(values, resamples=resamples, seed=seed, confidence=CONFIDENCE)),
        }
    return {"mDSC": overall["Dice"], "mIoU": overall["IoU"], **overall}


def _values(rows: pd.DataFrame, column: str) -> np.ndarray:
    """(cases,): a column; errors and qualities are NaN where neither reference nor prediction shows the class."""
    values = rows[column].to_numpy(np.float64)
    return np.where(rows["presence"] == "absent", nan, values) if column in (*QUALITY, ERROR) else values
