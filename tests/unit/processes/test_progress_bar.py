"""The bar of long commands."""

from __future__ import annotations

import pytest

from nnunetv2_cfseg.processes.progress_bar import progress_bar


def test_goes_through_its_items(capsys: pytest.CaptureFixture[str]) -> None:
    assert list(progress_bar("abc", doing="Reading")) == ["a", "b", "c"]
    shown = capsys.readouterr().err
    assert "Reading: 100%" in shown
    assert "3/3" in shown


def test_counts_on_from_an_earlier_run(capsys: pytest.CaptureFixture[str]) -> None:
    assert list(progress_bar(iter("bc"), total=3, done=1)) == ["b", "c"]
    assert "3/3" in capsys.readouterr().err


def test_is_not_there_where_nobody_wants_it(capsys: pytest.CaptureFixture[str]) -> None:
    with progress_bar(total=2, show=False) as bar:
        bar.update()
    assert capsys.readouterr().err == ""
