"""Format numbers for the report."""

from __future__ import annotations

from math import isnan

from nnunetv2_cfseg.evaluation.metric_definitions import BY_KEY

NOTHING = "\N{EN DASH}"
MINUS = "\N{MINUS SIGN}"


def number(value: float, key: str, *, sign: bool = False) -> str:
    """Format a value of a column without its unit; NaN becomes a dash.

    Args:
        value: the value to format.
        key: key of the column.
        sign: also write a plus before positive values.
    """
    if isnan(value):
        return NOTHING
    column = BY_KEY[key]
    decimals = {"mm": 1 if abs(value) >= 100 else 2, "ml": _decimals_ml(value)}.get(column.unit, 3)
    if key.endswith("lesions"):
        decimals = 0 if value == int(value) else 1
    text = f"{abs(value):.{decimals}f}"
    if not float(text):
        return text
    return f"{MINUS}{text}" if value < 0 else f"+{text}" if sign else text


def with_unit(value: float, key: str, *, sign: bool = False) -> str:
    """Format a value like :func:`number`, with its unit."""
    unit = BY_KEY[key].unit
    text = number(value, key, sign=sign)
    return f"{text} {unit}" if unit and text != NOTHING else text


def seconds(value: float) -> str:
    """Format a duration in s, min or h, whichever suits it."""
    if value < 90:
        return f"{value:.0f} s"
    return f"{value / 60:.0f} min" if value < 5400 else f"{value / 3600:.1f} h"


def _decimals_ml(value: float) -> int:
    return 0 if abs(value) >= 1000 else 1 if abs(value) >= 100 else 2
