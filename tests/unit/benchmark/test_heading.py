"""The line at the head of the results."""

from __future__ import annotations

from dataclasses import replace

import pytest

from nnunetv2_cfseg.benchmark.heading import heading
from nnunetv2_cfseg.benchmark.matrix import Matrix
from nnunetv2_cfseg.benchmark.row import Row

ROW = Row("a", "T", planner="CFSegPlanner")
MATRIX = Matrix((ROW,), ("Dataset007_Tiny",), gpu_memory_target_gb=1)


def head_of(*rows: Row) -> str:
    matrix = replace(MATRIX, rows=rows)
    return heading(matrix, list(matrix.cells()), 0)


def test_counts_and_names_the_memory_target_of_the_plans() -> None:
    assert head_of(ROW) == (
        "0 of 1 cells: 1 row, 1 dataset, 1 fold, 1 seed. Training by epochs, on cpu, plans for 1 GB."
    )


@pytest.mark.parametrize(
    ("plans", "end"),
    [
        ("nnUNetPlans", "on cpu."),  # nobody knows
        ("nnUNetPlans_2GB", "plans for 2 GB."),
        ("nnUNetCFSegPlans_0.5GB", "plans for 0.5 GB."),
    ],
)
def test_existing_plans_have_no_target_unless_their_name_says_it(plans: str, end: str) -> None:
    assert head_of(Row("b", "T", plans=plans)).endswith(end)


def test_all_targets_or_none() -> None:
    assert head_of(ROW, Row("b", "T", plans="nnUNetPlans_2GB")).endswith("plans for 1 GB and 2 GB.")
    assert head_of(ROW, Row("b", "T", plans="nnUNetPlans")).endswith("on cpu.")
    assert head_of(Row("b", predictions="labelsTs")).endswith("on cpu.")
