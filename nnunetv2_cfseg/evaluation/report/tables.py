"""Tables as the page's template takes them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite


@dataclass(frozen=True)
class Head:
    """The head of a column; ``small`` is its unit or the like."""

    words: str
    small: str = ""


@dataclass(frozen=True)
class Measured:
    """One of several values that a cell can show; ``bar`` is the part of the cell that is coloured, in percent."""

    key: str
    words: str
    sort: str
    bar: float
    alarm: bool = False


@dataclass(frozen=True)
class Cell:
    """A cell.

    Attributes:
        words: that it shows.
        small: shown under them.
        sort: the number to sort by, as text; empty if that is its words.
        alarm: show it as something bad.
        measures: instead of all that, values of which the reader chooses one.
    """

    words: str = ""
    small: str = ""
    sort: str = ""
    alarm: bool = False
    measures: tuple[Measured, ...] = ()


@dataclass(frozen=True)
class Row:
    """A row: its head, which may lead somewhere and have a class's colour and number (from 1), and its cells."""

    name: str
    cells: tuple[Cell, ...]
    href: str = ""
    colour: str = ""
    number: int = 0


@dataclass(frozen=True)
class Table:
    """A table.

    Attributes:
        title: for screen readers.
        head: of all columns, that of the rows' heads included.
        rows: in order.
        foot: the last row, which is never sorted away.
        caption: a few words shown above, if any.
        sortable: by a click on a column's head.
        prose: cells are words, not numbers.
    """

    title: str
    head: tuple[Head, ...]
    rows: tuple[Row, ...]
    foot: Row | None = None
    caption: str = ""
    sortable: bool = False
    prose: bool = False


def words_table(title: str, head: Sequence[str], rows: Sequence[Sequence[str]], *, caption: str = "") -> Table:
    """A table of words; the first of each row is its head.

    Raises:
        ValueError: a row is not as long as the head.
    """
    for row in rows:
        if len(row) != len(head):
            raise ValueError(f"a row of a table must have {len(head)} cells as its head, got {len(row)}: {title}")
    return Table(
        title=title,
        head=tuple(Head(words) for words in head),
        rows=tuple(Row(first, tuple(Cell(cell) for cell in others)) for first, *others in rows),
        caption=caption,
        prose=True,
    )


def sort_key(value: float) -> str:
    """For the page's script; "nan" is no number there and comes last."""
    return f"{value:.6g}" if isfinite(value) else "nan"
