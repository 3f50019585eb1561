"""JSON that every reader takes: a number that is not known is null, for NaN is none of JSON's numbers.

All JSON of the package is made here. Readers take both null and the NaN of nnU-Net's files and of older versions.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from math import isnan
from typing import Any


def to_json(content: Any, *, indent: int | None = 2, sort_keys: bool = False, ascii_only: bool = True) -> str:
    """Content as JSON, in which NaN is null.

    Raises:
        ValueError: a number is infinite.
        TypeError: something is none of JSON's types.
    """
    try:
        return json.dumps(
            _without_nan(content), indent=indent, sort_keys=sort_keys, ensure_ascii=ascii_only, allow_nan=False
        )
    except ValueError as error:
        raise ValueError(f"JSON holds finite numbers alone, and one would be infinite ({error})") from error


def as_read_back(content: Any) -> Any:
    """Content as it comes back from a JSON file: lists for tuples, text for the keys of objects, None for NaN."""
    return json.loads(to_json(content, indent=None))


def _without_nan(content: Any) -> Any:
    if isinstance(content, Mapping):
        return {key: _without_nan(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [_without_nan(value) for value in content]
    return None if isinstance(content, float) and isnan(content) else content
