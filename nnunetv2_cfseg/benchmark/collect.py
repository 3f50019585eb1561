"""Collect the results of finished cells in tables."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import nan
from pathlib import Path
from typing import Any

import pandas as pd

from nnunetv2_cfseg.benchmark.cell import RECORD, TABLE, is_done
from nnunetv2_cfseg.benchmark.matrix import Cell
from nnunetv2_cfseg.files.csv_cells import table_to_csv
from nnunetv2_cfseg.files.text_files import read_json

#: Columns that identify the cell of a line.
KEYS = ["dataset", "row", "fold", "seed"]


@dataclass(frozen=True)
class Results:
    """The results of all finished cells.

    Attributes:
        figures: a line for each cell, case and class: KEYS, then the columns of ``cfseg evaluate``.
        costs: a line for each cell: KEYS, seconds and peak memory of training and prediction, GPU memory of training (0
            without a GPU), size of the network.
        machines: the machines that cells ran on, each once.
        scored_on: the scored scans of each dataset, in words.
    """

    figures: pd.DataFrame
    costs: pd.DataFrame
    machines: tuple[dict[str, Any], ...]
    scored_on: dict[str, str]

    def write(self, folder: Path) -> None:
        """Write ``results.csv`` and ``costs.csv``."""
        for name, table in (("results.csv", self.figures), ("costs.csv", self.costs)):
            (folder / name).write_text(table_to_csv(table), encoding="utf-8")


def collect(cells: Iterable[Cell], output: Path) -> Results:
    """Read the finished cells; the tables are empty if there is none."""
    figures, costs, machines, scored_on = [], [], [], {}
    for cell in cells:
        folder = output / cell.folder
        if not is_done(folder):
            continue
        record = read_json(folder / RECORD)
        keys = dict(zip(KEYS, (cell.dataset, cell.row.name, cell.fold, cell.seed), strict=True))
        # Names of cases and classes may look like numbers.
        table = pd.read_csv(folder / TABLE, dtype={"case": str, "class": str})
        figures.append(pd.concat([pd.DataFrame([keys] * len(table)), table], axis=1))
        costs.append({**keys, **costs_of(record)})
        if record["machine"] not in machines:
            machines.append(record["machine"])
        scored_on[cell.dataset] = f"{record['cell']['cases']} cases, {record['cell']['scored_on']}"
    if not figures:
        return Results(pd.DataFrame(columns=KEYS), pd.DataFrame(columns=KEYS), (), {})
    return Results(pd.concat(figures, ignore_index=True), pd.DataFrame(costs), tuple(machines), scored_on)


def costs_of(record: dict[str, Any]) -> dict[str, float]:
    """The costs of a cell, in the columns of ``Results.costs``, from its record."""
    return {
        "train_s": round(record["train"]["seconds"], 1),
        "predict_s": round(record["predict"]["seconds"], 1),
        "predict_s_per_case": round(record["predict"]["seconds"] / record["cell"]["cases"], 2),
        "train_peak_gb": round(record["train"]["peak_bytes"] / 1e9, 2),
        "predict_peak_gb": round(record["predict"]["peak_bytes"] / 1e9, 2),
        "train_peak_gpu_gb": round(record["network"].get("peak_gpu_bytes", 0) / 1e9, 2),
        "parameters": _count(record["network"]["parameters"]),
        "flops_per_voxel": _count(record["network"]["flops_per_voxel"]),
        "threads": record["threads"],
    }


def _count(value: float | None) -> float:
    """Round a size; NaN for a row that trains no network."""
    return nan if value is None else round(value)
