"""Reading a file through a schema: the right values, and one sentence with key, value and file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import pytest
from pydantic import Field

from nnunetv2_cfseg.files.schema import Document, PlainName, Real, Whole, check_document, read_document, short


class Inner(Document):
    sizes: Annotated[list[Whole], Field(min_length=1, max_length=3)]


class Outer(Document):
    count: Annotated[Whole, Field(ge=1, le=9)]
    share: Real = 0.5
    name: PlainName = "name"
    inner: dict[str, Inner] = {}


def test_right_values_and_unknown_keys(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(
        json.dumps({"count": 3.0, "share": 1, "inner": {"a": {"sizes": ["2"]}}, "more": [1]})
    )
    read = read_document(tmp_path / "a.json", Outer)
    assert (read.count, read.share, read.name, read.inner["a"].sizes) == (3, 1.0, "name", [2])
    assert isinstance(read.count, int)
    assert isinstance(read.share, float)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ({}, "top.count is missing"),
        ({"count": "x"}, "top.count must be a whole number, got 'x'"),
        ({"count": True}, "top.count must be a whole number, got True"),
        ({"count": 1.5}, "top.count must be a whole number, got 1.5"),
        ({"count": 10}, "top.count must be less than or equal to 9, got 10"),
        ({"count": 10**30}, "top.count must be less than or equal to 9, got 1000000000000000000000000000000"),
        ({"count": 1, "share": float("nan")}, "top.share must be a finite number, got nan"),
        ({"count": 1, "share": 10**400}, "top.share must be a finite number, got 1000000"),
        ({"count": 1, "name": "../x"}, "top.name must be a plain name, without a path and not hidden, got '../x'"),
        ({"count": 1, "inner": [1]}, "top.inner must be a mapping, got [1]"),
        ({"count": 1, "inner": {"a": 3}}, "top.inner.a must be a mapping, got 3"),
        ({"count": 1, "inner": {"a": {"sizes": []}}}, "top.inner.a.sizes must have at least 1 entries, got []"),
        ({"count": 1, "inner": {"a": {"sizes": [1] * 9}}}, "top.inner.a.sizes must have at most 3 entries, got ["),
        ({"count": 1, "inner": {"a": {"sizes": [1, "x"]}}}, "top.inner.a.sizes.1 must be a whole number, got 'x'"),
    ],
)
def test_what_does_not_fit(content: Any, sentence: str) -> None:
    with pytest.raises(ValueError, match=r": a\.json$") as error:
        check_document(content, Outer, "a.json", at="top")
    assert str(error.value).startswith(sentence)


def test_values_are_cut_short() -> None:
    for value in ("x" * 10**6, [[1] * 10**5] * 10, {"a": "x" * 10**5}, 10**5000, b"x" * 10**5):
        assert len(short(value)) < 300
