"""Line charts as positions that the template turns into SVG, as in :mod:`.charts`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite, nan

from nnunetv2_cfseg.evaluation.report.axis_ticks import Axis, axis


@dataclass(frozen=True)
class Line:
    """One series: its name, its position in the legend, its SVG path in a box of 1000 by 1000, and its last value."""

    name: str
    style: int
    path: str
    last: float


@dataclass(frozen=True)
class Lines:
    """Several series over common axes."""

    x: Axis
    y: Axis
    lines: tuple[Line, ...]


def lines(x: Sequence[float], series: Sequence[tuple[str, Sequence[float]]]) -> Lines:
    """Make a chart of several series, with lines broken where a value is not finite.

    Args:
        x: positions of the values, ascending.
        series: name and values of each series, one value for each position.
    """
    across = axis(x, intervals=4)
    up = axis([value for _, values in series for value in values], intervals=4)
    drawn = (
        Line(name, style, _path(across, up, x, values), next((v for v in reversed(values) if isfinite(v)), nan))
        for style, (name, values) in enumerate(series)
    )
    return Lines(across, up, tuple(drawn))


def _path(across: Axis, up: Axis, x: Sequence[float], values: Sequence[float]) -> str:
    parts: list[str] = []
    pen_up = True
    for position, value in zip(x, values, strict=True):
        if not isfinite(value):
            pen_up = True
            continue
        point = f"{10 * across.place(position):.1f},{1000 - 10 * up.place(value):.1f}"
        # A single point is drawn as a line of no length, which round ends turn into a dot.
        parts.append(f"M{point}L{point}" if pen_up else f"L{point}")
        pen_up = False
    return "".join(parts)
