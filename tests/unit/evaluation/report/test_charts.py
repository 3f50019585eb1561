"""Charts: every value is where the axis says, and nothing is lost on the way."""

from __future__ import annotations

import re
from math import inf, isnan, nan

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nnunetv2_cfseg.evaluation.report.axis_ticks import axis
from nnunetv2_cfseg.evaluation.report.charts import agreement, strips
from nnunetv2_cfseg.evaluation.report.line_chart import lines

from .evaluations import DIAGONAL_MM, make_evaluation

values = st.lists(st.floats(-1e6, 1e6).map(lambda value: round(value, 6)), min_size=1, max_size=20)


class TestAxis:
    @given(values)
    def test_holds_all_values_between_round_ends(self, of: list[float]) -> None:
        scale = axis(of)
        slack = 1e-9 * max(1.0, abs(scale.low), abs(scale.high))
        assert scale.low - slack <= min(of) <= max(of) <= scale.high + slack
        assert (scale.ticks[0].place, scale.ticks[-1].place) == (0, 100)
        assert 2 <= len(scale.ticks) <= 9
        assert len({tick.words for tick in scale.ticks}) == len(scale.ticks)

    @given(values, st.floats(0, 1))
    def test_places_keep_the_order(self, of: list[float], share: float) -> None:
        scale = axis(of)
        between = scale.low + share * (scale.high - scale.low)
        assert 0 <= scale.place(scale.low) <= scale.place(between) <= scale.place(scale.high) <= 100
        assert scale.place(between) == pytest.approx(100 * share, abs=0.01)

    def test_by_hand(self) -> None:
        scale = axis([-3.2, 7.9], include=(0,))
        assert [tick.words for tick in scale.ticks] == [
            "\N{MINUS SIGN}5",
            "\N{MINUS SIGN}2.5",
            "0",
            "2.5",
            "5",
            "7.5",
            "10",
        ]
        assert scale.place(2.5) == 50
        assert (scale.place(-100), scale.place(100)) == (0, 100)

    @pytest.mark.parametrize("of", [[], [nan], [3.0, 3.0], [0.0], [inf, 1.0]])
    def test_of_nothing_or_one_value_has_a_length(self, of: list[float]) -> None:
        scale = axis(of)
        assert scale.high > scale.low


class TestStrips:
    def test_place_every_case_of_every_class(self) -> None:
        table = make_evaluation({"liver": [0.5, 0.75, 1.0], "tumour": [0.25, "absent", "missed"]}).table
        liver, tumour = strips(table, "Dice", ["liver", "tumour"]).rows
        assert [(dot.case, dot.x) for dot in liver.dots] == [("case_000", 50), ("case_001", 75), ("case_002", 100)]
        assert liver.quartiles == (62.5, 75, 87.5)
        assert [(dot.case, dot.x, dot.presence) for dot in tumour.dots] == [
            ("case_002", 0, "missed"),
            ("case_000", 25, "both"),
        ]
        assert tumour.dots[0].words == "case_002, tumour: 0.000 (missed)"

    def test_penalties_do_not_stretch_the_axis_of_distances(self) -> None:
        table = make_evaluation({"liver": [0.5, 0.75, "missed", "false_alarm"]}).table
        chart = strips(table, "HD95_mm", ["liver"])
        assert chart.axis.high == 20 < DIAGONAL_MM
        dots = [(dot.x, dot.outside) for dot in chart.rows[0].dots]
        assert dots == [(50, False), (100, False), (100, True), (100, True)]

    def test_say_in_words_what_they_show(self) -> None:
        table = make_evaluation({"liver": [0.5, 0.75, 1.0], "tumour": ["absent"] * 3}).table
        liver, tumour = strips(table, "HD95_mm", ["liver", "tumour"]).rows
        assert liver.words == (
            "liver: 3 cases, median 10.00 mm, quartiles 5.00 mm and 15.00 mm, from 0.00 mm to 20.00 mm"
        )
        assert tumour.words == "tumour: no case with a value"
        assert tumour.dots == tumour.quartiles == ()

    def test_of_no_case_at_all_have_an_axis(self) -> None:
        table = make_evaluation({"liver": ["absent"]}).table
        assert strips(table, "HD95_mm", ["liver"]).axis.low == 0

    @given(st.lists(st.floats(0, 1), min_size=2, max_size=60))
    def test_dots_of_like_values_lie_apart(self, dice: list[float]) -> None:
        (row,) = strips(make_evaluation({"liver": dice}).table, "Dice", ["liver"]).rows
        assert all(20 <= dot.y <= 80 for dot in row.dots)
        assert all(abs(one.y - other.y) > 10 for one, other in zip(row.dots, row.dots[1:], strict=False))


class TestAgreement:
    def test_by_hand(self) -> None:
        table = make_evaluation({"liver": [1.0, 0.0, "missed", "absent"]}).table
        # Predicted less true: 0 of 10, 2 of 11, -12 of 12 ml.
        shown = agreement(table, "liver", bias=-10 / 3, limits=(-18.0, 11.4))
        assert shown is not None
        assert shown.count == 3
        means = [shown.x.low + dot.x / 100 * (shown.x.high - shown.x.low) for dot in shown.dots]
        assert means == pytest.approx([10, 12, 6], abs=0.001)
        assert [shown.level(value) for value in (0, 2, -12)] == [dot.y for dot in shown.dots]
        assert shown.y.low <= -18 < 11.4 <= shown.y.high
        assert shown.dots[2].presence == "missed"
        assert shown.dots[2].words == "case_002, liver: \N{MINUS SIGN}12.00 ml at a mean of 6.00 ml (missed)"

    def test_more_is_higher(self) -> None:
        shown = agreement(make_evaluation({"liver": [0.0, 0.9]}).table, "liver", bias=1.1, limits=(nan, nan))
        assert shown is not None
        assert shown.level(2) < shown.level(0)
        assert isnan(shown.low)

    def test_of_a_class_that_no_case_shows_is_none(self) -> None:
        table = make_evaluation({"liver": ["absent", "absent"]}).table
        assert agreement(table, "liver", bias=nan, limits=(nan, nan)) is None


class TestLines:
    def test_break_where_a_value_is_missing(self) -> None:
        chart = lines([0, 1, 2, 3], [("loss", [1.0, nan, 0.0, 0.5])])
        (line,) = chart.lines
        assert line.path.count("M") == 2
        points = re.findall(r"[ML]([\d.]+),([\d.]+)", line.path)
        assert points[0] == ("0.0", "0.0")
        assert points[-1] == ("1000.0", "500.0")
        assert line.last == 0.5

    def test_of_one_epoch_is_a_dot(self) -> None:
        (line,) = lines([0], [("loss", [1.0])]).lines
        start, end = re.fullmatch(r"M(.*)L(.*)", line.path).groups()  # type: ignore[union-attr]
        assert start == end

    def test_without_a_value_is_empty(self) -> None:
        (line,) = lines([0, 1], [("loss", [nan, inf])]).lines
        assert line.path == ""
        assert isnan(line.last)
