"""Compare evaluations of the same cases, pair by pair."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations

import pandas as pd

from nnunetv2_cfseg.evaluation.compare.metrics import METRICS
from nnunetv2_cfseg.evaluation.compare.pairs import classes_of, pair_values
from nnunetv2_cfseg.evaluation.metric_definitions import BY_KEY
from nnunetv2_cfseg.evaluation.paired_tests import compare_values, holm

RESAMPLES = 2000


@dataclass(frozen=True)
class Comparison:
    """Results of every pair of predictions, by every measure.

    Attributes:
        names: names of the predictions, in order.
        reference: the prediction that all others are compared with; None if every pair is compared.
        metrics: keys of the measures.
        table: the evaluations' rows of the compared cases, concatenated, with the column ``name`` added.
        results: a row for each metric, pair, and class or mean over classes: ``reference``, ``other``, ``metric``,
            ``class``, then the fields of :class:`PairedDifference`, with ``p_holm`` after ``p``. Holm's family is all
            tests of one metric: pairs times classes, means included.
        cases: a row for each pair of values: ``reference``, ``other``, ``metric``, then the columns of
            :func:`pair_values`.
        dice: the same for Dice, whether or not it is one of the metrics.
        resamples: number of bootstrap resamples.
        seed: seed of the bootstrap.
    """

    names: tuple[str, ...]
    reference: str | None
    metrics: tuple[str, ...]
    table: pd.DataFrame
    results: pd.DataFrame
    cases: pd.DataFrame
    dice: pd.DataFrame
    resamples: int
    seed: int

    def pairs(self) -> list[tuple[str, str]]:
        """Names of reference and other of each pair."""
        return list(_pairs(self.names, self.reference))


def compare_tables(
    tables: Mapping[str, pd.DataFrame],
    *,
    metrics: Sequence[str] = METRICS,
    reference: str | None = None,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> Comparison:
    """Compare evaluations of the same cases.

    Args:
        tables: tables of :class:`Evaluation`, by name; two or more.
        metrics: keys of measures with a direction.
        reference: name of the table that all others are compared with; None compares every pair, with the earlier one
            as reference.
        seed: seeds the bootstrap.
        resamples: number of bootstrap resamples.

    Raises:
        ValueError: the tables have different cases or classes.
    """
    pairs = list(_pairs(tuple(tables), reference))
    values = {metric: _values(tables, pairs, metric) for metric in dict.fromkeys([*metrics, "Dice"])}
    classes = classes_of(next(iter(tables.values())))
    results = [
        _results(values[metric], pairs, classes, metric=metric, resamples=resamples, seed=seed) for metric in metrics
    ]
    return Comparison(
        names=tuple(tables),
        reference=reference,
        metrics=tuple(metrics),
        table=pd.concat([table.assign(name=name) for name, table in tables.items()], ignore_index=True),
        results=pd.concat(results, ignore_index=True),
        cases=pd.concat([values[metric] for metric in metrics], ignore_index=True),
        dice=values["Dice"],
        resamples=resamples,
        seed=seed,
    )


def _pairs(names: tuple[str, ...], reference: str | None) -> Iterator[tuple[str, str]]:
    if reference is None:
        return combinations(names, 2)
    return ((reference, name) for name in names if name != reference)


def _values(tables: Mapping[str, pd.DataFrame], pairs: Sequence[tuple[str, str]], metric: str) -> pd.DataFrame:
    """The values of every pair, case by case, concatenated."""
    parts = []
    for reference, other in pairs:
        values = pair_values(tables[reference], tables[other], metric=metric)
        for position, (column, value) in enumerate({"reference": reference, "other": other, "metric": metric}.items()):
            values.insert(position, column, value)
        parts.append(values)
    return pd.concat(parts, ignore_index=True)


def _results(
    values: pd.DataFrame,
    pairs: Sequence[tuple[str, str]],
    classes: Sequence[str],
    *,
    metric: str,
    resamples: int,
    seed: int,
) -> pd.DataFrame:
    """Test every pair and class by one metric; ``p_holm`` corrects for all of these tests."""
    rows = []
    for reference, other in pairs:
        pair_rows = values[(values["reference"] == reference) & (values["other"] == other)]
        for name in classes:
            class_rows = pair_rows[pair_rows["class"] == name]
            difference = compare_values(
                class_rows["reference_value"].to_numpy(),
                class_rows["other_value"].to_numpy(),
                better=BY_KEY[metric].better,
                resamples=resamples,
                seed=seed,
            )
            rows.append({"reference": reference, "other": other, "metric": metric, "class": name, **asdict(difference)})
    results = pd.DataFrame(rows)
    results.insert(results.columns.get_loc("p") + 1, "p_holm", holm(results["p"]))
    return results
