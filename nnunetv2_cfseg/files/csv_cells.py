"""Names in tables: spreadsheets run a cell that begins with a sign of a formula, so such names get an apostrophe.

See OWASP, "CSV Injection".
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

#: What formulas begin with; the wide ones are read as the plain ones.
FORMULA = ("=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20")


def safe_cell(value: Any) -> Any:
    """A value as a table may hold it: in one line, and no formula; numbers, and text that is one, as they are."""
    if not isinstance(value, str):
        return value
    text = " ".join(value.splitlines())
    return f"'{text}" if text.lstrip().startswith(FORMULA) and not _is_number(text) else text


def original_cell(text: str) -> str:
    """What :func:`safe_cell` was given, but for ends of lines."""
    return text[1:] if text.startswith("'") and text[1:].lstrip().startswith(FORMULA) else text


def table_to_csv(table: pd.DataFrame) -> str:
    """A table without its index, safe to open; NaN is an empty field."""
    safe = table.rename(columns=safe_cell)
    for place, kind in enumerate(table.dtypes):
        if kind.kind not in "biufc":  # names, in pandas' own type for text or in Python's
            safe.isetitem(place, table.iloc[:, place].map(safe_cell))
    return safe.to_csv(index=False, lineterminator="\n")


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
