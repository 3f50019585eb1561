"""Figures of a benchmark."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pandas as pd
import pytest

from nnunetv2_cfseg.benchmark.collect import Results

MEASURES = {"boundary_Dice": float("nan"), "NSD": 0.5, "HD95_mm": 3.0}


def _line(row: str, case: str, name: str, dice: float, *, seed: int = 1, presence: str = "both") -> dict[str, Any]:
    return {"dataset": "Dataset501_A", "row": row, "fold": "0", "seed": seed, "case": case, "class": name, "label": 1,
            "presence": presence, "Dice": dice, **MEASURES}  # fmt: skip


@pytest.fixture
def line() -> Callable[..., dict[str, Any]]:
    """A function that makes a line of figures."""
    return _line


@pytest.fixture
def results() -> Results:
    """Of two rows, two seeds and three cases with two classes."""
    figures = pd.DataFrame(
        [
            _line(row, case, name, base + gain + 0.01 * seed, seed=seed)
            for row, gain in (("ours", 0.1), ("theirs <b>", 0.0))
            for seed in (1, 2)
            for case, base in (("1", 0.5), ("2", 0.6), ("3", 0.7))
            for name in ("a", "b")
        ]
    )
    costs = pd.DataFrame(
        [
            {"dataset": "Dataset501_A", "row": row, "fold": "0", "seed": seed, "train_s": 60.0, "predict_s": seconds,
             "predict_s_per_case": seconds / 3, "train_peak_gb": 1.0, "predict_peak_gb": 2.0, "parameters": 1_500_000,
             "flops_per_voxel": 2000, "train_peak_gpu_gb": 0.0, "threads": 1}
            for row, seconds in (("ours", 3.0), ("theirs <b>", 30.0))
            for seed in (1, 2)
        ]
    )  # fmt: skip
    machine = {"processor": "A processor", "cores": 2, "gpu": None, "versions": {"torch": "2.14.1"}}
    return Results(figures, costs, (machine,), {"Dataset501_A": "3 cases, the test set, labelsTs"})
