"""Numbers that strict JSON has."""

from __future__ import annotations

import json
from math import inf, nan

from nnunetv2_cfseg.files.json_numbers import without_nan


def test_none_stands_for_what_is_no_number() -> None:
    content = {"a": [1, nan, {"b": (inf, 2.5, -inf)}], "c": "nan", "d": True, "e": None}
    assert without_nan(content) == {"a": [1, None, {"b": [None, 2.5, None]}], "c": "nan", "d": True, "e": None}
    json.dumps(without_nan(content), allow_nan=False)


def test_order_and_kinds_stay() -> None:
    content = without_nan({"z": 1, "a": 1.0})
    assert list(content) == ["z", "a"]
    assert [type(value) for value in content.values()] == [int, float]
