"""A comparison's files."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pandas as pd

from nnunetv2_cfseg import __version__
from nnunetv2_cfseg.evaluation.compare.folders import FolderComparison
from nnunetv2_cfseg.evaluation.compare.markdown import markdown
from nnunetv2_cfseg.evaluation.compare.notes import notes
from nnunetv2_cfseg.evaluation.metric_definitions import BY_KEY
from nnunetv2_cfseg.files.atomic_files import write_text
from nnunetv2_cfseg.files.csv_cells import table_to_csv
from nnunetv2_cfseg.files.json_text import to_json
from nnunetv2_cfseg.files.output_paths import check_not_read
from nnunetv2_cfseg.files.private_paths import told

RESULTS = "comparison.csv"
CASES = "cases.csv"
TABLES = "comparison.md"
RECORD = "comparison.json"


def check_output(folder: Path, inputs: Iterable[Path | None] = ()) -> None:
    """Refuse a place where no folder can be, before anything is measured.

    Args:
        folder: of the comparison.
        inputs: files that are read.

    Raises:
        ValueError: a file is there, or where one of its parents would be, or a file that is read would be replaced.
    """
    check_not_read([folder / name for name in (RESULTS, CASES, TABLES, RECORD)], inputs)
    for place in (folder, *folder.parents):
        if place.exists():
            if not place.is_dir():
                raise ValueError(f"-o must name a folder, got a file: {place}")
            return


def write_comparison(comparison: FolderComparison, folder: Path) -> None:
    """Write the four files, each whole or not at all; those of an earlier comparison are replaced.

    ``comparison.csv`` has a row for each metric, pair and class, ``cases.csv`` for each pair of values, an empty field
    where there is none; ``comparison.json`` has the results and what they are of, ``comparison.md`` the tables.

    Args:
        folder: made if it is not there.

    Raises:
        ValueError: it is a file.
        OSError: it cannot be written to.
    """
    check_output(folder)
    folder.mkdir(parents=True, exist_ok=True)
    seen = {name: Path(told(path, folder)) for name, path in comparison.folders.items()}
    texts = {
        RESULTS: table_to_csv(comparison.comparison.results),
        CASES: table_to_csv(comparison.comparison.cases),
        TABLES: markdown(replace(comparison, folders=seen)),
        RECORD: to_json(_record(comparison, folder), ascii_only=False) + "\n",
    }
    for name, text in texts.items():
        write_text(folder / name, text)


def _record(comparison: FolderComparison, folder: Path) -> dict[str, Any]:
    of = comparison.comparison
    return {
        "version": __version__,
        "folders": {name: told(path, folder) for name, path in comparison.folders.items()},
        "truth": told(comparison.truth, folder),
        "reference": of.reference,
        "metrics": {metric: {"unit": BY_KEY[metric].unit, "better": BY_KEY[metric].better} for metric in of.metrics},
        "settings": asdict(comparison.settings),
        "bootstrap": {"resamples": of.resamples, "seed": of.seed, "confidence": 0.95},
        "tests_of_a_metric": {metric: _tests(of.results, metric) for metric in of.metrics},
        "cases": list(comparison.cases.compared),
        "left_out": {case: list(names) for case, names in comparison.cases.left_out.items()},
        "notes": notes(comparison),
        "results": of.results.to_dict("records"),
    }


def _tests(results: pd.DataFrame, metric: str) -> int:
    return int(results.loc[results["metric"] == metric, "p"].notna().sum())
