"""Values as they are typed."""

from __future__ import annotations

from collections.abc import Iterable


def words(values: Iterable[object]) -> str:
    """The values with blanks between them, as they are typed."""
    return " ".join(map(str, values))
