"""The report's charts as positions in percent, which the template turns into SVG.

Positions in percent make a chart as wide as its column, even on a phone, while text, dots and lines keep their size;
the page's colours make it follow the reader's light or dark screen. A matplotlib drawing does neither, and several on
one page need distinct identifiers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from nnunetv2_cfseg.evaluation.report.axis_ticks import Axis, axis
from nnunetv2_cfseg.evaluation.report.number_format import with_unit

#: Golden ratio: spreads neighbouring dots on an axis apart across it.
GOLDEN = 0.618034


@dataclass(frozen=True)
class Dot:
    """A case: its position in percent, its label, and whether its class was missed or a false alarm.

    ``outside`` marks a value beyond the axis: the penalty for the distance to a missing surface.
    """

    case: str
    x: float
    y: float
    words: str
    presence: str
    outside: bool = False


@dataclass(frozen=True)
class Strip:
    """The cases of one class along an axis, with the positions of their quartiles in percent (empty without cases)."""

    name: str
    dots: tuple[Dot, ...]
    quartiles: tuple[float, ...]
    words: str


@dataclass(frozen=True)
class Strips:
    """The cases of all classes along one axis."""

    axis: Axis
    rows: tuple[Strip, ...]


@dataclass(frozen=True)
class Agreement:
    """Agreement of predicted and true volumes of a class: their differences against their means.

    Attributes:
        name: name of the class.
        count: cases in which truth or prediction shows the class.
        bias: mean difference, ml.
        low: lower limit of agreement, ml; NaN for fewer than two cases.
        high: upper limit of agreement, ml; NaN for fewer than two cases.
        x, y: axes of mean and difference, ml.
        dots: the cases; y is in percent from the top.
    """

    name: str
    count: int
    bias: float
    low: float
    high: float
    x: Axis
    y: Axis
    dots: tuple[Dot, ...]

    def level(self, value: float) -> float:
        """The position of a difference in percent from the top."""
        return round(100 - self.y.place(value), 2)


def strips(table: pd.DataFrame, key: str, names: Sequence[str]) -> Strips:
    """Every case of every class along one axis, in the order of ``names``.

    Args:
        table: table of an evaluation, with one row per case and class.
        key: key of the column to show; NaN is left out.
        names: names of the classes.
    """
    share = not key.endswith("_mm")
    shown = table[table[key].notna()]
    # The penalty for a missing surface is the image diagonal, which would squeeze all other distances into a corner.
    inside = shown if share else shown[shown["presence"] == "both"]
    scale = axis([] if share else inside[key], include=(0.0, 1.0) if share or inside.empty else (0.0,), intervals=4)
    return Strips(scale, tuple(_strip(shown[shown["class"] == name], key, name, scale, share) for name in names))


def _strip(rows: pd.DataFrame, key: str, name: str, scale: Axis, share: bool) -> Strip:
    if rows.empty:
        return Strip(name, (), (), f"{name}: no case with a value")
    rows = rows.sort_values([key, "case"], kind="stable")
    dots = tuple(
        Dot(
            case=case,
            x=scale.place(value),
            y=round(50 + 56 * ((0.5 + number * GOLDEN) % 1 - 0.5), 1),
            words=f"{case}, {name}: {with_unit(value, key)}{_in_brackets(presence)}",
            presence=presence,
            outside=not share and presence != "both",
        )
        for number, (case, value, presence) in enumerate(zip(rows["case"], rows[key], rows["presence"], strict=True))
    )
    low, first, middle, third, high = (float(value) for value in np.quantile(rows[key], (0, 0.25, 0.5, 0.75, 1)))
    words = (
        f"{name}: {len(rows)} {'case' if len(rows) == 1 else 'cases'}, median {with_unit(middle, key)}, "
        f"quartiles {with_unit(first, key)} and {with_unit(third, key)}, "
        f"from {with_unit(low, key)} to {with_unit(high, key)}"
    )
    return Strip(name, dots, tuple(scale.place(value) for value in (first, middle, third)), words)


def agreement(table: pd.DataFrame, name: str, *, bias: float, limits: tuple[float, float]) -> Agreement | None:
    """The volumes of one class in the cases whose truth or prediction shows it; None if there is no such case.

    Args:
        table: table of an evaluation, with one row per case and class.
        name: name of the class.
        bias: mean difference of predicted and true volume, ml.
        limits: limits of agreement, ml; NaN if there are none.

    Source: Bland and Altman, Lancet 1986.
    """
    rows = table[(table["class"] == name) & (table["presence"] != "absent")]
    if rows.empty:
        return None
    difference = rows["volume_error_ml"].to_numpy(float)
    mean = (rows["volume_ml"].to_numpy(float) + rows["reference_volume_ml"].to_numpy(float)) / 2
    x = axis(mean, intervals=4)
    y = axis((*difference, bias, *limits), include=(0.0,), intervals=4)
    dots = tuple(
        Dot(
            case=case,
            x=x.place(across),
            y=round(100 - y.place(up), 2),
            words=f"{case}, {name}: {with_unit(up, 'volume_error_ml', sign=True)} at a mean of "
            f"{with_unit(across, 'volume_ml')}{_in_brackets(presence)}",
            presence=presence,
        )
        for case, across, up, presence in zip(rows["case"], mean, difference, rows["presence"], strict=True)
    )
    return Agreement(name, len(rows), bias, *limits, x, y, dots)


def _in_brackets(presence: str) -> str:
    return {"missed": " (missed)", "false_alarm": " (false alarm)"}.get(presence, "")
