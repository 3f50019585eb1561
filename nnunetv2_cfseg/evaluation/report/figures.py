"""The top of the page: one sentence about the result, and tables of means and medians of every class."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import isnan

import numpy as np
import pandas as pd

from nnunetv2_cfseg.evaluation.metric_definitions import BY_KEY
from nnunetv2_cfseg.evaluation.report.charts import Agreement
from nnunetv2_cfseg.evaluation.report.estimates import Estimate, Estimates
from nnunetv2_cfseg.evaluation.report.number_format import NOTHING, number
from nnunetv2_cfseg.evaluation.report.tables import Cell, Head, Row, Table, sort_key

#: Means over fewer cases are marked.
FEW_CASES = 5
#: With fewer cases, the bootstrap's interval of 95 % tends to cover less.
NARROW_CASES = 20
FEW = "\N{DAGGER}"
SHOWN = ("Dice", "IoU", "HD95_mm", "ASSD_mm", "NSD", "lesion_precision", "lesion_recall", "lesion_F1")
QUARTILES = ("Dice", "HD95_mm", "ASSD_mm", "NSD", "absolute_volume_error_ml")
MEAN = "mean over classes"


@dataclass(frozen=True)
class Part:
    """A part of a sentence; ``strong`` emphasises it."""

    words: str
    strong: bool = False


def verdict(table: pd.DataFrame, estimates: Estimates) -> tuple[Part, ...]:
    """The result in one sentence, in parts; a structure is a class in a case."""
    counts = table["presence"].value_counts()
    both, missed, alarms = (int(counts.get(presence, 0)) for presence in ("both", "missed", "false_alarm"))
    classes, cases = table["class"].nunique(), table["case"].nunique()
    measured = table.loc[table["Dice"].notna(), "class"].nunique()
    dice = estimates.mean("Dice")
    some = f"{measured} of " if 0 < measured < classes else ""
    scope = f"{some}{count_words(classes, 'class', 'classes')} in {count_words(cases, 'case', 'cases')}"
    if isnan(dice.mean):
        return (Part(f"There is nothing to measure: neither truth nor prediction shows any of {scope}."),)
    opening = [Part("Mean Dice is "), Part(number(dice.mean, "Dice"), strong=True)]
    if not isnan(dice.low):
        opening.append(Part(f" (95 % interval {number(dice.low, 'Dice')} to {number(dice.high, 'Dice')})"))
    present = count_words(both + missed, "structure", "structures")
    return (
        *opening,
        Part(f" over {scope}; "),
        Part(str(missed) if missed else "none", strong=missed > 0),
        Part(f" of {present} {'was' if missed <= 1 else 'were'} missed, and there {'was' if alarms == 1 else 'were'} "),
        Part(str(alarms) if alarms else "no", strong=alarms > 0),
        Part(f" false {'alarm' if alarms == 1 else 'alarms'}."),
    )


def summary_table(
    table: pd.DataFrame, estimates: Estimates, *, agreements: Sequence[Agreement | None], colours: Sequence[str]
) -> Table:
    """Means of each class, with intervals; the last row is the mean over classes.

    Args:
        table: table of an evaluation.
        estimates: the evaluation's means and intervals.
        agreements: agreement of volumes of each class, in the classes' order.
        colours: of the classes, in their order.
    """
    keys = [*SHOWN, *(["boundary_Dice"] if table["boundary_Dice"].notna().any() else [])]
    head = (
        Head("class"),
        Head("cases"),
        *(Head(BY_KEY[key].title, BY_KEY[key].unit) for key in keys),
        Head("volume error", "ml, bias ± 1.96 SD"),
        Head("missed"),
        Head("false alarms"),
    )
    names = list(dict.fromkeys(table["class"]))
    rows = []
    for position, (name, agreement, colour) in enumerate(zip(names, agreements, colours, strict=True), 1):
        class_rows = table[table["class"] == name]
        count = int(class_rows["Dice"].notna().sum())
        cells = (
            Cell(str(count), sort=str(count)),
            *(_estimate(estimates.of(name, key), key) for key in keys),
            _bias(agreement),
            *_errors(class_rows),
        )
        rows.append(Row(name, cells, colour=colour, number=position))
    means = (_estimate(estimates.mean(key), key) for key in keys)
    bias = Cell(number(estimates.mean("volume_error_ml").mean, "volume_error_ml", sign=True))
    foot = Row(MEAN, (Cell(""), *means, bias, *_errors(table)))
    caption = (
        "Means over cases, with the 95 % interval below (bootstrap over cases). A missed class and a false alarm count "
        "with the worst value; cases in which neither truth nor prediction shows the class are left out."
    )
    return Table("Every class in numbers", head, tuple(rows), foot, caption=caption, sortable=len(rows) > 1)


def summary_notes(table: pd.DataFrame, names: Sequence[str], left_out: Iterable[str] = ()) -> list[str]:
    """Notes on what limits the numbers, after those on what was left out; empty if nothing does."""
    counts = table[table["Dice"].notna()].groupby("class").size().reindex(names, fill_value=0)
    notes = list(left_out)
    few = [name for name in names if 0 < counts[name] < FEW_CASES]
    if few:
        notes.append(f"{FEW} Fewer than {FEW_CASES} cases say little, whatever their interval.")
    if counts.max() < NARROW_CASES:
        notes.append(f"With fewer than {NARROW_CASES} cases, bootstrap intervals tend to be too narrow.")
    empty = [name for name in names if counts[name] == 0]
    if empty and len(empty) < len(names):
        notes.append(f"The mean over classes leaves out classes that no case shows: {', '.join(empty)}.")
    return notes


def medians_table(table: pd.DataFrame, colours: Sequence[str]) -> Table:
    """Medians of each class, with quartiles below them."""
    rows = []
    for position, (name, colour) in enumerate(zip(dict.fromkeys(table["class"]), colours, strict=True), 1):
        class_rows = table[table["class"] == name]
        cells = tuple(_median(class_rows[key].dropna().to_numpy(float), key) for key in QUARTILES)
        rows.append(Row(name, cells, colour=colour, number=position))
    head = (Head("class"), *(Head(BY_KEY[key].title, BY_KEY[key].unit) for key in QUARTILES))
    caption = "Medians over the same cases as above, with the first and third quartile below."
    return Table("Medians and quartiles", head, tuple(rows), caption=caption, sortable=len(rows) > 1)


def _estimate(estimate: Estimate, key: str) -> Cell:
    interval = "" if isnan(estimate.low) else _interval(estimate, key)
    few = f" {FEW}" if 0 < estimate.count < FEW_CASES else ""
    return Cell(number(estimate.mean, key) + few, small=interval, sort=sort_key(estimate.mean))


def _interval(estimate: Estimate, key: str) -> str:
    return f"{number(estimate.low, key)}\N{EN DASH}{number(estimate.high, key)}"


def _bias(agreement: Agreement | None) -> Cell:
    if agreement is None:
        return Cell(NOTHING, sort="nan")
    spread = (agreement.high - agreement.low) / 2
    words = "" if isnan(spread) else f" ± {number(spread, 'volume_error_ml')}"
    return Cell(number(agreement.bias, "volume_error_ml", sign=True) + words, sort=sort_key(agreement.bias))


def _errors(rows: pd.DataFrame) -> tuple[Cell, Cell]:
    missed, alarms = (int((rows["presence"] == presence).sum()) for presence in ("missed", "false_alarm"))
    return Cell(str(missed), sort=str(missed), alarm=missed > 0), Cell(str(alarms), sort=str(alarms), alarm=alarms > 0)


def _median(values: np.ndarray, key: str) -> Cell:
    if not len(values):
        return Cell(NOTHING, sort="nan")
    first, middle, third = (float(value) for value in np.quantile(values, (0.25, 0.5, 0.75)))
    quartiles = f"{number(first, key)}\N{EN DASH}{number(third, key)}"
    return Cell(number(middle, key), small=quartiles, sort=sort_key(middle))


def count_words(count: int, one: str, many: str) -> str:
    """A count and what is counted: "1 case", "2 cases"."""
    return f"{count} {one if count == 1 else many}"
