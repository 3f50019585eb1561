"""The page: its numbers are those of the evaluation, and nothing that it is told becomes markup."""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path

import pytest

from nnunetv2_cfseg.evaluation.evaluate import Evaluation
from nnunetv2_cfseg.evaluation.files import Unpaired
from nnunetv2_cfseg.evaluation.metric_definitions import COLUMNS
from nnunetv2_cfseg.evaluation.report.page import Section
from nnunetv2_cfseg.evaluation.report.tables import words_table
from nnunetv2_cfseg.evaluation.report.write import Extras, write_report
from nnunetv2_cfseg.evaluation.summary import summarise

from .evaluations import make_evaluation
from .reader import Reader

DASH = "\N{EN DASH}"
TWO = {"liver": [0.9, 0.8, 0.4, 0.85, 0.9, 0.7], "tumour": [0.5, "missed", "false_alarm", "absent", 0.25, "absent"]}


def page_of(tmp_path: Path, evaluation: Evaluation, extras: Extras | None = None) -> str:
    """The page without the slice browser, which needs files."""
    return write_report(evaluation, tmp_path / "report.html", cases=0, extras=extras).read_text(encoding="utf-8")


@pytest.fixture
def page(tmp_path: Path) -> Reader:
    return Reader(page_of(tmp_path, make_evaluation(TWO)))


class TestNumbers:
    def test_verdict_is_one_sentence(self, page: Reader) -> None:
        verdict = re.search(r"Mean Dice is .*?alarms?\.", " ".join(page.text.split()))
        assert verdict is not None
        overall = summarise(make_evaluation(TWO))["cfseg"]["overall"]["mDSC"]
        low, high = overall["interval"]
        assert verdict[0] == (
            f"Mean Dice is {overall['mean']:.3f} (95 % interval {low:.3f} to {high:.3f}) over 2 classes in 6 cases; "
            "1 of 9 structures was missed, and there was 1 false alarm."
        )

    def test_of_each_class_are_those_of_the_summary(self, page: Reader) -> None:
        head, liver, tumour, mean = page.tables["Every class in numbers"]
        of = summarise(make_evaluation(TWO))["cfseg"]
        for row, measures, flag in (
            (liver, of["classes"]["1"]["measures"], ""),
            (tumour, of["classes"]["2"]["measures"], " \N{DAGGER}"),
            (mean, of["overall"], " \N{DAGGER}"),
        ):
            low, high = measures["Dice"]["interval"]
            assert row[head.index("Dice")] == f"{measures['Dice']['mean']:.3f}{flag}|{low:.3f}{DASH}{high:.3f}"
        assert [liver[1], tumour[1]] == ["6", "4"]
        assert [row[-2:] for row in (liver, tumour, mean)] == [["0", "0"], ["1", "1"], ["1", "1"]]
        # Errors of tumours: 1 and 1.5 of those found, -11 of the missed one, 3 of the false alarm.
        assert tumour[head.index("volume error, ml, bias ± 1.96 SD")].startswith("\N{MINUS SIGN}1.38 ± 12.69")

    def test_medians_are_there(self, page: Reader) -> None:
        _, liver, tumour = page.tables["Medians and quartiles"]
        assert liver[1] == f"0.825|0.725{DASH}0.887"
        assert tumour[1] == f"0.125|0.000{DASH}0.312"

    def test_cases_are_worst_first_and_marked(self, page: Reader) -> None:
        _, *rows = page.tables["Every case"]
        dice = {row[0]: [re.match(r"(?:\d\.\d{3}|–)(?: [×△])?", cell)[0] for cell in row[1:]] for row in rows}  # type: ignore[index]  # noqa: RUF001
        assert dice == {
            "case_002": ["0.200", "0.400", "0.000 △"],
            "case_001": ["0.400", "0.800", "0.000 \N{MULTIPLICATION SIGN}"],
            "case_004": ["0.575", "0.900", "0.250"],
            "case_000": ["0.700", "0.900", "0.500"],
            "case_005": ["0.700", "0.700", DASH],
            "case_003": ["0.850", "0.850", DASH],
        }
        assert list(dice) == ["case_002", "case_001", "case_004", "case_000", "case_005", "case_003"]

    def test_nothing_says_nan(self, page: Reader) -> None:
        assert "NaN" in page.text  # that and how it is treated is explained
        assert "nan" not in re.findall(r"\w+", page.text)

    def test_every_column_is_defined(self, page: Reader) -> None:
        _, *rows = page.tables["Definitions of the columns"]
        assert [row[1] for row in rows] == [column.key for column in COLUMNS]
        assert [row[4] for row in rows] == [column.meaning for column in COLUMNS]


class TestHonesty:
    def test_few_cases_are_said_to_be_few(self, page: Reader) -> None:
        assert "Fewer than 5 cases" in page.text
        assert "fewer than 20 cases, bootstrap intervals tend to be too narrow" in page.text

    def test_many_cases_are_not(self, tmp_path: Path) -> None:
        text = Reader(page_of(tmp_path, make_evaluation({"liver": [0.5, 0.75] * 10}))).text
        assert "Fewer than" not in text
        assert "fewer than" not in text

    def test_an_interval_of_one_case_is_not_shown(self, tmp_path: Path) -> None:
        reader = Reader(page_of(tmp_path, make_evaluation({"liver": [0.7]})))
        _, liver, _ = reader.tables["Every class in numbers"]
        assert liver[2] == "0.700 \N{DAGGER}"
        assert "Mean Dice is 0.700 over 1 class in 1 case; none of 1 structure was missed" in reader.text

    def test_a_page_without_a_number_says_so(self, tmp_path: Path) -> None:
        reader = Reader(page_of(tmp_path, make_evaluation({"liver": ["absent"] * 2, "tumour": ["absent"] * 2})))
        assert (
            "There is nothing to measure: neither truth nor prediction shows any of 2 classes in 2 cases."
            in reader.text
        )
        assert "Neither truth nor prediction shows liver, tumour in any case." in reader.text
        assert set("".join(reader.tables["Every class in numbers"][1][2:-2])) == {DASH}

    def test_a_class_that_is_nowhere_is_named(self, tmp_path: Path) -> None:
        reader = Reader(page_of(tmp_path, make_evaluation({"liver": [0.5, 0.6], "tumour": ["absent"] * 2})))
        assert "The mean over classes leaves out classes that no case shows: tumour." in reader.text
        assert "over 1 of 2 classes in " in reader.text

    def test_cases_left_out_are_named(self, tmp_path: Path) -> None:
        made = make_evaluation(TWO)
        unpaired = Unpaired(tuple(f"lost_{number}" for number in range(7)), ("alone",))
        evaluation = Evaluation(made.table, made.classes, made.cases, made.settings, unpaired)
        text = Reader(page_of(tmp_path, evaluation)).text
        assert "7 cases without a prediction left out: lost_0, lost_1, lost_2, lost_3, lost_4 and 2 more." in text
        assert "1 case without a ground truth left out: alone." in text


class TestMarkup:
    def test_sections_are_in_order_and_linked(self, page: Reader) -> None:
        titles = [words for level, words in page.headings if level == 2]
        assert titles == [
            "Every class",
            "Every case",
            "Volumes",
            "Case by case",
            "What the columns mean",
            "Settings and files",
        ]
        anchors = [href for href in page.all("href") if href.startswith("#")]
        assert len(anchors) == 7
        assert {anchor[1:] for anchor in anchors} <= set(page.all("id"))

    def test_headings_descend_by_one(self, page: Reader) -> None:
        levels = [level for level, _ in page.headings]
        assert levels[0] == 1
        assert levels.count(1) == 1
        assert all(after - before <= 1 for before, after in pairwise(levels))

    def test_identifiers_are_unique_and_pointed_at(self, page: Reader) -> None:
        identifiers = page.all("id")
        assert len(set(identifiers)) == len(identifiers)
        assert set(page.all("aria-labelledby")) <= set(identifiers)

    def test_charts_have_words(self, page: Reader) -> None:
        pictures = [attributes for attributes in page.tags("svg") if attributes.get("role") == "img"]
        assert len(pictures) == 2 * 3 + 2
        assert all(picture["aria-label"].startswith(("liver: ", "tumour: ")) for picture in pictures)
        assert "case_001, tumour: 0.000 (missed)" in page.text

    def test_tables_have_captions_and_scopes(self, page: Reader) -> None:
        assert "" not in page.tables
        assert {attributes.get("scope") for attributes in page.tags("th")} == {"col", "row"}
        assert len(page.tags("table")) == len(page.tables)

    def test_is_made_for_phones_and_dark_screens(self, tmp_path: Path) -> None:
        html = page_of(tmp_path, make_evaluation(TWO))
        assert '<html lang="en">' in html
        assert 'name="viewport" content="width=device-width' in html
        assert "prefers-color-scheme: dark" in html
        for name in ("--page", "--ink", "--muted", "--line", "--accent", "--panel"):
            assert html.count(f"{name}: #") == 2  # light and dark

    def test_nothing_it_is_told_becomes_markup(self, tmp_path: Path) -> None:
        evil = "</title></style></script><script>alert('&amp;\")</script>{{ 7 * 7 }}"
        evaluation = make_evaluation({evil: [0.5, "missed"], f"{evil}2": [0.1, 0.2]}, names=[evil, f"{evil}b"])
        table = words_table(evil, (evil, evil), [(evil, evil)], caption=evil)
        extras = Extras(evil, [evil], [Section(evil, [evil], table, evil)], evil)
        plain = Reader(page_of(tmp_path, make_evaluation({"a": [0.5, "missed"], "b": [0.1, 0.2]})))
        reader = Reader(page_of(tmp_path, evaluation, extras))
        assert len(reader.tags("script")) == len(plain.tags("script")) == 1
        assert "49" not in reader.headings[0][1]
        assert reader.headings[0][1] == evil
        assert reader.tables[evil] == [[evil, evil], [evil, evil]]
        assert reader.tables["Every case"][0][2:] == [evil, f"{evil}2"]
        assert f"{evil}b, {evil}: 0.000 (missed)" in reader.text


class TestSections:
    def test_of_ones_own_are_shown_behind_the_cases(self, tmp_path: Path) -> None:
        steps = words_table("Steps", ("step", "seconds"), [("training", "510"), ("predicting", "17")])
        sections = [Section("How it was made", ["In steps."], steps, "cfseg demo\ncfseg env"), Section("Thanks")]
        reader = Reader(
            page_of(tmp_path, make_evaluation(TWO), Extras("Mine", ["Of phantoms."], sections, "cfseg report A B"))
        )
        titles = [words for level, words in reader.headings if level == 2]
        assert titles[titles.index("Case by case") + 1 :][:2] == ["How it was made", "Thanks"]
        assert reader.tables["Steps"] == [["step", "seconds"], ["training", "510"], ["predicting", "17"]]
        assert "cfseg demo\ncfseg env" in reader.text
        assert reader.headings[0] == (1, "Mine")
        assert "Of phantoms." in reader.text
        assert "cfseg report A B" in reader.text

    def test_a_row_that_does_not_fit_is_refused(self) -> None:
        with pytest.raises(ValueError, match="must have 2 cells like its head, got 1: Steps"):
            words_table("Steps", ("step", "seconds"), [("training",)])
