"""Bootstrap intervals of means over cases."""

from __future__ import annotations

from math import nan
from typing import Protocol

import numpy as np

#: Values drawn at a time. Limits the memory; the result does not depend on it.
VALUES_AT_A_TIME = 1 << 22


class Statistic(Protocol):
    """Reduces one axis, as ``np.mean`` does."""

    def __call__(self, values: np.ndarray, /, *, axis: int) -> np.ndarray:
        """The values reduced over the axis; the result has one axis less."""


def nan_mean(values: np.ndarray, /, *, axis: int) -> np.ndarray:
    """Mean along an axis, ignoring NaN; NaN where all values are NaN, without a warning."""
    known = ~np.isnan(values)
    count = np.asarray(known.sum(axis))
    total = np.where(known, values, 0).sum(axis)
    return np.divide(total, count, out=np.full(count.shape, nan), where=count > 0)


def bootstrap_mean(
    values: np.ndarray,
    *,
    statistic: Statistic = nan_mean,
    resamples: int,
    seed: int,
    confidence: float = 0.95,
) -> tuple[float, float]:
    """Percentile bootstrap over cases (Efron and Tibshirani 1993, chapter 13).

    Cases are drawn with replacement, each with all its values: classes of one case are not independent. In each
    resample the statistic is taken over the cases, then averaged over all further axes, ignoring NaN.
    The draws depend only on the seed and the number of cases, not on the values.

    ``scipy.stats.bootstrap`` does not fit: one resample without a value, which a rare class can give, makes both ends
    NaN, and it cannot reduce a sample of cases with several classes to one number.

    Args:
        values: (cases, ...), NaN where a case has no value.
        statistic: over cases; by default ``np.nanmean`` without its warnings.
        resamples: number of bootstrap resamples.
        seed: seeds the draws.
        confidence: fraction of the resamples between the ends.

    Returns:
        Low and high; NaN if fewer than two cases have a value, because one case does not show how cases vary.

    Raises:
        ValueError: ``resamples`` is below 1, or ``confidence`` is not between 0 and 1.
    """
    if resamples < 1:
        raise ValueError(f"the number of resamples must be >= 1, got {resamples}")
    if not 0 < confidence < 1:
        raise ValueError(f"a confidence must be above 0 and below 1, got {confidence:g}")
    values = np.asarray(values, dtype=np.float64)
    cases = len(values)
    by_case = values.reshape(cases, values[0].size if cases else 0)
    if (~np.isnan(by_case)).any(axis=1).sum() < 2:
        return nan, nan
    drawn = np.random.default_rng(seed).integers(cases, size=(resamples, cases))
    parts = np.array_split(drawn, -(-drawn.size * by_case.shape[1] // VALUES_AT_A_TIME))
    estimates = np.concatenate([nan_mean(statistic(by_case[part], axis=1), axis=1) for part in parts])
    estimates = estimates[~np.isnan(estimates)]
    if not estimates.size:
        return nan, nan
    low, high = np.quantile(estimates, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)
