"""Pair the values of two predictions, case by case and class by class."""

from __future__ import annotations

import numpy as np
import pandas as pd

from nnunetv2_cfseg.evaluation.metric_definitions import BY_KEY

#: Value of the column ``class`` for means over a case's classes.
MEAN = "mean over classes"

KEY = ["case", "class"]
ABSENT = "absent"


def pair_values(reference: pd.DataFrame, other: pd.DataFrame, *, metric: str) -> pd.DataFrame:
    """Pair two predictions' values of a measure.

    Missing values are treated as follows:

    - A class that both predictions rightly leave out of a case gives no pair, not even for a volume error: two zeros
      would only dilute the mean difference.
    - If one rightly leaves it out and the other raises a false alarm, the former gets the measure's perfect value, so
      that the false alarm counts. (The evaluation gives the false alarm the worst value.)
    - If a value is undefined for another reason, there is no pair: the lesion precision of a prediction without a
      lesion, the lesion recall of a false alarm, the boundary-slab Dice without boundary voxels. A miss does not count
      as perfect precision; recall and F1 show it.

    A case's mean over classes is over the classes with a pair in this case. It is left out if the tables hold only one
    class, whose test it would repeat.

    Args:
        reference: evaluation table of one prediction, with a row for each case and class.
        other: evaluation table of the other prediction.
        metric: key of a column with a direction.

    Returns:
        A row for each pair: ``case``, ``class``, ``reference_value``, ``other_value``, ``difference`` (other minus
        reference), ``reference_presence`` and ``other_presence`` (empty for means), classes in the order of the tables
        and means last.

    Raises:
        ValueError: the tables have different cases or classes.
    """
    rows = _merge(reference, other, metric)
    absent = {side: rows[f"{side}_presence"] == ABSENT for side in ("reference", "other")}
    for side, counterpart in (("reference", "other"), ("other", "reference")):
        rightly_absent = absent[side] & ~absent[counterpart] & rows[f"{counterpart}_value"].notna()
        rows.loc[rightly_absent, f"{side}_value"] = BY_KEY[metric].perfect
    is_pair = rows["reference_value"].notna() & rows["other_value"].notna()
    pairs = rows[is_pair & ~(absent["reference"] & absent["other"])]
    if len(pairs) and rows["class"].nunique() > 1:
        pairs = pd.concat([pairs, _means(pairs)])
    return pairs.assign(difference=pairs["other_value"] - pairs["reference_value"]).reset_index(drop=True)


def classes_of(table: pd.DataFrame) -> list[str]:
    """The table's classes in order and, if there are several, ``MEAN``."""
    classes = [str(name) for name in table["class"].unique()]
    return [*classes, MEAN] if len(classes) > 1 else classes


def _merge(reference: pd.DataFrame, other: pd.DataFrame, metric: str) -> pd.DataFrame:
    sides = [
        table[[*KEY, "presence", metric]].rename(columns={"presence": f"{side}_presence", metric: f"{side}_value"})
        for side, table in (("reference", reference), ("other", other))
    ]
    rows = sides[0].merge(sides[1], on=KEY, validate="one_to_one")
    if not len(rows) == len(reference) == len(other):
        raise ValueError(
            f"two tables share {len(rows)} of their {len(reference)} and {len(other)} rows; they must have the same "
            "cases and classes to be compared"
        )
    rows[["reference_value", "other_value"]] = rows[["reference_value", "other_value"]].astype(np.float64)
    return rows[[*KEY, "reference_value", "other_value", "reference_presence", "other_presence"]]


def _means(pairs: pd.DataFrame) -> pd.DataFrame:
    """The mean of each case over the classes with a pair."""
    means = pairs.groupby("case", sort=False)[["reference_value", "other_value"]].mean().reset_index()
    return means.assign(**{"class": MEAN, "reference_presence": "", "other_presence": ""})
