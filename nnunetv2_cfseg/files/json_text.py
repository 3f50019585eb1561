"""Writes JSON that every reader accepts: unknown numbers are null, because JSON has neither NaN nor infinities.

All JSON of the package is made here. Readers accept both null and the NaN of nnU-Net's files and of older versions.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from math import isfinite
from typing import Any


def to_json(content: Any, *, indent: int | None = 2, sort_keys: bool = False, ascii_only: bool = True) -> str:
    """Content as JSON, in which NaN and infinities are null.

    Raises:
        TypeError: a value has no JSON type.
    """
    finite = _finite(content)
    return json.dumps(finite, indent=indent, sort_keys=sort_keys, ensure_ascii=ascii_only, allow_nan=False)


def as_read_back(content: Any) -> Any:
    """Content as a JSON file gives it back: tuples become lists, keys of objects text, and NaN None."""
    return json.loads(to_json(content, indent=None))


def _finite(content: Any) -> Any:
    if isinstance(content, Mapping):
        return {key: _finite(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [_finite(value) for value in content]
    return None if isinstance(content, float) and not isfinite(content) else content
