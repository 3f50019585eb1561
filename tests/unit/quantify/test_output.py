"""Files appear whole, numbers are short, and what is not known is empty."""

from __future__ import annotations

import json
from math import nan
from pathlib import Path

import pytest

from nnunetv2_cfseg.quantify.output import check_output, write_bytes, write_csv, write_json


def test_tables_have_six_decimals_and_empty_fields(tmp_path: Path) -> None:
    file = tmp_path / "folder" / "table.csv"
    write_csv(file, ["a", "b"], [{"a": 1 / 3, "b": nan, "c": 1}, {"a": -1e-9, "b": "x, y"}, {"a": 7, "b": None}])
    assert file.read_text() == 'a,b\n0.333333,\n0,"x, y"\n7,\n'


def test_large_numbers_keep_their_decimals(tmp_path: Path) -> None:
    write_csv(tmp_path / "table.csv", ["a"], [{"a": -1234567.123456}])
    assert (tmp_path / "table.csv").read_text() == "a\n-1234567.123456\n"


def test_json_has_null_for_nan(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"a": [nan, 1.5], "b": (None, "x")})
    assert json.loads((tmp_path / "a.json").read_text()) == {"a": [None, 1.5], "b": [None, "x"]}


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "a.csv"
    file.write_text("old")

    def fail(self: Path, content: bytes) -> None:
        self.touch()
        raise OSError("disk full")

    monkeypatch.setattr(Path, "write_bytes", fail)
    with pytest.raises(OSError, match="disk full"):
        write_bytes(file, b"new")
    assert [path.name for path in tmp_path.iterdir()] == ["a.csv"]
    assert file.read_text() == "old"


def test_a_file_is_no_output_folder(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    check_output(tmp_path)
    check_output(tmp_path / "new")
    with pytest.raises(ValueError, match=r"the output must be a folder, and is a file: .*file"):
        check_output(tmp_path / "file")
