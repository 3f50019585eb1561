"""Means, tests and the Pareto front."""

from __future__ import annotations

from collections.abc import Callable
from math import nan

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nnunetv2_cfseg.benchmark.collect import Results
from nnunetv2_cfseg.benchmark.ranking import against, by_case, critical_cases, pair, pareto, ranking

Line = Callable[..., dict]


def test_means_over_classes_then_seeds_then_cases(line: Line) -> None:
    figures = pd.DataFrame(
        [
            line("ours", "1", "a", 0.2), line("ours", "1", "b", 0.4), line("ours", "2", "a", 0.9),
            line("ours", "1", "a", 0.4, seed=2), line("ours", "1", "b", 0.8, seed=2),
            line("ours", "2", "a", 0.7, seed=2),
        ]
    )  # fmt: skip
    table = by_case(figures, "Dice")
    assert table["ours"].to_dict() == pytest.approx({"1": 0.45, "2": 0.8})
    (of_row,) = ranking(figures, "Dice").to_dict("records")
    assert of_row["mean"] == pytest.approx(0.625)
    assert (of_row["cases"], of_row["seeds"]) == (2, 2)
    assert (of_row["seed_low"], of_row["seed_high"]) == pytest.approx(((0.3 + 0.9) / 2, (0.6 + 0.7) / 2))


def test_a_false_alarm_counts_against_who_raised_it_and_for_nobody(line: Line) -> None:
    figures = pd.DataFrame(
        [
            line("ours", "1", "a", 0.5), line("ours", "1", "b", nan, presence="absent"),
            line("theirs", "1", "a", 0.5), line("theirs", "1", "b", 0.0, presence="false_alarm"),
        ]
    )  # fmt: skip
    assert by_case(figures, "Dice").loc["1"].to_dict() == {"ours": 0.5, "theirs": 0.25}
    alone = figures[figures["row"] == "ours"]
    assert by_case(alone, "Dice").loc["1"].to_dict() == {"ours": 0.5}


def test_a_false_alarm_in_a_scan_that_shows_nothing_counts_in_the_pair(line: Line) -> None:
    def absent(row: str, case: str, seed: int = 1) -> dict:
        return line(row, case, "a", nan, seed=seed, presence="absent")

    alarm = line("theirs", "1", "a", 0.0, seed=2, presence="false_alarm")
    figures = pd.DataFrame(
        [
            absent("ours", "1"), absent("ours", "1", 2), absent("theirs", "1"), alarm,
            absent("ours", "2"), absent("theirs", "2"),
            line("ours", "3", "a", 0.9), line("theirs", "3", "a", 0.8),
        ]
    )  # fmt: skip
    assert by_case(figures, "Dice")["ours"].dropna().to_dict() == pytest.approx({"3": 0.9})
    table = pair(figures, "Dice", "ours", "theirs")
    assert table.to_dict("index") == {  # seed 1 of the first case, and the second, say nothing of either
        "1": {"theirs": 0.0, "ours": 1.0}, "3": pytest.approx({"theirs": 0.8, "ours": 0.9}),
    }  # fmt: skip
    assert list(critical_cases(figures, "theirs", most=1)["case"]) == ["1"]


def test_a_measure_that_knows_no_false_alarm_has_no_pair_there(line: Line) -> None:
    figures = pd.DataFrame(
        [
            line("ours", "1", "a", nan, presence="absent"), line("theirs", "1", "a", 0.0, presence="false_alarm"),
            line("ours", "2", "a", 0.9), line("theirs", "2", "a", 0.8),
        ]
    ).assign(boundary_Dice=[nan, nan, 0.7, 0.6])  # fmt: skip
    assert list(pair(figures, "boundary_Dice", "ours", "theirs").index) == ["2"]
    assert ranking(figures, "boundary_Dice")["cases"].tolist() == [1, 1]


def test_seeds_that_find_different_classes_count_the_same(line: Line) -> None:
    figures = pd.DataFrame(
        [
            line("ours", "1", "a", 0.8), line("ours", "1", "b", nan, presence="absent"),
            line("ours", "1", "a", 0.8, seed=2), line("ours", "1", "b", 0.0, seed=2, presence="false_alarm"),
        ]
    )  # fmt: skip
    assert by_case(figures, "Dice")["ours"].to_dict() == pytest.approx({"1": 0.6})


def test_the_best_comes_first(results: Results) -> None:
    assert list(ranking(results.figures, "Dice")["row"]) == ["ours", "theirs <b>"]
    worse = results.figures.assign(HD95_mm=np.where(results.figures["row"] == "ours", 9.0, 2.0))
    assert list(ranking(worse, "HD95_mm")["row"]) == ["theirs <b>", "ours"]


def test_differences_are_paired_over_the_seeds_that_both_have(results: Results) -> None:
    figures = results.figures[~((results.figures["row"] == "ours") & (results.figures["seed"] == 2))]
    (found,) = against(figures, "Dice", "theirs <b>").to_dict("records")
    assert found["row"] == "ours"
    assert found["n"] == 3
    assert found["difference"] == pytest.approx(0.1)
    assert found["wins"] == 3
    assert found["p"] == found["p_holm"] == pytest.approx(0.25)  # the least that three cases can give


def test_rows_that_share_nothing(results: Results) -> None:
    figures = results.figures[(results.figures["row"] == "ours") == (results.figures["seed"] == 1)]
    (found,) = against(figures, "Dice", "ours").to_dict("records")
    assert found["n"] == 0
    assert np.isnan(found["p"])


def test_cases_to_look_at_come_with_the_largest_difference_first(line: Line) -> None:
    dice = {"1": (0.5, 0.6), "2": (0.5, 0.1), "3": (0.5, 0.5)}
    figures = pd.DataFrame(
        [line(row, case, "a", values[n]) for case, values in dice.items() for n, row in enumerate(("them", "us"))]
    )
    found = critical_cases(figures, "them", most=2)
    assert list(found["case"]) == ["2", "1"]
    assert list(found["difference"]) == pytest.approx([-0.4, 0.1])


def test_the_front_by_hand() -> None:
    assert pareto([(1, 0.5), (2, 0.5), (2, 0.7), (3, 0.6), (nan, 1.0)]) == [True, False, True, False, False]
    assert pareto([(1, 0.5), (1, 0.5)]) == [True, True]


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=1, max_size=12))
def test_every_point_off_the_front_is_beaten_by_one_on_it(points: list[tuple[int, int]]) -> None:
    on_front = [point for point, best in zip(points, pareto(points), strict=True) if best]
    assert on_front
    for cost, gain in points:
        assert any(other_cost <= cost and other_gain >= gain for other_cost, other_gain in on_front)
