"""Colours of classes are told apart from each other, from scans and from the page."""

from __future__ import annotations

import re
from importlib.resources import files

import numpy as np
import pytest
from skimage.color import deltaE_ciede2000, rgb2lab

from nnunetv2_cfseg.evaluation.report.class_colours import (
    COLOURS,
    DARK_PAGE,
    LIGHT_PAGE,
    OKABE_ITO,
    class_colours,
    contrast,
    page_colours,
)


def distances(colours: tuple[str, ...]) -> np.ndarray:
    """CIEDE2000 of any two; infinite of one and itself."""
    lab = rgb2lab(np.array([[int(colour[i : i + 2], 16) for i in (1, 3, 5)] for colour in colours]) / 255)
    found = deltaE_ciede2000(*np.broadcast_arrays(lab[:, None], lab[None]))
    np.fill_diagonal(found, np.inf)
    return found


@pytest.mark.parametrize(("count", "least"), [(7, 21), (9, 21), (20, 20), (61, 11), (118, 8.5)])
def test_any_two_are_told_apart(count: int, least: float) -> None:
    assert distances(class_colours(count)).min() >= least


@pytest.mark.parametrize(("count", "least"), [(20, 26), (61, 17), (118, 13)])
def test_neighbours_differ_more(count: int, least: float) -> None:
    assert np.diag(distances(class_colours(count)), 1).min() >= least


def test_the_first_are_those_of_okabe_and_ito() -> None:
    assert class_colours(7) == OKABE_ITO
    assert class_colours(3) == OKABE_ITO[:3]


def test_none_is_grey_and_none_is_lost_on_black() -> None:
    for colour in COLOURS:
        channels = [int(colour[i : i + 2], 16) for i in (1, 3, 5)]
        assert max(channels) - min(channels) > 25
        assert contrast(colour, "#000000") >= 3


def test_they_repeat_only_after_all_that_a_byte_tells_apart() -> None:
    assert len(set(class_colours(255))) == 255
    assert class_colours(256)[255] == class_colours(1)[0]


@pytest.mark.parametrize("colour", COLOURS[:118])
def test_lines_are_seen_on_both_pages(colour: str) -> None:
    for seen, page in zip(page_colours(colour), (LIGHT_PAGE, DARK_PAGE), strict=True):
        assert contrast(seen, page) >= 3


def test_what_is_seen_already_stays() -> None:
    assert page_colours("#009e73") == ("#009e73", "#009e73")
    assert contrast("#ffffff", "#000000") == pytest.approx(21)
    assert contrast("#777777", "#777777") == 1


def test_pages_are_those_of_the_style_sheet() -> None:
    css = files("nnunetv2_cfseg.evaluation.report").joinpath("static", "page.css").read_text(encoding="utf-8")
    assert re.findall(r"--page: (#\w{6})", css) == [LIGHT_PAGE, DARK_PAGE]
