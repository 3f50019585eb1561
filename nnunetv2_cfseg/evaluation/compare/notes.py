"""Notes on what limits a comparison: missing cases, few pairs, many tests."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pandas as pd

from nnunetv2_cfseg.evaluation.compare.folders import FolderComparison
from nnunetv2_cfseg.evaluation.paired_tests import smallest_p

#: Level of significance that a test may be unable to reach.
LEVEL = 0.05
#: With fewer cases, a percentile interval of 95 % covers less than about 93 %.
FEW_CASES = 20
MOST_NAMED = 10


def notes(comparison: FolderComparison) -> list[str]:
    """Sentences on what limits the comparison; empty if nothing does."""
    results = comparison.comparison.results
    return [*_left_out(comparison), *_few_pairs(results), *_many_tests(results), *_narrow(results)]


def _left_out(comparison: FolderComparison) -> Iterator[str]:
    cases = comparison.cases
    total = len(cases.left_out) + len(cases.compared)
    partly = [f"{case} (only {', '.join(names)})" for case, names in cases.left_out.items() if names]
    if len(cases.left_out) > len(partly):
        yield f"left out: {len(cases.left_out) - len(partly)} of the truth's {total} cases, which no folder has"
    if partly:
        yield (
            f"left out: {len(partly)} of the truth's {total} cases, which some folders lack; a model that fails on "
            f"hard cases gains from this: {_some(partly)}"
        )
    if cases.without_truth:
        yield (
            f"left out: {len(cases.without_truth)} of the predicted cases, which the truth lacks: "
            f"{_some(cases.without_truth)}"
        )


def _few_pairs(results: pd.DataFrame) -> Iterator[str]:
    counts = sorted({int(n) for n in results["n"] if n and smallest_p(int(n)) > LEVEL})
    if counts:
        yield "; ".join(f"n = {n}: the smallest p this test can give is {smallest_p(n):.4g}" for n in counts)


def _many_tests(results: pd.DataFrame) -> Iterator[str]:
    """Note metrics for which no p can reach LEVEL: Holm multiplies the smallest p by the number of tests."""
    limits: dict[tuple[int, int], list[str]] = {}
    for metric, family in results[results["n"] > 0].groupby("metric", sort=False):
        limits.setdefault((len(family), int(family["n"].max())), []).append(str(metric))
    for (tests, pairs), metrics in limits.items():
        smallest = min(1.0, tests * smallest_p(pairs))
        if smallest_p(pairs) <= LEVEL < smallest:
            yield (
                f"{tests} tests of at most n = {pairs} ({', '.join(metrics)}): the smallest p that Holm's correction "
                f"can give is {smallest:.3g}"
            )


def _narrow(results: pd.DataFrame) -> Iterator[str]:
    pairs = int(results["n"].max())
    if 1 < pairs < FEW_CASES:
        yield f"at most n = {pairs}: with so few cases the bootstrap interval of 95 % is too narrow"


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    return ", ".join(names[:MOST_NAMED]) + more
