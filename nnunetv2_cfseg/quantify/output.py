"""Files that appear whole or not at all."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from math import isnan
from pathlib import Path
from typing import Any

from nnunetv2_cfseg.files.atomic_files import atomic_write
from nnunetv2_cfseg.files.csv_cells import safe_cell

DECIMALS = 6


def check_output(folder: Path) -> None:
    """Refuse an output folder before anything is measured.

    Raises:
        ValueError: it is a file.
    """
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"the output must be a folder, and is a file: {folder}")


def write_bytes(file: Path, content: bytes) -> None:
    """Write a file, and its folder if it is not there."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(str(file)) as temporary:
        Path(temporary).write_bytes(content)


def write_csv(file: Path, columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> None:
    """Write a table; numbers have up to six decimals, what is not known is an empty field."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([_field(row[column]) for column in columns] for row in rows)
    write_bytes(file, text.getvalue().encode())


def write_json(file: Path, content: Any) -> None:
    """Write JSON in which NaN is null."""
    write_bytes(file, (json.dumps(_without_nan(content), indent=2, allow_nan=False) + "\n").encode())


def _field(value: Any) -> Any:
    if value is None or (isinstance(value, float) and isnan(value)):
        return ""
    return f"{round(value, DECIMALS) + 0.0:.15g}" if isinstance(value, float) else safe_cell(value)


def _without_nan(content: Any) -> Any:
    if isinstance(content, Mapping):
        return {key: _without_nan(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [_without_nan(value) for value in content]
    return None if isinstance(content, float) and isnan(content) else content
