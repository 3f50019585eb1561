"""Numbers are short, and what is not known is empty."""

from __future__ import annotations

from math import nan
from pathlib import Path

import pytest

from nnunetv2_cfseg.quantify.output import check_output, write_csv


def test_tables_have_six_decimals_and_empty_fields(tmp_path: Path) -> None:
    file = tmp_path / "table.csv"
    write_csv(file, ["a", "b"], [{"a": 1 / 3, "b": nan, "c": 1}, {"a": -1e-9, "b": "x, y"}, {"a": 7, "b": None}])
    assert file.read_text() == 'a,b\n0.333333,\n0,"x, y"\n7,\n'


def test_large_numbers_keep_their_decimals(tmp_path: Path) -> None:
    write_csv(tmp_path / "table.csv", ["a"], [{"a": -1234567.123456}])
    assert (tmp_path / "table.csv").read_text() == "a\n-1234567.123456\n"


def test_a_file_is_no_output_folder(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    check_output(tmp_path)
    check_output(tmp_path / "new")
    with pytest.raises(ValueError, match=r"the output must be a folder, and is a file: .*file"):
        check_output(tmp_path / "file")
