"""Paired statistics: one measure of two segmentations of the same cases."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import nan

import numpy as np
from scipy import stats

from nnunetv2_cfseg.evaluation.bootstrap import bootstrap_mean

#: Values that agree to this many decimals are a tie.
TIE_DECIMALS = 3
#: Differences are rounded to this many decimals, so that equal ones rank as equal in spite of rounding errors.
NOISE_DECIMALS = 9


@dataclass(frozen=True)
class PairedDifference:
    """How another segmentation differs from the reference segmentation, over cases.

    Attributes:
        n: number of pairs.
        mean_reference: mean of the reference's values; NaN without a pair.
        mean_other: mean of the other's values.
        difference: mean of other minus reference.
        low: lower end of the difference's bootstrap interval; NaN with fewer than two pairs.
        high: upper end of that interval.
        p: two-sided Wilcoxon signed-rank test of the differences; NaN without a pair.
        wins: pairs in which the other value is better.
        ties: pairs whose values agree to three decimals.
        losses: pairs in which the reference value is better.
    """

    n: int
    mean_reference: float
    mean_other: float
    difference: float
    low: float
    high: float
    p: float
    wins: int
    ties: int
    losses: int


def compare_values(
    reference: np.ndarray, other: np.ndarray, *, better: int, resamples: int = 2000, seed: int = 0
) -> PairedDifference:
    """Compare two segmentations by one value of each for every case.

    Args:
        reference: (cases,), finite.
        other: (cases,), finite, in the same order.
        better: 1 if more is better, -1 if less is better.
        resamples: number of bootstrap resamples.
        seed: seeds the bootstrap.

    Raises:
        ValueError: the two differ in length, or ``better`` is neither 1 nor -1.
    """
    reference, other = np.asarray(reference, float), np.asarray(other, float)
    if reference.ndim != 1 or reference.shape != other.shape:
        raise ValueError(f"paired values must be two arrays of one length, got {reference.shape} and {other.shape}")
    if better not in (1, -1):
        raise ValueError(f"the better direction must be 1 or -1, got {better}")
    differences = other - reference
    tied = np.round(reference, TIE_DECIMALS) == np.round(other, TIE_DECIMALS)
    low, high = bootstrap_mean(differences, resamples=resamples, seed=seed)
    return PairedDifference(
        n=len(differences),
        mean_reference=_mean(reference),
        mean_other=_mean(other),
        difference=_mean(differences),
        low=low,
        high=high,
        p=wilcoxon_p(differences),
        wins=int((better * differences > 0)[~tied].sum()),
        ties=int(tied.sum()),
        losses=int((better * differences < 0)[~tied].sum()),
    )


def wilcoxon_p(differences: np.ndarray) -> float:
    """Two-sided p of Wilcoxon's signed-rank test (Wilcoxon 1945), exact for few pairs.

    Pairs without a difference say nothing about its sign and are left out first, as Wilcoxon did; if no pair is left, p
    is 1. The cases must be independent of each other: two scans of one patient are not.

    Args:
        differences: (cases,), finite.

    Returns:
        p; NaN without a pair.
    """
    differences = np.round(np.asarray(differences, float), NOISE_DECIMALS)
    if not len(differences):
        return nan
    # Leave zeros out here: scipy switches to the normal approximation if it meets a zero among many pairs.
    differing = differences[differences != 0]
    if not len(differing):
        return 1.0
    return float(stats.wilcoxon(differing).pvalue)


def smallest_p(n: int) -> float:
    """The smallest p of Wilcoxon's two-sided test with n pairs: of 2^n signs, all are plus or all are minus."""
    return min(1.0, 2.0 ** (1 - n))


def holm(p: Sequence[float] | np.ndarray) -> np.ndarray:
    """Correct p values for multiple tests, step down (Holm, Scand. J. Statist. 1979;6:65).

    Args:
        p: (tests,) of one family; NaN does not count as a test.

    Returns:
        (tests,), at most 1. Rejecting those up to 0.05 keeps the probability of any false rejection at 0.05 or below.
    """
    values = np.asarray(p, float)
    tests = np.flatnonzero(~np.isnan(values))
    order = tests[np.argsort(values[tests], kind="stable")]
    corrected = np.full(values.shape, nan)
    factors = np.arange(len(order), 0, -1)
    corrected[order] = np.minimum(np.maximum.accumulate(values[order] * factors), 1.0)
    return corrected


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if len(values) else nan
