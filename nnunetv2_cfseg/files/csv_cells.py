"""Names in tables: spreadsheets run a cell that begins like a formula, so such names get an apostrophe in front.

See OWASP, "CSV Injection".
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

#: Characters that formulas begin with; spreadsheets read the full-width ones as the plain ones.
FORMULA = ("=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20")


def safe_cell(value: Any) -> Any:
    """A value that is safe in a table: text in one line and no formula. Numbers, also as text, stay as they are."""
    if not isinstance(value, str):
        return value
    text = " ".join(value.splitlines())
    return f"'{text}" if text.lstrip().startswith(FORMULA) and not _is_number(text) else text


def original_cell(text: str) -> str:
    """Undo :func:`safe_cell`, except for line breaks."""
    return text[1:] if text.startswith("'") and text[1:].lstrip().startswith(FORMULA) else text


def table_to_csv(table: pd.DataFrame) -> str:
    """A table as CSV that is safe to open, without its index; NaN is an empty field."""
    safe = table.rename(columns=safe_cell)
    for column, dtype in enumerate(table.dtypes):
        if dtype.kind not in "biufc":  # text, in pandas' own type or as Python objects
            safe.isetitem(column, table.iloc[:, column].map(safe_cell))
    return safe.to_csv(index=False, lineterminator="\n")


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
