"""Tables for the page about segmentations without a reference."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from nnunetv2_cfseg.evaluation.report.number_format import NOTHING, number
from nnunetv2_cfseg.evaluation.report.remarks import Remark
from nnunetv2_cfseg.evaluation.report.tables import Cell, Head, Measured, Row, Table, sort_key

#: Measures that the table of cases can show, with their labels.
CHOICES = {"volume_ml": "volume, ml", "pieces": "pieces", "largest_piece_ml": "largest piece, ml"}


def remarks_table(remarks: Sequence[Remark], *, hrefs: Mapping[Remark, str]) -> Table:
    """All remarks, cases with most remarks first; classes with the same remark share a row.

    Args:
        remarks: remarks on all cases.
        hrefs: links to the remarks that can be viewed.
    """
    counts = pd.Series([remark.case for remark in remarks], dtype=object).value_counts()
    ordered = sorted(remarks, key=lambda remark: -counts[remark.case])  # stable: remarks on one case stay in order
    together: dict[tuple[str, str], list[Remark]] = {}
    for remark in ordered:
        together.setdefault((remark.case, remark.words), []).append(remark)
    rows = []
    for (case, words), alike in together.items():
        names = ", ".join(remark.class_name or "all classes" for remark in alike)
        rows.append(Row(case, (Cell(words), Cell(names)), href=hrefs.get(alike[0], "")))
    head = (Head("case"), Head("remark"), Head("class"))
    return Table("What is worth a look", head, tuple(rows), sortable=len(rows) > 1, prose=True)


def summary_table(table: pd.DataFrame, *, colours: Sequence[str]) -> Table:
    """Volumes of each class over the cases that show it.

    Args:
        table: table of observations.
        colours: of the classes, in their order.
    """
    head = (
        Head("class"),
        Head("cases that show it"),
        Head("volume", "ml, median"),
        Head("smallest", "ml"),
        Head("largest", "ml"),
        Head("pieces", "median"),
        Head("reaches the scan's end"),
    )
    rows = []
    for position, ((name, class_rows), colour) in enumerate(
        zip(table.groupby("class", sort=False), colours, strict=True), 1
    ):
        shown = class_rows[class_rows["volume_ml"] > 0]
        cut = int((shown["border"] != "").sum())
        cells = (
            Cell(f"{len(shown)} of {len(class_rows)}", sort=str(len(shown)), alarm=not len(shown)),
            *_volumes(shown["volume_ml"].to_numpy(float)),
            _median_pieces(shown["pieces"].to_numpy(float)),
            Cell(str(cut), sort=str(cut)),
        )
        rows.append(Row(str(name), cells, colour=colour, number=position))
    caption = "Over the cases that show the class, with the first and third quartile below the median."
    return Table("Every class in numbers", head, tuple(rows), caption=caption, sortable=len(rows) > 1)


def case_table(table: pd.DataFrame, remarks: Sequence[Remark], *, hrefs: Mapping[str, str]) -> Table:
    """Every class of every case; bars are relative to the class's largest value."""
    names = list(dict.fromkeys(table["class"]))
    largest = table.groupby("class")[list(CHOICES)].max()
    rows = []
    for case, case_rows in table.groupby("case", sort=False):
        count = sum(remark.case == case for remark in remarks)
        by_class = case_rows.set_index("class")
        cells = [Cell(str(count), sort=str(count))]
        for name in names:
            values = {key: float(by_class.at[name, key]) for key in CHOICES}
            full = {key: float(largest.at[name, key]) for key in CHOICES}
            cells.append(Cell(measures=tuple(_measured(key, values[key], full[key]) for key in CHOICES)))
        rows.append(Row(str(case), tuple(cells), href=hrefs.get(str(case), "")))
    head = (Head("case"), Head("remarks"), *(Head(name) for name in names))
    caption = f"{NOTHING} the class was not found. Bars are relative to the largest value of the class."
    return Table("Every case", head, tuple(rows), caption=caption, sortable=len(rows) > 1)


def _volumes(volumes_ml: np.ndarray) -> tuple[Cell, ...]:
    if not len(volumes_ml):
        return (Cell(NOTHING, sort="nan"),) * 3
    low, first, middle, third, high = (float(v) for v in np.quantile(volumes_ml, (0, 0.25, 0.5, 0.75, 1)))
    quartiles = f"{number(first, 'volume_ml')}\N{EN DASH}{number(third, 'volume_ml')}"
    return (
        Cell(number(middle, "volume_ml"), small=quartiles, sort=sort_key(middle)),
        Cell(number(low, "volume_ml"), sort=sort_key(low)),
        Cell(number(high, "volume_ml"), sort=sort_key(high)),
    )


def _median_pieces(pieces: np.ndarray) -> Cell:
    if not len(pieces):
        return Cell(NOTHING, sort="nan")
    return Cell(number(float(np.median(pieces)), "lesions"), sort=sort_key(float(np.median(pieces))))


def _measured(key: str, value: float, full: float) -> Measured:
    words = NOTHING if not value else number(value, "lesions" if key == "pieces" else "volume_ml")
    return Measured(key, words, sort_key(value), round(100 * value / full, 1) if full else 0.0)
