"""Compare rows of a benchmark: means with intervals, and paired tests against one row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

import numpy as np
import pandas as pd

from nnunetv2_cfseg.evaluation.bootstrap import bootstrap_mean
from nnunetv2_cfseg.evaluation.metric_definitions import BY_KEY
from nnunetv2_cfseg.evaluation.paired_tests import compare_values, holm

RESAMPLES = 2000
#: Columns that identify one value of a measure, averaged over classes.
RUN = ["case", "fold", "seed", "row"]


def by_run(figures: pd.DataFrame, metric: str) -> pd.DataFrame:
    """One value for each case, fold and seed of a row: the mean over classes.

    Classes absent from truth and prediction are excluded, and a false alarm has the measure's worst value, so that the
    score of a row does not depend on the other rows.

    Args:
        figures: results of one dataset.
        metric: key of a column.

    Returns:
        A table with an index of case, fold and seed and a column for each row, in the order of the figures; NaN where a
        row has no value.
    """
    values = figures[metric].mask(figures["presence"] == "absent")
    return _by_run(figures, values.groupby([figures[key] for key in RUN], sort=False).mean())


def by_case(figures: pd.DataFrame, metric: str) -> pd.DataFrame:
    """One value for each case (index) of a row (column): the mean over classes, then over folds and seeds."""
    return by_run(figures, metric).groupby("case", sort=False).mean()


def pair(figures: pd.DataFrame, metric: str, row: str, reference: str) -> pd.DataFrame:
    """Pair the values of two rows case by case, over the folds and seeds that both have.

    If a scan shows none of the classes and only one row has a false alarm, the other row gets the perfect value, so
    that the false alarm counts.

    Returns:
        A table of cases with the columns ``reference`` and ``row``, without cases in which either has no value.
    """
    two = figures[figures["row"].isin([row, reference])]
    runs = by_run(two, metric)
    is_empty = (two["presence"] == "absent").groupby([two[key] for key in RUN], sort=False).all()
    silent = _by_run(two, is_empty) == 1
    for name, other in ((reference, row), (row, reference)):
        runs[name] = runs[name].mask(silent[name] & runs[other].notna(), BY_KEY[metric].perfect)
    return runs.dropna().groupby("case", sort=False)[[reference, row]].mean()


def _by_run(figures: pd.DataFrame, values: pd.Series) -> pd.DataFrame:
    return values.unstack("row").reindex(columns=list(dict.fromkeys(figures["row"])))


def ranking(figures: pd.DataFrame, metric: str, *, seed: int = 0) -> pd.DataFrame:
    """Rank the rows of a dataset, best first.

    Returns:
        ``row``, ``mean``, ``low`` and ``high`` of the 95 % interval over cases, ``cases``, ``seeds``, and
        ``seed_low`` and ``seed_high``, the smallest and the largest mean of a seed.
    """
    table = by_case(figures, metric)
    lines = []
    for row in table:
        values = table[row].dropna().to_numpy(float)
        low, high = bootstrap_mean(values, resamples=RESAMPLES, seed=seed) if len(values) else (np.nan, np.nan)
        row_figures = figures[figures["row"] == row]
        means = [by_case(seed_figures, metric).mean().mean() for _, seed_figures in row_figures.groupby("seed")]
        lines.append(
            {"row": row, "mean": values.mean() if len(values) else np.nan, "low": low, "high": high,
             "cases": len(values), "seeds": len(means), "seed_low": min(means), "seed_high": max(means)}
        )  # fmt: skip
    ascending = BY_KEY[metric].better < 0
    return pd.DataFrame(lines).sort_values("mean", ascending=ascending, ignore_index=True, na_position="last")


def against(figures: pd.DataFrame, metric: str, reference: str, *, seed: int = 0) -> pd.DataFrame:
    """Compare every other row with the reference, case by case, over the folds and seeds that both have.

    Returns:
        ``row``, the fields of :class:`~nnunetv2_cfseg.evaluation.paired_tests.PairedDifference`, and ``p_holm``,
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
    """The cases whose Dice differs most from the reference's, in either direction.

    Returns:
        ``row``, ``case``, ``reference_value``, ``value`` and ``difference``, with at most ``most`` cases of each row.
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
    """Whether each (cost, gain) is Pareto-optimal: none costs less and gains as much, or costs as much and gains more.

    A point that is not finite is never optimal.
    """
    return [
        bool(np.isfinite([cost, gain]).all())
        and not any(
            (other_cost <= cost and other_gain >= gain) and (other_cost < cost or other_gain > gain)
            for other_cost, other_gain in points
        )
        for cost, gain in points
    ]
