"""Comparisons of tables: rows, families of tests, what is written and shown."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from math import isnan, nan
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from nnunetv2_cfseg.evaluation.compare.comparison import Comparison, compare_tables
from nnunetv2_cfseg.evaluation.compare.folders import FolderComparison
from nnunetv2_cfseg.evaluation.compare.input_tables import CommonCases
from nnunetv2_cfseg.evaluation.compare.markdown import MOST_CASES, markdown, table
from nnunetv2_cfseg.evaluation.compare.notes import notes
from nnunetv2_cfseg.evaluation.compare.output_files import write_comparison
from nnunetv2_cfseg.evaluation.compare.pairs import MEAN
from nnunetv2_cfseg.evaluation.metrics import MetricSettings
from nnunetv2_cfseg.evaluation.paired_tests import holm

RESULT_COLUMNS = [
    *("reference", "other", "metric", "class", "n", "mean_reference", "mean_other", "difference", "low", "high"),
    *("p", "p_holm", "wins", "ties", "losses"),
]


def evaluation(dice: Mapping[str, Sequence[float | str]]) -> pd.DataFrame:
    """The table of an evaluation, of the Dice or presence of each class in each case; HD95 is 100 (1 - Dice)."""
    rows = []
    for case in range(len(next(iter(dice.values())))):
        for name, values in dice.items():
            value = values[case]
            presence = value if isinstance(value, str) else "both"
            number = value if not isinstance(value, str) else nan if value == "absent" else 0.0
            rows.append(
                {
                    "case": f"case_{case:02d}",
                    "class": name,
                    "presence": presence,
                    "Dice": number,
                    "NSD": number,
                    "HD95_mm": 100 * (1 - number),
                }
            )
    return pd.DataFrame(rows)


def random_evaluation(seed: int, *, cases: int = 8, classes: str = "kl") -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    return evaluation({name: rng.random(cases).tolist() for name in classes})


def of_folders(
    comparison: Comparison, *, left_out: Mapping[str, tuple[str, ...]] | None = None, unknown: tuple[str, ...] = ()
) -> FolderComparison:
    cases = tuple(comparison.table["case"].unique())
    return FolderComparison(
        comparison=comparison,
        folders={name: Path("runs") / name for name in comparison.names},
        truth=Path("labelsTs"),
        cases=CommonCases(cases, left_out or {}, unknown),
        settings=MetricSettings(),
    )


class TestResults:
    def test_by_hand(self) -> None:
        a = evaluation({"k": [0.5, 0.5, 0.5], "l": [0.2, 0.2, 0.2]})
        b = evaluation({"k": [0.6, 0.7, 0.8], "l": [0.2, 0.2, 0.1]})
        found = compare_tables({"a": a, "b": b}, metrics=["Dice"]).results
        assert found.columns.tolist() == RESULT_COLUMNS
        assert found["class"].tolist() == ["k", "l", MEAN]
        assert found["difference"].tolist() == pytest.approx([0.2, -0.1 / 3, (0.2 - 0.1 / 3) / 2])
        assert found[["wins", "ties", "losses"]].to_numpy().tolist() == [[3, 0, 0], [0, 2, 1], [3, 0, 0]]
        assert found["p"].tolist() == pytest.approx([0.25, 1, 0.25])
        assert found["p_holm"].tolist() == pytest.approx([0.75, 1, 0.75])

    def test_of_distances_count_less_as_better(self) -> None:
        a, b = evaluation({"k": [0.5, 0.5]}), evaluation({"k": [0.6, 0.7]})
        row = compare_tables({"a": a, "b": b}, metrics=["HD95_mm"]).results.iloc[0]
        assert (row["wins"], row["losses"]) == (2, 0)
        assert row["difference"] == pytest.approx(-15)

    def test_are_of_every_pair_the_earlier_as_reference(self) -> None:
        tables = {name: random_evaluation(seed) for seed, name in enumerate("abc")}
        comparison = compare_tables(tables)
        assert comparison.pairs() == [("a", "b"), ("a", "c"), ("b", "c")]
        assert len(comparison.results) == 3 * 3 * 3  # metrics, pairs, classes and mean
        found = comparison.results[["reference", "other"]].drop_duplicates().to_numpy().tolist()
        assert found == [["a", "b"], ["a", "c"], ["b", "c"]]

    def test_are_of_the_reference_alone_where_there_is_one(self) -> None:
        tables = {name: random_evaluation(seed) for seed, name in enumerate("abc")}
        assert compare_tables(tables, reference="b").pairs() == [("b", "a"), ("b", "c")]

    def test_correct_over_all_tests_of_a_metric_and_no_others(self) -> None:
        tables = {name: random_evaluation(seed) for seed, name in enumerate("abc")}
        results = compare_tables(tables).results
        for _, family in results.groupby("metric"):
            assert len(family) == 9
            np.testing.assert_allclose(family["p_holm"], holm(family["p"]))
            assert family["p_holm"].min() == pytest.approx(min(1, 9 * family["p"].min()))

    def test_correct_over_fewer_tests_against_a_reference(self) -> None:
        tables = {name: random_evaluation(seed) for seed, name in enumerate("abc")}
        family = compare_tables(tables, metrics=["Dice"], reference="a").results
        assert family["p_holm"].min() == pytest.approx(min(1, 6 * family["p"].min()))

    def test_keep_a_class_that_no_case_shows_and_do_not_test_it(self) -> None:
        a = evaluation({"k": [0.1, 0.2, 0.3], "l": ["absent"] * 3})
        b = evaluation({"k": [0.2, 0.4, 0.6], "l": ["absent"] * 3})
        found = compare_tables({"a": a, "b": b}, metrics=["Dice"]).results.set_index("class")
        assert found.loc["l", "n"] == 0
        assert isnan(found.loc["l", "p"])
        assert isnan(found.loc["l", "p_holm"])
        assert found.loc["k", "p_holm"] == pytest.approx(2 * 0.25)

    def test_of_equal_predictions_are_ties(self) -> None:
        a = random_evaluation(0)
        found = compare_tables({"a": a, "b": a}).results
        assert (found["p"] == 1).all()
        assert (found["ties"] == found["n"]).all()
        assert (found[["difference", "low", "high"]] == 0).all(axis=None)

    def test_count_a_false_alarm_against_a_right_absence(self) -> None:
        a = evaluation({"k": ["absent", 0.5]})
        b = evaluation({"k": ["false_alarm", 0.5]})
        row = compare_tables({"a": a, "b": b}, metrics=["Dice"]).results.iloc[0]
        assert (row["n"], row["losses"], row["mean_reference"], row["mean_other"]) == (2, 1, 0.75, 0.25)

    def test_are_decided_by_the_seed(self) -> None:
        tables = {"a": random_evaluation(0), "b": random_evaluation(1)}
        pd.testing.assert_frame_equal(compare_tables(tables, seed=1).results, compare_tables(tables, seed=1).results)
        assert not compare_tables(tables, seed=1).results.equals(compare_tables(tables, seed=2).results)


class TestCases:
    def test_have_every_difference(self) -> None:
        a, b = random_evaluation(0), random_evaluation(1)
        comparison = compare_tables({"a": a, "b": b}, metrics=["Dice", "NSD"])
        assert comparison.cases["metric"].unique().tolist() == ["Dice", "NSD"]
        assert len(comparison.cases) == 2 * 8 * 3
        means = comparison.cases.groupby(["metric", "class"])["difference"].mean()
        for row in comparison.results.to_dict("records"):
            assert means[row["metric"], row["class"]] == pytest.approx(row["difference"])

    def test_have_dice_for_the_critical_view_whatever_the_metrics(self) -> None:
        comparison = compare_tables({"a": random_evaluation(0), "b": random_evaluation(1)}, metrics=["NSD"])
        assert comparison.cases["metric"].unique().tolist() == ["NSD"]
        assert comparison.dice["metric"].unique().tolist() == ["Dice"]


class TestNotes:
    def few(self, cases: int, names: str = "ab", **kwargs: object) -> list[str]:
        tables = {name: random_evaluation(seed, cases=cases) for seed, name in enumerate(names)}
        return notes(of_folders(compare_tables(tables, metrics=["Dice"]), **kwargs))  # type: ignore[arg-type]

    def test_name_the_smallest_p_once(self) -> None:
        found = [note for note in self.few(5) if "smallest" in note]
        assert found == ["n = 5: the smallest p this test can give is 0.0625"]

    def test_name_it_for_every_number_of_pairs_below_six(self) -> None:
        a = evaluation({"k": [0.1, 0.2, 0.3, "absent", "absent"], "l": [0.1, 0.2, 0.3, 0.4, 0.5]})
        found = notes(of_folders(compare_tables({"a": a, "b": a})))
        assert (
            "n = 3: the smallest p this test can give is 0.25; n = 5: the smallest p this test can give is 0.0625"
            in (found)
        )

    def test_say_where_the_correction_leaves_nothing_to_find(self) -> None:
        assert not [note for note in self.few(8) if "Holm" in note]  # 3 tests, 0.0234
        assert [note for note in self.few(8, "abc") if "Holm" in note] == [
            "9 tests of at most n = 8 (Dice): the smallest p that Holm's correction can give is 0.0703"
        ]

    def test_say_that_an_interval_of_few_cases_is_narrow(self) -> None:
        assert "at most n = 19: with so few cases the bootstrap interval of 95 % is too narrow" in self.few(19)
        assert self.few(20) == []

    def test_say_what_is_left_out(self) -> None:
        found = self.few(20, left_out={"x": (), "y": ("b",), "z": ()}, unknown=("w",))
        assert found == [
            "left out: 2 of the truth's 23 cases, which no folder has",
            "left out: 1 of the truth's 23 cases, which some folders lack; a model that fails on hard cases gains "
            "from this: y (only b)",
            "left out: 1 of the predicted cases, which the truth lacks: w",
        ]


class TestMarkdown:
    def test_tables_are_aligned(self) -> None:
        assert table(("class", "n"), [("a", "1"), ("long name", "12345")]).splitlines() == [
            "| class     |     n |",
            "| --------- | ----: |",
            "| a         |     1 |",
            "| long name | 12345 |",
        ]

    def test_a_name_cannot_break_a_table(self) -> None:
        assert table(("a",), [("x|y\nz",)]).splitlines()[-1] == r"| x\|y z |"

    def test_shows_every_row_of_every_metric(self) -> None:
        a = evaluation({"k": [0.5] * 6, "l": [0.25] * 6})
        b = evaluation({"k": [0.75] * 6, "l": [0.25] * 6})
        text = markdown(of_folders(compare_tables({"a": a, "b": b})))
        rows = [" ".join(line.split()) for line in text.splitlines()]
        assert "| k | 6 | 0.500 | 0.750 | +0.250 | +0.250 to +0.250 | 0.031 | 0.094 | 6 | 0 | 0 |" in rows
        assert "| l | 6 | 0.250 | 0.250 | 0.000 | 0.000 to 0.000 | 1.000 | 1.000 | 0 | 6 | 0 |" in rows
        assert "| k | 6 | 50.00 | 25.00 | -25.00 | -25.00 to -25.00 | 0.031 | 0.094 | 6 | 0 | 0 |" in rows
        assert [line for line in rows if line.startswith("## ")] == [
            "## Dice",
            "## surface Dice",
            "## HD95 in mm",
            "## Cases to look at",
        ]
        assert "more is better; the tolerance is 1 mm; 3 tests." in text
        assert "less is better; 3 tests." in text

    def test_shows_what_is_undefined_as_a_dash(self) -> None:
        a = evaluation({"k": [0.5], "l": ["absent"]})
        rows = [" ".join(line.split()) for line in markdown(of_folders(compare_tables({"a": a, "b": a}))).splitlines()]
        assert (
            "| l | 0 | \N{EN DASH} | \N{EN DASH} | \N{EN DASH} | \N{EN DASH} | \N{EN DASH} | \N{EN DASH} | 0 | 0 | 0 |"
            in rows
        )
        assert "| k | 1 | 0.500 | 0.500 | 0.000 | \N{EN DASH} | 1.000 | 1.000 | 0 | 1 | 0 |" in rows

    def test_counts_misses_and_false_alarms(self) -> None:
        a = evaluation({"k": [0.5, "missed", "absent"], "l": [0.5, 0.5, 0.5]})
        b = evaluation({"k": [0.5, 0.5, "false_alarm"], "l": [0.5, 0.5, 0.5]})
        text = markdown(of_folders(compare_tables({"a": a, "b": b})))
        rows = [" ".join(line.split()) for line in text.split("## Missed classes and false alarms")[1].splitlines()]
        assert "| a | k | 1 | 1 | 0 | 1 |" in rows
        assert "| b | k | 2 | 0 | 1 | 0 |" in rows
        assert not [row for row in rows if row.startswith(("| a | l |", "| b | l |"))]

    def test_critical_view_begins_with_the_largest_difference(self) -> None:
        a = evaluation({"k": [0.5, 0.5, "absent", 0.5, 0.5], "l": [0.5, 0.5, 0.5, 0.5, 0.9]})
        b = evaluation({"k": [0.6, "missed", "false_alarm", 0.75, 0.5], "l": [0.5, 0.5, 0.5, 0.25, 0.9]})
        text = markdown(of_folders(compare_tables({"a": a, "b": b})))
        rows = [" ".join(line.split()) for line in text.split("## Cases to look at")[1].splitlines()]
        assert [row for row in rows if row.startswith("| case_")] == [
            "| case_02 | -0.500 | 0.750 → 0.250 | absent → false alarm | 0.500 → 0.500 |",
            "| case_01 | -0.250 | 0.500 → 0.250 | 0.500 → missed | 0.500 → 0.500 |",
            "| case_00 | +0.050 | 0.500 → 0.550 | 0.500 → 0.600 | 0.500 → 0.500 |",
            "| case_03 | 0.000 | 0.500 → 0.500 | 0.500 → 0.750 | 0.500 → 0.250 |",
        ]

    def test_critical_view_shows_ten_cases_of_each_pair(self) -> None:
        tables = {name: random_evaluation(seed, cases=MOST_CASES + 5) for seed, name in enumerate("abc")}
        text = markdown(of_folders(compare_tables(tables))).split("## Cases to look at")[1]
        assert text.count("| case_") == 3 * MOST_CASES

    @pytest.mark.parametrize("values", [[0.25, 0.5], ["absent", "absent"]])
    def test_shows_a_single_class(self, values: list[float | str]) -> None:
        a, b = evaluation({"k": values}), evaluation({"k": values}).replace({"Dice": {0.25: 0.5}})
        text = markdown(of_folders(compare_tables({"a": a, "b": b})))
        assert MEAN not in text
        assert ("case_00" in text) == (values[0] != "absent")
        assert ("No case differs." in text) == (values[0] == "absent")


def without_folders(text: str) -> str:
    """Tables in a file name folders as they are found from it; what is printed names them as they were typed."""
    return "\n".join(line for line in text.splitlines() if not line.startswith("- "))


class TestFiles:
    def test_hold_the_comparison(self, tmp_path: Path) -> None:
        a = evaluation({"k": [0.1, 0.2, 0.3], "l": ["absent"] * 3})
        b = evaluation({"k": [0.2, 0.4, 0.6], "l": ["absent"] * 3})
        comparison = of_folders(compare_tables({"a": a, "b": b}), left_out={"x": ("a",)})
        write_comparison(comparison, tmp_path / "new" / "out")
        out = tmp_path / "new" / "out"
        assert sorted(path.name for path in out.iterdir()) == [
            "cases.csv",
            "comparison.csv",
            "comparison.json",
            "comparison.md",
        ]
        results = pd.read_csv(out / "comparison.csv")
        assert results.columns.tolist() == RESULT_COLUMNS
        pd.testing.assert_frame_equal(results, comparison.comparison.results, check_dtype=False)
        assert len(pd.read_csv(out / "cases.csv")) == len(comparison.comparison.cases)
        assert without_folders((out / "comparison.md").read_text(encoding="utf-8")) == without_folders(
            markdown(comparison)
        )
        record = json.loads((out / "comparison.json").read_text(encoding="utf-8"))
        assert record["cases"] == ["case_00", "case_01", "case_02"]
        assert record["left_out"] == {"x": ["a"]}
        assert record["tests_of_a_metric"] == {"Dice": 2, "NSD": 2, "HD95_mm": 2}
        assert record["notes"] == notes(comparison)
        first, second = record["results"][:2]
        assert (first["class"], first["n"], first["p"]) == ("k", 3, 0.25)
        assert (second["class"], second["n"], second["p"]) == ("l", 0, None)

    def test_replace_those_of_an_earlier_comparison(self, tmp_path: Path) -> None:
        for b in (random_evaluation(1), random_evaluation(2)):
            comparison = of_folders(compare_tables({"a": random_evaluation(0), "b": b}))
            write_comparison(comparison, tmp_path)
        assert without_folders((tmp_path / "comparison.md").read_text(encoding="utf-8")) == without_folders(
            markdown(comparison)
        )

    @pytest.mark.parametrize("place", ["file", "file/inside"])
    def test_are_refused_where_a_file_is(self, tmp_path: Path, place: str) -> None:
        (tmp_path / "file").write_text("mine")
        comparison = of_folders(compare_tables({"a": random_evaluation(0), "b": random_evaluation(1)}))
        with pytest.raises(ValueError, match=r"-o must name a folder, got a file: .*/file$"):
            write_comparison(comparison, tmp_path / place)
        assert (tmp_path / "file").read_text() == "mine"

    def test_are_whole_or_not_there(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        comparison = of_folders(compare_tables({"a": random_evaluation(0), "b": random_evaluation(1)}))
        write_comparison(comparison, tmp_path)
        before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

        def fail(*_: object) -> None:
            raise OSError("disk full")

        monkeypatch.setattr("nnunetv2_cfseg.files.atomic_files.os.replace", fail)
        other = of_folders(compare_tables({"a": random_evaluation(0), "b": random_evaluation(2)}))
        with pytest.raises(OSError, match="disk full"):
            write_comparison(other, tmp_path)
        assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
