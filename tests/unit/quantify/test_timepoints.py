"""Scans are grouped by patient and put in order."""

from __future__ import annotations

from pathlib import Path

import pytest

from nnunetv2_cfseg.quantify.timepoints import Timepoint, visits_from_csv, visits_from_names


@pytest.fixture
def table(tmp_path: Path) -> Path:
    return tmp_path / "scans.csv"


def test_dates_put_scans_in_order_and_give_days(table: Path) -> None:
    table.write_text("date,case,patient\n2024-03-02,b,P1\n2024-02-28,a,P1\n,c,P0\n2024-03-02T12:00,d,P1\n")
    assert visits_from_csv(table, ["a", "b", "c", "d"]) == [
        Timepoint("P0", 1, "c"),
        Timepoint("P1", 1, "a", "2024-02-28", 0),
        Timepoint("P1", 2, "b", "2024-03-02", 3),
        Timepoint("P1", 3, "d", "2024-03-02T12:00", 3.5),
    ]


def test_without_dates_the_order_is_that_of_the_table(table: Path) -> None:
    table.write_text("case,patient\nb,P1\nc,P2\na,P1\n")
    assert visits_from_csv(table, ["a", "b", "c"]) == [
        Timepoint("P1", 1, "b"),
        Timepoint("P1", 2, "a"),
        Timepoint("P2", 1, "c"),
    ]


def test_a_table_of_a_spreadsheet_is_read(table: Path) -> None:
    """With a byte order mark, blanks and another column."""
    table.write_bytes(b'\xef\xbb\xbfcase,patient,remark\r\n a , P1 ,"x, y"\r\n')
    assert visits_from_csv(table, ["a"]) == [Timepoint("P1", 1, "a")]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("case,patient\na,P\nb,P\nz,P\n", "each case must have a segmentation, and there is none for z: "),
        ("case,patient\na,P\n", "each segmentation must have a row, and there is none for b: "),
        ("case,patient\na,P\na,P\nb,P\n", "a case must have one row, and a has 2: "),
        ("case,name\na,P\nb,P\n", "must have the columns case and patient, and lacks patient: "),
        ("", "must have the columns case and patient, and lacks case: "),
        ("case,patient\na,\nb,P\n", "each row must have a case and a patient, and one has case 'a': "),
        ("case,patient,date\na,P,1.3.2024\nb,P,\n", "a date must be as in 2024-03-01, got '1.3.2024' for a: "),
        ("case,patient,date\na,P,2024-03-01\nb,P,\n", "or none must have a date, and b has none: "),
        ("case,patient,date\na,P,2024-03-01\nb,P,2024-03-02T10:00+01:00\n", "or none must have a time zone"),
        ("case,patient\na,\xff\n", "must be in UTF-8"),
    ],
)
def test_tables_that_do_not_fit_are_refused(content: str, message: str, table: Path) -> None:
    table.write_bytes(content.encode("latin-1"))
    with pytest.raises(ValueError, match=message) as caught:
        visits_from_csv(table, ["a", "b"])
    assert str(table) in str(caught.value)
    assert "'P'" not in str(caught.value)


def test_a_table_that_is_not_there_is_refused(tmp_path: Path) -> None:
    for file in (tmp_path / "none.csv", tmp_path):
        with pytest.raises(ValueError, match=r"must be a file.*: |a file must be: "):
            visits_from_csv(file, ["a"])


def test_names_group_and_order_scans_by_the_numbers_in_them() -> None:
    cases = ["p2_t10", "p10_t1", "p2_t9", "p2_t1"]
    assert visits_from_names(r"^(p\d+)_", cases) == [
        Timepoint("p2", 1, "p2_t1"),
        Timepoint("p2", 2, "p2_t9"),
        Timepoint("p2", 3, "p2_t10"),
        Timepoint("p10", 1, "p10_t1"),
    ]


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("(", r"must be a regular expression \(.*\), got '\('"),
        ("p", "must have a group for the patient, got 'p'"),
        (r"(\d+)_", "each case must match the patient's pattern .*, and this one does not: scan"),
        (r"p()", "and this one does not: p1_"),
    ],
)
def test_patterns_that_do_not_fit_are_refused(pattern: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        visits_from_names(pattern, ["p1_", "scan"])
