"""What the headers of a dataset say of its labels and its factor."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from nnunetv2_cfseg.data.pairing.sources import Source
from nnunetv2_cfseg.data.pairing.survey import survey

CaseOf = Callable[..., Source]


@pytest.fixture
def case(make_grid: Any, write: Any) -> CaseOf:
    """A case whose labels have slices so many times as thick as the scan's."""

    def make(ratio: float, *, spacing_mm: float = 1.0, name: str = "case", thick_image: bool = False) -> Source:
        grid = make_grid((20, 3, 4), (spacing_mm, 1.0, 1.0))
        label = grid.with_slices(0, ratio * spacing_mm, 3)
        scan, labels = np.zeros(grid.shape, np.int16), np.zeros(label.shape, np.uint8)
        file = write(labels, label, name)
        return Source(name, "Tr", write(scan, grid), file, file if thick_image else None)

    return make


def look(*cases: Source, **asked: Any) -> tuple[str, int]:
    return survey(cases, **{"labels": None, "factor": None, "thickness_mm": None, **asked})


def test_thin_labels(case: CaseOf) -> None:
    assert look(case(1), case(1.001), factor=4) == ("thin", 4)


@pytest.mark.parametrize("factor", [2, 5, 8])
def test_thick_labels_tell_the_factor(case: CaseOf, factor: int) -> None:
    assert look(case(factor), case(factor * 1.001, spacing_mm=0.625)) == ("thick", factor)


def test_a_factor_that_is_asked_for_is_taken(case: CaseOf) -> None:
    assert look(case(5), case(7.14), factor=4) == ("thick", 4)


def test_overlapping_slices_tell_it_too(case: CaseOf) -> None:
    assert look(case(2.5, spacing_mm=2), thickness_mm=10) == ("thick", 5)


@pytest.mark.parametrize(
    ("ratios", "asked", "named"),
    [
        ((1,), {}, "thin labels need a --factor, .*, got none$"),
        (
            (1, 5),
            {"factor": 5},
            "must be thin as those of the first case, and a slice of this one has 5 of the scan's: ",
        ),
        ((1,), {"labels": "thick"}, "labels must be thick as asked for, and a slice of this one has 1 of the scan's: "),
        ((5,), {"labels": "thin"}, "labels must be thin as asked for, and a slice of this one has 5 of the scan's: "),
        ((1.2,), {}, "one of the scan's, or at least 1.5 where labels are thick, got 1.2: .*nrrd$"),
        ((0.5,), {}, "one of the scan's, or at least 1.5 where labels are thick, got 0.5: .*nrrd$"),
        (
            (5, 7.14),
            {},
            "a whole number of thin ones, got 7.14; with --factor 7 the scan is resampled to that: .*nrrd$",
        ),
        ((5, 4), {}, "one --factor, and a thick slice has 4 thin ones in case1 and 5 in case0: .*case0.*nrrd$"),
        ((5,), {"thickness_mm": 4}, "must not leave gaps"),
        ((5,), {"thickness_mm": 8}, "must do so by whole slices"),
    ],
)
def test_refusals(case: CaseOf, ratios: tuple[float, ...], asked: dict[str, Any], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        look(*(case(ratio, name=f"case{i}") for i, ratio in enumerate(ratios)), **asked)


def test_thin_labels_have_no_thick_images(case: CaseOf) -> None:
    with pytest.raises(ValueError, match=r"must be thick if thick images are given, and are thin: .*nrrd$"):
        look(case(1, thick_image=True), factor=4)


def test_thick_labels_with_their_scans_origin_are_said_once(
    case: CaseOf, make_grid: Any, write: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    grid = make_grid((20, 3, 4), (1.0, 1.0, 1.0))
    thick = replace(grid.with_slices(0, 5.0, 3), origin_mm=grid.origin_mm)
    scan, label = write(np.zeros(grid.shape, np.int16), grid), write(np.zeros(thick.shape, np.uint8), thick)
    wrong = [Source(name, "Tr", scan, label) for name in ("second", "third")]
    assert look(case(5, name="first"), *wrong) == ("thick", 5)
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("warning: the thick labels of 2 of 3 cases, the first is second, have the scan's own origin")


def test_labels_that_begin_where_their_scan_begins_are_not_warned_of(
    case: CaseOf, capsys: pytest.CaptureFixture[str]
) -> None:
    look(case(5), case(5, spacing_mm=0.625))
    look(case(1), factor=4)
    assert capsys.readouterr().err == ""
