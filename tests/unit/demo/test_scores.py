"""Scores are those of ``summary.json``; means over the scans that show a class leave false alarms out."""

from __future__ import annotations

import json
from collections.abc import Callable
from math import isnan
from pathlib import Path

import pytest

from nnunetv2_cfseg.demo.scores import read_scores


def test_of_a_class_over_the_scans_that_show_it_leave_false_alarms_out(write_summary: Callable[..., Path]) -> None:
    file = write_summary([{"EDH": (10, 10, 8)}, {"EDH": (10, 10, 4)}, {"EDH": (0, 5, 0)}, {}])
    edh = read_scores(file).classes[0]
    assert (edh.name, edh.label, edh.shown, edh.false_alarms) == ("EDH", 1, 2, 1)
    assert edh.dice_shown == pytest.approx((0.8 + 0.4) / 2)
    assert edh.iou_shown == pytest.approx((8 / 12 + 4 / 16) / 2)
    assert edh.dice == pytest.approx((0.8 + 0.4 + 0) / 3)


def test_are_nnunets_means(write_summary: Callable[..., Path]) -> None:
    cases = [dict.fromkeys(("EDH", "ICH", "IVH", "SAH", "SDH"), (10, 10, n)) for n in (3, 6)]
    cases[0]["IVH"] = (0, 3, 0)
    file = write_summary(cases)
    summary, scores = json.loads(file.read_text()), read_scores(file)
    assert scores.mean_dice == summary["foreground_mean"]["Dice"]
    assert [s.dice for s in scores.classes] == [summary["mean"][str(s.label)]["Dice"] for s in scores.classes]
    assert [s.iou for s in scores.classes] == [summary["mean"][str(s.label)]["IoU"] for s in scores.classes]
    assert scores.mean_dice_shown == pytest.approx((4 * 0.45 + 0.6) / 5)


def test_of_a_class_that_no_scan_shows_are_nan(write_summary: Callable[..., Path]) -> None:
    scores = read_scores(write_summary([{"SDH": (10, 10, 5)}]))
    edh = scores.classes[0]
    assert (edh.shown, edh.false_alarms) == (0, 0)
    assert all(isnan(value) for value in (edh.dice, edh.iou, edh.dice_shown, edh.iou_shown, scores.mean_dice))
    assert scores.mean_dice_shown == 0.5


def test_of_a_case_are_over_the_classes_that_truth_or_prediction_show(write_summary: Callable[..., Path]) -> None:
    case = read_scores(write_summary([{"ICH": (10, 10, 9), "SAH": (0, 1, 0)}])).cases[0]
    assert case.name == "phantom_000"
    assert case.mean_dice_shown == pytest.approx(0.9)
    assert case.mean_dice == pytest.approx(0.45)
    assert case.false_alarms == {4}
    assert isnan(case.dice[1])


@pytest.mark.parametrize(
    ("both", "chosen"),
    [
        ([5], {"best": 0}),
        ([5, 7], {"best": 1, "worst": 0}),
        ([5, 7, 6], {"best": 1, "median": 2, "worst": 0}),
        ([1, 2, 3, 4], {"best": 3, "median": 1, "worst": 0}),
        ([9, 1, 5, 4, 6], {"best": 0, "median": 2, "worst": 1}),
    ],
)
def test_best_median_and_worst_are_different_cases(
    write_summary: Callable[..., Path], both: list[int], chosen: dict[str, int]
) -> None:
    scores = read_scores(write_summary([{"ICH": (10, 10, n)} for n in both]))
    assert {title: int(case.name[-3:]) for title, case in scores.best_median_worst().items()} == chosen


def test_ranks_leave_false_alarms_out(write_summary: Callable[..., Path]) -> None:
    cases = [{"ICH": (10, 10, 9), "SAH": (0, 1, 0), "EDH": (0, 1, 0)}, {"ICH": (10, 10, 6)}]
    assert [case.name for case in read_scores(write_summary(cases)).ranked()] == ["phantom_000", "phantom_001"]


def test_cases_without_a_lesion_are_not_ranked(write_summary: Callable[..., Path]) -> None:
    scores = read_scores(write_summary([{}, {"ICH": (10, 10, 1)}, {"SAH": (0, 3, 0)}]))
    assert [case.name for case in scores.ranked()] == ["phantom_001"]
    assert read_scores(write_summary([{}, {}])).best_median_worst() == {}


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"mean": {}, "metric_per_case": [], "foreground_mean": {}}'])
def test_of_something_else_are_refused_by_its_name(tmp_path: Path, text: str) -> None:
    file = tmp_path / "other.json"
    file.write_text(text)
    with pytest.raises(ValueError, match=r"metrics of the labels \[1, 2, 3, 4, 5\].*other\.json"):
        read_scores(file)
