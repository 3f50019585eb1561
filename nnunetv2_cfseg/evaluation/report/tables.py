"""Tables for the templates of pages."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite


@dataclass(frozen=True)
class Head:
    """The head of a column; ``small`` is a unit or a short note."""

    words: str
    small: str = ""


@dataclass(frozen=True)
class Measured:
    """One of several values that a cell can show; ``bar`` is the coloured part of the cell in percent."""

    key: str
    words: str
    sort: str
    bar: float
    alarm: bool = False


@dataclass(frozen=True)
class Cell:
    """A cell of a table.

    Attributes:
        words: the text.
        small: small text below.
        sort: the number to sort by, as text; if empty, ``words`` is used.
        alarm: mark the cell as something bad.
        measures: instead of all this, values of which the reader chooses one.
    """

    words: str = ""
    small: str = ""
    sort: str = ""
    alarm: bool = False
    measures: tuple[Measured, ...] = ()


@dataclass(frozen=True)
class Row:
    """A row: its head, with an optional link and a class's colour and number (from 1), and its cells."""

    name: str
    cells: tuple[Cell, ...]
    href: str = ""
    colour: str = ""
    number: int = 0


@dataclass(frozen=True)
class Table:
    """A table of a page.

    Attributes:
        title: read by screen readers.
        head: heads of all columns, including the column of row heads.
        rows: in order.
        foot: the last row, which sorting does not move.
        caption: a short text shown above, if any.
        sortable: sort by a click on a column's head.
        prose: cells are text, not numbers.
    """

    title: str
    head: tuple[Head, ...]
    rows: tuple[Row, ...]
    foot: Row | None = None
    caption: str = ""
    sortable: bool = False
    prose: bool = False


def words_table(title: str, head: Sequence[str], rows: Sequence[Sequence[str]], *, caption: str = "") -> Table:
    """Make a table of text; the first cell of each row is the row's head.

    Raises:
        ValueError: a row and the head differ in length.
    """
    for row in rows:
        if len(row) != len(head):
            raise ValueError(f"a row of a table must have {len(head)} cells like its head, got {len(row)}: {title}")
    return Table(
        title=title,
        head=tuple(Head(words) for words in head),
        rows=tuple(Row(first, tuple(Cell(cell) for cell in others)) for first, *others in rows),
        caption=caption,
        prose=True,
    )


def sort_key(value: float) -> str:
    """The value as text for the page's script, which sorts "nan" last."""
    return f"{value:.6g}" if isfinite(value) else "nan"
