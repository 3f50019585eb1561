"""Which values are pairs: above all, what is done with values that are no numbers."""

from __future__ import annotations

from math import nan

import pandas as pd
import pytest

from nnunetv2_cfseg.evaluation.compare.pairs import MEAN, classes_of, pair_values

DIAGONAL = 250.0
#: What the evaluation measures of each presence, apart from ``both``.
VALUES = {
    "missed": {"Dice": 0.0, "HD95_mm": DIAGONAL, "lesion_precision": nan, "lesion_recall": 0.0},
    "false_alarm": {"Dice": 0.0, "HD95_mm": DIAGONAL, "lesion_precision": 0.0, "lesion_recall": nan},
    "absent": {"Dice": nan, "HD95_mm": nan, "lesion_precision": nan, "lesion_recall": nan},
}
FOUND = {"Dice": 0.8, "HD95_mm": 3.0, "lesion_precision": 0.6, "lesion_recall": 0.7, "absolute_volume_error_ml": 4.0}


def table(*rows: tuple[str, str, str], **values: float) -> pd.DataFrame:
    """Of rows of case, class, presence; ``values`` replace those that are found."""
    return pd.DataFrame(
        [
            {"case": case, "class": name, "presence": presence, "absolute_volume_error_ml": 0.0}
            | (VALUES[presence] if presence != "both" else FOUND | values)
            for case, name, presence in rows
        ]
    )


def pair(reference: str, other: str, metric: str) -> tuple[float, float] | None:
    """What is compared of one class of one case."""
    found = pair_values(table(("c", "k", reference)), table(("c", "k", other)), metric=metric)
    values = list(found[["reference_value", "other_value"]].itertuples(index=False, name=None))
    return values[0] if values else None


class TestPresence:
    @pytest.mark.parametrize("metric", ["Dice", "HD95_mm", "lesion_precision", "lesion_recall"])
    def test_of_both_compares_what_was_measured(self, metric: str) -> None:
        assert pair("both", "both", metric) == (FOUND[metric], FOUND[metric])

    @pytest.mark.parametrize(
        "metric", ["Dice", "HD95_mm", "lesion_precision", "lesion_recall", "absolute_volume_error_ml"]
    )
    def test_a_class_that_both_rightly_leave_out_is_no_pair(self, metric: str) -> None:
        assert pair("absent", "absent", metric) is None

    @pytest.mark.parametrize(
        ("metric", "perfect", "worst"), [("Dice", 1.0, 0.0), ("HD95_mm", 0.0, DIAGONAL), ("lesion_precision", 1.0, 0.0)]
    )
    def test_a_right_absence_is_perfect_against_a_false_alarm(self, metric: str, perfect: float, worst: float) -> None:
        assert pair("absent", "false_alarm", metric) == (perfect, worst)
        assert pair("false_alarm", "absent", metric) == (worst, perfect)

    def test_two_false_alarms_are_a_pair(self) -> None:
        assert pair("false_alarm", "false_alarm", "Dice") == (0, 0)

    def test_a_miss_is_a_pair(self) -> None:
        assert pair("both", "missed", "Dice") == (0.8, 0)
        assert pair("missed", "missed", "HD95_mm") == (DIAGONAL, DIAGONAL)

    def test_a_miss_has_no_perfect_precision(self) -> None:
        """Its precision is no number either, but not because it is right."""
        assert pair("missed", "both", "lesion_precision") is None
        assert pair("both", "missed", "lesion_precision") is None
        assert pair("missed", "both", "lesion_recall") == (0, 0.7)

    def test_an_undefined_recall_is_no_pair(self) -> None:
        assert pair("absent", "false_alarm", "lesion_recall") is None

    def test_an_undefined_value_of_a_class_in_both_is_no_pair(self) -> None:
        a, b = table(("c", "k", "both"), Dice=nan), table(("c", "k", "both"))
        assert len(pair_values(a, b, metric="Dice")) == 0


class TestRows:
    def test_have_the_values_of_the_same_case_and_class_in_any_order(self) -> None:
        a = pd.concat([table(("c1", "k", "both"), Dice=0.1), table(("c2", "k", "both"), Dice=0.2)])
        b = pd.concat([table(("c2", "k", "both"), Dice=0.4), table(("c1", "k", "both"), Dice=0.7)])
        found = pair_values(a, b, metric="Dice")
        assert found["case"].tolist() == ["c1", "c2"]
        assert found["difference"].tolist() == pytest.approx([0.6, 0.2])

    def test_say_how_each_value_came_about(self) -> None:
        found = pair_values(table(("c", "k", "absent")), table(("c", "k", "false_alarm")), metric="Dice")
        assert found[["reference_presence", "other_presence"]].to_numpy().tolist() == [["absent", "false_alarm"]]

    def test_leave_the_tables_as_they_are(self) -> None:
        a, b = table(("c", "k", "absent")), table(("c", "k", "false_alarm"))
        before = a.copy(), b.copy()
        pair_values(a, b, metric="Dice")
        pd.testing.assert_frame_equal(a, before[0])
        pd.testing.assert_frame_equal(b, before[1])

    def test_of_other_cases_are_refused(self) -> None:
        a, b = table(("c1", "k", "both"), ("c2", "k", "both")), table(("c2", "k", "both"), ("c3", "k", "both"))
        with pytest.raises(ValueError, match=r"share 1 of their 2 and 2 rows; .*same cases and classes"):
            pair_values(a, b, metric="Dice")


class TestMean:
    def test_is_over_the_classes_with_a_pair_in_the_case(self) -> None:
        a = table(("c1", "k", "both"), ("c1", "l", "absent"), ("c2", "k", "both"), ("c2", "l", "both"), Dice=0.5)
        b = table(("c1", "k", "both"), ("c1", "l", "absent"), ("c2", "k", "both"), ("c2", "l", "missed"), Dice=0.75)
        found = pair_values(a, b, metric="Dice")
        means = found[found["class"] == MEAN].set_index("case")
        assert means["reference_value"].to_dict() == {"c1": 0.5, "c2": 0.5}
        assert means["other_value"].to_dict() == {"c1": 0.75, "c2": 0.375}
        assert means["difference"].to_dict() == {"c1": 0.25, "c2": -0.125}

    def test_counts_a_false_alarm(self) -> None:
        a = table(("c", "k", "both"), ("c", "l", "absent"))
        b = table(("c", "k", "both"), ("c", "l", "false_alarm"))
        found = pair_values(a, b, metric="Dice").set_index("class")
        assert found.loc[MEAN, "reference_value"] == pytest.approx((0.8 + 1) / 2)
        assert found.loc[MEAN, "other_value"] == pytest.approx((0.8 + 0) / 2)

    def test_is_not_there_where_a_case_has_no_pair(self) -> None:
        a = table(("c1", "k", "absent"), ("c1", "l", "absent"), ("c2", "k", "both"), ("c2", "l", "absent"))
        found = pair_values(a, a, metric="Dice")
        assert found[["case", "class"]].to_numpy().tolist() == [["c2", "k"], ["c2", MEAN]]

    def test_of_one_class_would_only_repeat_it(self) -> None:
        one, two = table(("c", "k", "both")), table(("c", "k", "both"), ("c", "l", "absent"))
        assert classes_of(one) == ["k"]
        assert classes_of(two) == ["k", "l", MEAN]
        assert pair_values(one, one, metric="Dice")["class"].tolist() == ["k"]
        assert pair_values(two, two, metric="Dice")["class"].tolist() == ["k", MEAN]

    def test_of_nothing_is_nothing(self) -> None:
        a = table(("c", "k", "absent"), ("c", "l", "absent"))
        found = pair_values(a, a, metric="Dice")
        assert len(found) == 0
        assert "difference" in found
