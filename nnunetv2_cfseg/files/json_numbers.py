"""Numbers for strict JSON, which has no NaN."""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite
from typing import Any


def without_nan(value: Any) -> Any:
    """The same with None in place of every number that JSON does not have: NaN and the infinities.

    Mappings keep their order, lists and tuples become lists.
    """
    if isinstance(value, Mapping):
        return {key: without_nan(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [without_nan(entry) for entry in value]
    return None if isinstance(value, float) and not isfinite(value) else value
