"""Keep the settings that a benchmark's cells depend on, so that all cells of a folder have the same."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from nnunetv2_cfseg.benchmark.matrix import Matrix
from nnunetv2_cfseg.benchmark.prepare import new_setting
from nnunetv2_cfseg.files.atomic_files import write_json
from nnunetv2_cfseg.files.json_text import as_read_back
from nnunetv2_cfseg.files.text_files import read_json

SETTINGS = "benchmark.json"


def remember(matrix: Matrix, output: Path) -> None:
    """Save the settings that cells depend on, for later calls in the same folder.

    Raises:
        ValueError: the folder holds cells with other settings.
    """
    write_json(output / SETTINGS, settings_of_cells(matrix, output))


def settings_of_cells(matrix: Matrix, output: Path) -> dict[str, Any]:
    """The settings that cells depend on, with those of rows that earlier calls in the same folder ran.

    Raises:
        ValueError: the folder holds cells with other settings.
    """
    file = output / SETTINGS
    everything = as_read_back(asdict(matrix))
    now = {name: everything[name] for name in ("budget_s", "configuration", "device", "gpu_memory_target_gb")}
    rows = {row["name"]: row for row in everything["rows"]}
    if file.is_file() and any(output.glob("cells/*/*/*")):  # without cells, earlier settings do not matter
        before = read_json(file)
        made = before.get("rows")
        if not isinstance(made, dict) or not all(isinstance(row, dict) for row in made.values()):
            raise ValueError(f"{SETTINGS} has no rows and is not what cfseg benchmark wrote: {file}")
        changed = [name for name, value in now.items() if before.get(name) != value]
        changed += [f"row {name}" for name, row in rows.items() if _made_by(made.get(name, row)) != _made_by(row)]
        rows = {**made, **rows}
        if changed:
            raise ValueError(
                f"{', '.join(changed)} differs from the folder's cells, which must all have the same settings: {output}"
            )
    return {**now, "rows": rows}


def _made_by(row: dict[str, Any]) -> dict[str, Any]:
    """The settings of a row that its cells depend on, with present names: all but its datasets."""
    made_by = {
        key: value for key, value in row.items() if key != "datasets" and value
    }  # earlier versions had fewer settings
    if made_by.get("preset") == "default":  # which earlier versions wrote where none is named
        del made_by["preset"]
    changes = row.get("changes")
    if isinstance(changes, dict):
        made_by["changes"] = {new_setting(path): value for path, value in changes.items()}
    return made_by
