"""The bar that long commands show on stderr."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Any

from tqdm import tqdm


def progress_bar(
    items: Iterable[Any] | None = None,
    *,
    doing: str | None = None,
    total: int | None = None,
    done: int = 0,
    unit: str = "case",
    show: bool = True,
) -> Any:
    """tqdm's bar, updated only every ten seconds in a log file, where each update is a new line.

    Args:
        items: to iterate over; None for a bar that is updated by hand.
        doing: a word or two shown before the bar.
        total: number of items; None for the length of ``items``.
        done: number of items that an earlier run did.
        unit: what an item is called.
        show: whether to show the bar.
    """
    return tqdm(
        items,
        desc=doing,
        total=total,
        initial=done,
        unit=unit,
        mininterval=0.1 if sys.stderr.isatty() else 10,
        smoothing=0,
        disable=not show,
    )
