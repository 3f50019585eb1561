"""Which values of two predictions are compared with each other: the pairs of a measure, case by case."""

from __future__ import annotations

import numpy as np
import pandas as pd

from nnunetv2_cfseg.evaluation.metric_definitions import BY_KEY

#: Stands in the column ``class`` of what is a mean over a case's classes.
MEAN = "mean over classes"

KEY = ["case", "class"]
ABSENT = "absent"


def pair_values(reference: pd.DataFrame, other: pd.DataFrame, *, metric: str) -> pd.DataFrame:
    """Pair two predictions' values of a measure.

    What is no number is treated so:

    - A class that both predictions rightly leave out of a case is no pair, for no measure: not even for a volume error,
      whose two zeros would only dilute the mean difference.
    - Where one rightly leaves it out and the other raises a false alarm, the former counts as the measure's perfect
      value: a false alarm must not vanish from the comparison. (The evaluation gives the false alarm its worst.)
    - Where a value is not defined for another reason, there is no pair: the lesion precision of a prediction without a
      lesion, the lesion recall of a false alarm, the boundary-slab Dice without boundary voxels. A miss is no perfect
      precision; recall and F1 show it.

    The mean over the classes of a case is that over the classes with a pair in this case. It is left out where the
    tables hold one class, of which it would only repeat the test.

    Args:
        reference: the evaluation's table of one prediction: a row for each case and class.
        other: the same of the other.
        metric: key of a column with a direction.

    Returns:
        A row for each pair: ``case``, ``class``, ``reference_value``, ``other_value``, ``difference`` (other less
        reference), ``reference_presence`` and ``other_presence`` (empty for means), classes in the order of the tables
        and means last.

    Raises:
        ValueError: the tables are not of the same cases and classes.
    """
    rows = _merge(reference, other, metric)
    absent = {side: rows[f"{side}_presence"] == ABSENT for side in ("reference", "other")}
    for side, counterpart in (("reference", "other"), ("other", "reference")):
        right = absent[side] & ~absent[counterpart] & rows[f"{counterpart}_value"].notna()
        rows.loc[right, f"{side}_value"] = BY_KEY[metric].perfect
    is_pair = rows["reference_value"].notna() & rows["other_value"].notna()
    pairs = rows[is_pair & ~(absent["reference"] & absent["other"])]
    if len(pairs) and rows["class"].nunique() > 1:
        pairs = pd.concat([pairs, _means(pairs)])
    return pairs.assign(difference=pairs["other_value"] - pairs["reference_value"]).reset_index(drop=True)


def classes_of(table: pd.DataFrame) -> list[str]:
    """What is compared: the table's classes in its order and, where there is more than one, their mean."""
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
            f"two tables must be of the same cases and classes to be compared, and share {len(rows)} of their "
            f"{len(reference)} and {len(other)} rows"
        )
    rows[["reference_value", "other_value"]] = rows[["reference_value", "other_value"]].astype(np.float64)
    return rows[[*KEY, "reference_value", "other_value", "reference_presence", "other_presence"]]


def _means(pairs: pd.DataFrame) -> pd.DataFrame:
    """Of each case, over the classes with a pair."""
    means = pairs.groupby("case", sort=False)[["reference_value", "other_value"]].mean().reset_index()
    return means.assign(**{"class": MEAN, "reference_presence": "", "other_presence": ""})
