"""Axes of the report's charts: positions of values on an axis, and tick marks."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import ceil, floor, isfinite, log10

STEPS = (1.0, 2.0, 2.5, 5.0, 10.0)
MINUS = "\N{MINUS SIGN}"


@dataclass(frozen=True)
class Tick:
    """A marked value: its position on the axis in percent, and its label."""

    place: float
    words: str


@dataclass(frozen=True)
class Axis:
    """A range of numbers, ``low`` < ``high``, with tick marks."""

    low: float
    high: float
    ticks: tuple[Tick, ...]

    def place(self, value: float) -> float:
        """The position of a value in percent of the axis; values beyond the axis are placed at its ends."""
        share = (value - self.low) / (self.high - self.low)
        return round(100 * min(1.0, max(0.0, share)), 2)


def axis(values: Iterable[float], *, include: Iterable[float] = (), intervals: int = 5) -> Axis:
    """Make an axis from one round number to another that holds all finite values.

    Args:
        values: values to show.
        include: further values that the axis must hold.
        intervals: approximate number of intervals between ticks.
    """
    finite = [float(value) for value in (*values, *include) if isfinite(value)]
    low, high = (min(finite), max(finite)) if finite else (0.0, 1.0)
    if high - low <= 1e-9 * max(abs(low), abs(high)):
        margin = abs(low) / 2 or 0.5
        low, high = low - margin, high + margin
    step = _step((high - low) / intervals)
    first, last = floor(low / step + 1e-9), ceil(high / step - 1e-9)
    low, high = first * step, last * step
    marks = [index * step for index in range(first, last + 1)]
    ticks = tuple(Tick(round(100 * (mark - low) / (high - low), 2), _label(mark)) for mark in marks)
    return Axis(low, high, ticks)


def _step(rough: float) -> float:
    """The next round number at or above ``rough``."""
    power = 10.0 ** floor(log10(rough))
    return next(step * power for step in STEPS if step * power >= rough * (1 - 1e-9))


def _label(value: float) -> str:
    return f"{value:.6g}".replace("-", MINUS)
