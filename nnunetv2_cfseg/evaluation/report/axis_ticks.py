"""Axes of the report's charts: from a value to a place on an axis, and the values worth marking."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import ceil, floor, isfinite, log10

STEPS = (1.0, 2.0, 2.5, 5.0, 10.0)
MINUS = "\N{MINUS SIGN}"


@dataclass(frozen=True)
class Tick:
    """A marked value: where it is on the axis, in percent, and its words."""

    place: float
    words: str


@dataclass(frozen=True)
class Axis:
    """A stretch of numbers, ``low`` < ``high``."""

    low: float
    high: float
    ticks: tuple[Tick, ...]

    def place(self, value: float) -> float:
        """Where a value lies, in percent of the axis; values beyond it lie at its ends."""
        share = (value - self.low) / (self.high - self.low)
        return round(100 * min(1.0, max(0.0, share)), 2)


def axis(values: Iterable[float], *, include: Iterable[float] = (), intervals: int = 5) -> Axis:
    """An axis that holds all values that are finite, from one round number to another.

    Args:
        values: to be shown.
        include: values that it must hold too.
        intervals: about so many between ticks.
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
    ticks = tuple(Tick(round(100 * (mark - low) / (high - low), 2), _words(mark)) for mark in marks)
    return Axis(low, high, ticks)


def _step(rough: float) -> float:
    """The next round number."""
    power = 10.0 ** floor(log10(rough))
    return next(step * power for step in STEPS if step * power >= rough * (1 - 1e-9))


def _words(value: float) -> str:
    return f"{value:.6g}".replace("-", MINUS)
