"""The page: its numbers are those of the summary, it needs nothing else, and nothing it is told becomes markup."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from nnunetv2_cfseg.demo.page import Page, Picture, StepTime, render, score
from nnunetv2_cfseg.demo.scores import Scores, read_scores
from nnunetv2_cfseg.demo.settings import CLASSES, DemoSettings

VOID = {"meta", "img", "br", "link"}


class Reader(HTMLParser):
    """Tables by cells, images, links and whether tags are closed in order."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tables: list[list[list[str]]] = []
        self.images: list[dict[str, str | None]] = []
        self.links: list[str] = []
        self.tags: set[str] = set()
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        if tag not in VOID:
            self.open.append(tag)
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("td", "th"):
            self.tables[-1][-1].append("")
        elif tag == "img":
            self.images.append(dict(attrs))
        self.links += [value or "" for name, value in attrs if name in ("href", "src")]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data
        if self.open and self.open[-1] in ("td", "th"):
            self.tables[-1][-1][-1] += data


def read(html: str) -> Reader:
    reader = Reader()
    reader.feed(html)
    reader.close()
    assert reader.open == []
    return reader


def make_page(scores: Scores) -> Page:
    pictures = [
        Picture(title, case, f"{title} in words", f"png of {title}".encode())
        for title, case in scores.best_median_worst().items()
    ]
    times = [StepTime("Training", 361.4, 2), StepTime("Evaluating", 8.6, 1)]
    return Page(DemoSettings(), scores, pictures, times, {"torch": "2.15"}, "export A=$PWD\ncfseg phantom -d 999\n")


@pytest.fixture
def summary(write_summary: Callable[..., Path]) -> Path:
    return write_summary(
        [
            {"EDH": (10, 10, 8), "ICH": (7, 9, 3)},
            {"EDH": (0, 5, 0), "SAH": (20, 4, 4)},
            {"SDH": (13, 10, 9), "IVH": (3, 3, 1)},
        ]
    )


def test_numbers_are_those_of_the_summary(summary: Path) -> None:
    content = json.loads(summary.read_text())
    reader = read(render(make_page(read_scores(summary))))
    classes, cases = reader.tables[:2]
    for (name, label), row in zip(CLASSES.items(), classes[1:], strict=False):
        mean = content["mean"][str(label)]
        assert row[0] == f"{name} ({label})"
        assert row[-2:] == [f"{mean['Dice']:.3f}", f"{mean['IoU']:.3f}"]
    assert f"{content['foreground_mean']['Dice']:.3f}" in classes[-1]
    assert f"{content['foreground_mean']['Dice']:.3f}" in reader.text.split("This demo")[0]
    for entry, row in zip(content["metric_per_case"], cases[1:], strict=True):
        dice = [entry["metrics"][str(label)]["Dice"] for label in CLASSES.values()]
        assert [cell.split()[0] for cell in row[1:6]] == [score(value) for value in dice]
    assert cases[1][-2:] == ["0.588", "0.588"]  # of 0.8 and 0.375
    assert cases[2][-2:] == ["0.333", "0.167"]  # of 1/3 and a false alarm


def test_a_class_means_over_the_scans_that_show_it(summary: Path) -> None:
    edh = read(render(make_page(read_scores(summary)))).tables[0][1]
    assert edh == ["EDH (1)", "1", "0.800", "0.667", "1", "0.400", "0.333"]


def test_absent_classes_are_dashes_and_false_alarms_are_marked(summary: Path) -> None:
    reader = read(render(make_page(read_scores(summary))))
    assert reader.tables[1][2][1:6] == ["0.000 †", "\N{EN DASH}", "\N{EN DASH}", "0.333", "\N{EN DASH}"]
    assert "nan" not in re.findall(r"\w+", reader.text)
    assert "NaN" in reader.text  # that, and how it is treated, is explained


def test_a_mean_without_numbers_is_a_dash(write_summary: Callable[..., Path]) -> None:
    reader = read(render(make_page(read_scores(write_summary([{"SDH": (9, 9, 9)}])))))
    assert reader.tables[0][1] == ["EDH (1)", "0", *["\N{EN DASH}"] * 2, "0", *["\N{EN DASH}"] * 2]
    assert reader.tables[0][-1][2] == "1.000"


def test_nothing_it_is_told_becomes_markup(write_summary: Callable[..., Path]) -> None:
    evil = "<script>x&y"
    scores = read_scores(write_summary([{"ICH": (5, 5, 5)}], names=[evil.replace("/", "")]))
    page = make_page(scores)
    page = replace(
        page,
        pictures=[replace(page.pictures[0], alt=f'"{evil}')],
        times=[StepTime(evil, 1, 1)],
        versions={evil: evil},
        commands=f"echo '{evil}' > x && y",
    )
    reader = read(render(page))
    assert "script" not in reader.tags
    assert reader.text.count(evil) == 6  # caption, case, step, a version and its name, command
    assert reader.images[0]["alt"] == f'"{evil}'


def test_it_is_one_file_with_its_pictures_inside(summary: Path) -> None:
    page = make_page(read_scores(summary))
    html = render(page)
    reader = read(html)
    assert [image["alt"] for image in reader.images] == ["best in words", "median in words", "worst in words"]
    data = [(image["src"] or "").removeprefix("data:image/png;base64,") for image in reader.images]
    assert [base64.b64decode(text) for text in data] == [picture.png for picture in page.pictures]
    others = [link for link in reader.links if not link.startswith("data:")]
    assert others == ["https://github.com/MIC-DKFZ/nnUNet/blob/master/documentation/dataset_format.md"]
    assert "@import" not in html
    assert "url(" not in html


def test_shows_commands_times_versions_and_seed(summary: Path) -> None:
    page = make_page(read_scores(summary))
    reader = read(render(page))
    assert page.commands in reader.text
    assert reader.tables[2][1:] == [["Training (in 2 runs)", "361"], ["Evaluating", "9"], ["together", "370"]]
    assert reader.tables[3][1:] == [["torch", "2.15"], ["seed", "0"]]


def test_is_made_for_phones_and_dark_screens(summary: Path) -> None:
    html = render(make_page(read_scores(summary)))
    assert 'name="viewport" content="width=device-width' in html
    assert "prefers-color-scheme: dark" in html
