"""Check and write the files of a comparison."""

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
    """Check that the folder can be made, before anything is measured.

    Args:
        folder: folder of the comparison.
        inputs: files that are read.

    Raises:
        ValueError: the folder or one of its parents is a file, or an input would be replaced.
    """
    check_not_read([folder / name for name in (RESULTS, CASES, TABLES, RECORD)], inputs)
    for path in (folder, *folder.parents):
        if path.exists():
            if not path.is_dir():
                raise ValueError(f"-o must name a folder, got a file: {path}")
            return


def write_comparison(comparison: FolderComparison, folder: Path) -> None:
    """Write the four files of a comparison, each atomically, replacing those of an earlier one.

    ``comparison.csv`` has a row for each metric, pair and class, and ``cases.csv`` one for each pair of values; missing
    values are empty fields. ``comparison.json`` has the results and settings, ``comparison.md`` the tables.

    Args:
        folder: created if it does not exist.

    Raises:
        ValueError: it is a file.
        OSError: it cannot be written to.
    """
    check_output(folder)
    folder.mkdir(parents=True, exist_ok=True)
    relative = {name: Path(told(path, folder)) for name, path in comparison.folders.items()}
    texts = {
        RESULTS: table_to_csv(comparison.comparison.results),
        CASES: table_to_csv(comparison.comparison.cases),
        TABLES: markdown(replace(comparison, folders=relative)),
        RECORD: to_json(_record(comparison, folder), ascii_only=False) + "\n",
    }
    for name, text in texts.items():
        write_text(folder / name, text)


def _record(comparison: FolderComparison, folder: Path) -> dict[str, Any]:
    results = comparison.comparison
    return {
        "version": __version__,
        "folders": {name: told(path, folder) for name, path in comparison.folders.items()},
        "truth": told(comparison.truth, folder),
        "reference": results.reference,
        "metrics": {
            metric: {"unit": BY_KEY[metric].unit, "better": BY_KEY[metric].better} for metric in results.metrics
        },
        "settings": asdict(comparison.settings),
        "bootstrap": {"resamples": results.resamples, "seed": results.seed, "confidence": 0.95},
        "tests_of_a_metric": {metric: _tests(results.results, metric) for metric in results.metrics},
        "cases": list(comparison.cases.compared),
        "left_out": {case: list(names) for case, names in comparison.cases.left_out.items()},
        "notes": notes(comparison),
        "results": results.results.to_dict("records"),
    }


def _tests(results: pd.DataFrame, metric: str) -> int:
    return int(results.loc[results["metric"] == metric, "p"].notna().sum())
