"""Writes the tables of ``cfseg quantify``."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from math import isnan
from pathlib import Path
from typing import Any

from nnunetv2_cfseg.files.atomic_files import write_text
from nnunetv2_cfseg.files.csv_cells import safe_cell

DECIMALS = 6


def check_output(folder: Path) -> None:
    """Check the output folder before anything is measured.

    Raises:
        ValueError: it is a file.
    """
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"the output must be a folder, and is a file: {folder}")


def write_csv(file: Path, columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> None:
    """Write a table; numbers have up to six decimals, and unknown values are empty fields."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([_field(row[column]) for column in columns] for row in rows)
    write_text(file, text.getvalue())


def _field(value: Any) -> Any:
    if value is None or (isinstance(value, float) and isnan(value)):
        return ""
    return f"{round(value, DECIMALS) + 0.0:.15g}" if isinstance(value, float) else safe_cell(value)
