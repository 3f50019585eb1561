"""The line at the head of a benchmark's results: how many cells, how they were trained, and with which plans."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence

from nnunetv2_cfseg.benchmark.matrix import Cell, Matrix
from nnunetv2_cfseg.benchmark.row import Row


def heading(matrix: Matrix, cells: Sequence[Cell], done: int) -> str:
    """The line, for a benchmark of which ``done`` cells are done."""
    budget = "by epochs" if matrix.budget_s is None else f"{matrix.budget_s:g} s each"
    rows = {cell.row.name for cell in cells}
    return (
        f"{done} of {len(cells)} cells: {_count(rows, 'row')}, {_count(matrix.datasets, 'dataset')}, "
        f"{_count(matrix.folds, 'fold')}, {_count(matrix.seeds, 'seed')}. Training {budget}, on {matrix.device}"
        f"{_memory_of_plans(matrix)}."
    )


def _memory_of_plans(matrix: Matrix) -> str:
    """The memory target of all plans that are trained with; empty if that of some is not known, or there are none."""
    targets = {_memory_target_gb(matrix, row) for row in matrix.rows if row.trainer}
    known = sorted(target for target in targets if target is not None)
    if not known or len(known) < len(targets):
        return ""
    return f", plans for {' and '.join(f'{target:g} GB' for target in known)}"


def _memory_target_gb(matrix: Matrix, row: Row) -> float | None:
    """The memory target of a row's plans: this benchmark's, or for existing plans the one in their name, if any."""
    if not row.plans:
        return matrix.gpu_memory_target_gb
    named = re.search(r"_(\d+(?:\.\d+)?)GB$", row.plans)
    return float(named[1]) if named else None


def _count(values: Collection[object], name: str) -> str:
    return f"{len(values)} {name}{'' if len(values) == 1 else 's'}"
