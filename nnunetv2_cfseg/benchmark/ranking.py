"""Rows of a benchmark compared: means with intervals, and paired tests against one of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

import numpy as np
import pandas as pd

from nnunetv2_cfseg.evaluation.bootstrap import bootstrap_mean
from nnunetv2_cfseg.evaluation.metric_definitions import BY_KEY
from nnunetv2_cfseg.evaluation.paired_tests import compare_values, holm

RESAMPLES = 2000
#: What one value of a measure is of, averaged over classes.
RUN = ["case", "fold", "seed", "row"]


def by_run(figures: pd.DataFrame, metric: str) -> pd.DataFrame:
    """One value for each case, fold and seed of a row: the mean over classes.

    A class that neither truth nor prediction shows enters no mean, and a false alarm has the measure's worst value:
    what a row scores does not depend on which other rows there are.

    Args:
        figures: of one dataset.
        metric: key of a column.

    Returns:
        Case, fold and seed by rows, in the order of the figures; NaN where a row has no value.
    """
    values = figures[metric].mask(figures["presence"] == "absent")
    return _by_run(figures, values.groupby([figures[key] for key in RUN], sort=False).mean())


def by_case(figures: pd.DataFrame, metric: str) -> pd.DataFrame:
    """One value for each case of a row: the mean over classes, then over folds and seeds; cases by rows."""
    return by_run(figures, metric).groupby("case", sort=False).mean()


def pair(figures: pd.DataFrame, metric: str, row: str, reference: str) -> pd.DataFrame:
    """Values of two rows, case by case, of the folds and seeds that both have.

    Where one finds nothing in a scan that shows none of the classes, and the other does, the former is perfect: a false
    alarm must not vanish from the comparison.

    Returns:
        Cases by ``reference`` and ``row``, without those in which either has no value.
    """
    two = figures[figures["row"].isin([row, reference])]
    runs = by_run(two, metric)
    is_empty = (two["presence"] == "absent").groupby([two[key] for key in RUN], sort=False).all()
    silent = _by_run(two, is_empty) == 1
    for one, other in ((reference, row), (row, reference)):
        runs[one] = runs[one].mask(silent[one] & runs[other].notna(), BY_KEY[metric].perfect)
    return runs.dropna().groupby("case", sort=False)[[reference, row]].mean()


def _by_run(figures: pd.DataFrame, values: pd.Series) -> pd.DataFrame:
    return values.unstack("row").reindex(columns=list(dict.fromkeys(figures["row"])))


def ranking(figures: pd.DataFrame, metric: str, *, seed: int = 0) -> pd.DataFrame:
    """The rows of a dataset, best first.

    Returns:
        ``row``, ``mean``, ``low`` and ``high`` of the 95 % interval over cases, ``cases``, ``seeds``, and
        ``seed_low`` and ``seed_high``, the least and the greatest mean of a seed.
    """
    table = by_case(figures, metric)
    lines = []
    for row in table:
        values = table[row].dropna().to_numpy(float)
        low, high = bootstrap_mean(values, resamples=RESAMPLES, seed=seed) if len(values) else (np.nan, np.nan)
        of_row = figures[figures["row"] == row]
        means = [by_case(of_seed, metric).mean().mean() for _, of_seed in of_row.groupby("seed")]
        lines.append(
            {"row": row, "mean": values.mean() if len(values) else np.nan, "low": low, "high": high,
             "cases": len(values), "seeds": len(means), "seed_low": min(means), "seed_high": max(means)}
        )  # fmt: skip
    ascending = BY_KEY[metric].better < 0
    return pd.DataFrame(lines).sort_values("mean", ascending=ascending, ignore_index=True, na_position="last")


def against(figures: pd.DataFrame, metric: str, reference: str, *, seed: int = 0) -> pd.DataFrame:
    """Every other row less the reference, case by case, over the cases and seeds that both have.

    Returns:
        ``row`` and what :class:`~nnunetv2_cfseg.evaluation.paired_tests.PairedDifference` holds, ``p_holm`` last:
        corrected for all rows of the dataset.
    """
    lines = []
    for row in dict.fromkeys(figures["row"]):
        if row == reference:
            continue
        table = pair(figures, metric, row, reference)
        difference = compare_values(
            table[reference].to_numpy(float), table[row].to_numpy(float), better=BY_KEY[metric].better,
            resamples=RESAMPLES, seed=seed,
        )  # fmt: skip
        lines.append({"row": row, **asdict(difference)})
    results = pd.DataFrame(lines)
    return results.assign(p_holm=holm(results["p"])) if len(results) else results


def critical_cases(figures: pd.DataFrame, reference: str, *, most: int = 3) -> pd.DataFrame:
    """Cases in which a row's Dice is furthest from the reference's, on either side.

    Returns:
        ``row``, ``case``, ``reference_value``, ``value`` and ``difference``, for each row at most ``most``.
    """
    parts = []
    for row in dict.fromkeys(figures["row"]):
        if row == reference:
            continue
        both = pair(figures, "Dice", row, reference)
        difference = both[row] - both[reference]
        order = difference.abs().sort_values(ascending=False, kind="stable").index[:most]
        parts.append(
            pd.DataFrame({"row": row, "case": order, "reference_value": both.loc[order, reference].to_numpy(),
                          "value": both.loc[order, row].to_numpy(), "difference": difference[order].to_numpy()})
        )  # fmt: skip
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()


def pareto(points: Sequence[tuple[float, float]]) -> list[bool]:
    """Which (cost, gain) no other one beats: none costs less and gains as much, or costs as much and gains more.

    A point that is not finite never counts.
    """
    return [
        bool(np.isfinite([cost, gain]).all())
        and not any(
            (other_cost <= cost and other_gain >= gain) and (other_cost < cost or other_gain > gain)
            for other_cost, other_gain in points
        )
        for cost, gain in points
    ]
