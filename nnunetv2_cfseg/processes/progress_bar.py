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
    """tqdm's bar, which in a log file, where each change is a line of its own, changes every ten seconds.

    Args:
        items: to go through; None for a bar that is moved by hand.
        doing: what goes on, a word or two before the bar.
        total: how many there are; None for the length of the items.
        done: of them, by an earlier run.
        unit: what they are.
        show: whether there is a bar.
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
