"""The measures that can be compared: those with a direction."""

from __future__ import annotations

from collections.abc import Sequence

from nnunetv2_cfseg.evaluation.metric_definitions import COLUMNS

#: Compared by default.
METRICS = ("Dice", "NSD", "HD95_mm")
COMPARABLE = tuple(column.key for column in COLUMNS if column.better)


def check_metrics(metrics: Sequence[str]) -> None:
    """Check that metrics can be compared.

    Raises:
        ValueError: a metric is unknown, has no direction or is named twice, or there is none.
    """
    for metric in metrics:
        if metric not in COMPARABLE:
            raise ValueError(f"{metric!r} is not a metric to compare; these are {', '.join(COMPARABLE)}")
    if not metrics or len(set(metrics)) != len(metrics):
        raise ValueError(f"there must be at least one metric, each named once, got: {', '.join(metrics) or 'none'}")
