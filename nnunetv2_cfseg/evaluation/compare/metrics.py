"""Which measures can be compared: those of which more, or less, is better."""

from __future__ import annotations

from collections.abc import Sequence

from nnunetv2_cfseg.evaluation.metric_definitions import COLUMNS

#: Compared if nothing else is asked for.
METRICS = ("Dice", "NSD", "HD95_mm")
COMPARABLE = tuple(column.key for column in COLUMNS if column.better)


def check_metrics(metrics: Sequence[str]) -> None:
    """Refuse what cannot be compared.

    Raises:
        ValueError: a measure that is unknown or has no better, one named twice, or none at all.
    """
    for metric in metrics:
        if metric not in COMPARABLE:
            raise ValueError(f"metrics to compare are {', '.join(COMPARABLE)}, got {metric!r}")
    if not metrics or len(set(metrics)) != len(metrics):
        raise ValueError(f"metrics must be at least one and differ, got: {', '.join(metrics) or 'none'}")
