"""JSON that strict readers take."""

from __future__ import annotations

import json
from math import inf, nan
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nnunetv2_cfseg.files.atomic_files import write_json
from nnunetv2_cfseg.files.json_text import as_read_back, to_json


def refuse(name: str) -> Any:
    raise AssertionError(f"{name} is no JSON")


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (nan, None),
        ({"a": [1.5, nan, (nan, 2)], "b": {"c": np.float64(nan)}}, {"a": [1.5, None, [None, 2]], "b": {"c": None}}),
        ({1: "nan", "list": []}, {"1": "nan", "list": []}),
        ([inf, -inf, 1e308], [None, None, 1e308]),
    ],
)
def test_what_is_not_known_is_null(content: Any, expected: Any, tmp_path: Path) -> None:
    assert as_read_back(content) == expected
    write_json(tmp_path / "a.json", content)
    assert json.loads((tmp_path / "a.json").read_text(), parse_constant=refuse) == expected


def test_looks_as_asked_for() -> None:
    assert to_json({"b": 1, "a": "\u00e9"}, indent=None, sort_keys=True) == '{"a": "\\u00e9", "b": 1}'
    assert to_json({"a": "\u00e9"}, ascii_only=False) == '{\n  "a": "\u00e9"\n}'
