"""The table of all cases, for which the reader chooses the measure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isnan

import pandas as pd

from nnunetv2_cfseg.evaluation.bootstrap import nan_mean
from nnunetv2_cfseg.evaluation.metric_definitions import BY_KEY
from nnunetv2_cfseg.evaluation.report.number_format import NOTHING, number
from nnunetv2_cfseg.evaluation.report.tables import Cell, Head, Measured, Row, Table, sort_key

CHOICES = ("Dice", "NSD", "HD95_mm", "ASSD_mm", "volume_error_ml", "reference_volume_ml", "lesion_F1")
MISSED, FALSE_ALARM = "\N{MULTIPLICATION SIGN}", "\N{WHITE UP-POINTING TRIANGLE}"
MARKS = {"missed": f" {MISSED}", "false_alarm": f" {FALSE_ALARM}"}


def case_table(table: pd.DataFrame, *, hrefs: Mapping[str, str], colours: Sequence[str]) -> Table:
    """Every class of every case, worst cases first, with the mean over the classes that truth or prediction shows.

    Args:
        table: table of an evaluation.
        hrefs: links to the cases that can be viewed, by name.
        colours: of the classes, in their order.
    """
    names = list(dict.fromkeys(table["class"]))
    largest = {key: float(table[key].abs().max()) for key in CHOICES}
    rows = []
    for case in worst_first(table):
        by_class = table[table["case"] == case].set_index("class").loc[names]
        means = {key: float(nan_mean(by_class[key].to_numpy(float), axis=0)) for key in CHOICES}
        cells = [_cell(means, "", largest)]
        cells += [
            _cell({key: float(by_class.at[name, key]) for key in CHOICES}, str(by_class.at[name, "presence"]), largest)
            for name in names
        ]
        rows.append(Row(case, tuple(cells), href=hrefs.get(case, "")))
    caption = (
        f"{MISSED} the class was missed; {FALSE_ALARM} it is a false alarm; {NOTHING} neither truth nor prediction "
        "shows it, or the measure is not defined."
    )
    head = (Head("case"), Head("mean"), *(Head(name) for name in names))
    return Table("Every case", head, tuple(rows), caption=caption, sortable=len(rows) > 1)


def choices() -> list[tuple[str, str]]:
    """Key and label of each measure that the table can show."""
    columns = (BY_KEY[key] for key in CHOICES)
    return [(column.key, f"{column.title}, {column.unit}" if column.unit else column.title) for column in columns]


def worst_first(table: pd.DataFrame) -> list[str]:
    """Cases by their mean Dice over the classes that truth or prediction shows; cases without any class come last."""
    means = table.groupby("case")["Dice"].mean()
    return [str(case) for case in means.sort_index().sort_values(kind="stable", na_position="last").index]


def mean_dice(table: pd.DataFrame, case: str) -> float:
    """The mean Dice of one case over the classes that truth or prediction shows; NaN if there is none."""
    return float(table.loc[table["case"] == case, "Dice"].mean())


def _cell(values: Mapping[str, float], presence: str, largest: Mapping[str, float]) -> Cell:
    return Cell(measures=tuple(_measured(key, value, presence, largest[key]) for key, value in values.items()))


def _measured(key: str, value: float, presence: str, largest: float) -> Measured:
    full = 1.0 if BY_KEY[key].unit == "" else largest
    bar = 0.0 if isnan(value) or not full else round(100 * min(1.0, abs(value) / full), 1)
    words = number(value, key, sign=key == "volume_error_ml") + MARKS.get(presence, "")
    return Measured(key, words, sort_key(value), bar, alarm=presence in MARKS)
