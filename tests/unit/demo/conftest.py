"""A demo's folder with made-up results, and summaries as nnU-Net writes them."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from math import nan
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nnunetv2_cfseg.demo.settings import CLASSES

#: Voxels of truth, of prediction and of both, of each class that a case is about.
Counts = Mapping[str, tuple[int, int, int]]


def _metrics(truth: int, prediction: int, both: int) -> dict[str, float]:
    either = truth + prediction - both
    return {
        "Dice": 2 * both / (truth + prediction) if either else nan,
        "IoU": both / either if either else nan,
        "TP": both,
        "FP": prediction - both,
        "FN": truth - both,
        "TN": 1000 - either,
        "n_ref": truth,
        "n_pred": prediction,
    }


@pytest.fixture
def write_summary(tmp_path: Path) -> Callable[..., Path]:
    """A function that writes nnU-Net's summary of cases and returns its file."""

    def write(cases: Sequence[Counts], names: Sequence[str] | None = None) -> Path:
        names = names or [f"phantom_{number:03d}" for number in range(len(cases))]
        entries: list[dict[str, Any]] = [
            {
                "metrics": {str(label): _metrics(*case.get(name, (0, 0, 0))) for name, label in CLASSES.items()},
                "prediction_file": f"predictions/{case_name}.nii.gz",
                "reference_file": f"nnUNet_raw/labelsTs/{case_name}.nii.gz",
            }
            for case, case_name in zip(cases, names, strict=True)
        ]

        def mean(label: str, metric: str) -> float:
            values = np.array([entry["metrics"][label][metric] for entry in entries], float)
            return float(np.nanmean(values)) if not np.isnan(values).all() else nan

        means = {
            str(label): {metric: mean(str(label), metric) for metric in entries[0]["metrics"]["1"]}
            for label in CLASSES.values()
        }
        foreground = {metric: float(np.mean([m[metric] for m in means.values()])) for metric in means["1"]}
        file = tmp_path / "summary.json"
        file.write_text(json.dumps({"metric_per_case": entries, "mean": means, "foreground_mean": foreground}))
        return file

    return write
