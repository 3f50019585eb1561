"""The report in a browser: it asks for nothing, is readable on any screen, and its parts lead to each other."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
from playwright.sync_api import Browser, Page, expect

from nnunetv2_cfseg.evaluation.report.links import find_images
from nnunetv2_cfseg.evaluation.report.observations import observe_folder
from nnunetv2_cfseg.evaluation.report.unreferenced import write_unreferenced_report
from nnunetv2_cfseg.evaluation.report.write import write_report
from nnunetv2_cfseg.imaging.segmentations import case_files
from nnunetv2_cfseg.nnunet.classes import read_classes

from ..unit.evaluation.report.evaluations import evaluate_dataset, make_evaluation, write_dataset
from ..unit.evaluation.report.test_curves import write_log

PHONE = {"width": 360, "height": 780}
LONG = "a_very_long_name_of_a_class_without_a_single_space_in_it"


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three small cases with scans, the last without a prediction, and a training."""
    folder = tmp_path_factory.mktemp("report")
    data = write_dataset(folder / "data")
    write_log(folder / "model" / "fold_0", "2026_11_23_21_33_03", (0, 0.9), (1, 0.5), (2, 0.4))
    return write_report(evaluate_dataset(data), folder / "report.html", images=data / "images", model=folder / "model")


@pytest.fixture(scope="module")
def crowded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eighteen classes with long names in forty cases, without scans."""
    dice: dict[str, list[float | str]] = {
        f"{LONG}_{number}" if number % 5 == 0 else f"left part number {number} of the whole": [
            "missed" if (number * case) % 17 == 3 else ((number * 7 + case * 13) % 40) / 40 for case in range(40)
        ]
        for number in range(17)
    }
    dice["nowhere"] = ["absent"] * 40
    return write_report(make_evaluation(dice), tmp_path_factory.mktemp("crowded") / "report.html", cases=0)


@pytest.fixture(scope="module")
def unreferenced(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Predictions alone: one that the scan's end cuts, one of a single slice, and one where nothing is odd."""
    folder = tmp_path_factory.mktemp("unreferenced")
    data = write_dataset(folder / "data", names=["cut", "flat", "plain"])
    cut = np.zeros((10, 16, 14), np.uint8)
    cut[0:4, 4:8, 4:8], cut[5:8, 10:13, 4:8] = 1, 2
    for name, labels in (("cut", cut), ("flat", np.ones((1, 16, 14), np.uint8)), ("plain", np.roll(cut, 1, axis=0))):
        for file, values in ((f"made/{name}", labels), (f"images/{name}_0000", labels.astype(np.int16) * 40)):
            image = sitk.GetImageFromArray(values)
            image.SetSpacing((1.5, 1.5, 3.0))
            sitk.WriteImage(image, str(data / f"{file}.nii.gz"))
    files = case_files(data / "made", ".nii.gz")
    found = observe_folder(files, read_classes(data / "made" / "dataset.json"), progress=False)
    images = find_images(found.cases, data / "images")
    return write_unreferenced_report(found, folder / "report.html", images=images)


@pytest.fixture
def open_page(chromium: Browser) -> Iterator[Callable[..., Page]]:
    """A function that opens a page; afterwards it must have logged nothing and asked for nothing."""
    pages: list[Page] = []
    wrong: list[str] = []

    def open_(file: Path, address: str = "", **context: Any) -> Page:
        page = chromium.new_context(**{"viewport": {"width": 1300, "height": 900}, **context}).new_page()
        pages.append(page)
        page.on("console", lambda message: wrong.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("request", lambda request: wrong.append(request.url) if not _is_itself(request.url, file) else None)
        page.goto(file.as_uri() + address)
        return page

    yield open_
    for page in pages:
        page.context.close()
    assert wrong == []


def _is_itself(url: str, file: Path) -> bool:
    return url.partition("#")[0] == file.as_uri() or url.startswith(("data:", "blob:"))


def column(page: Page, index: int) -> list[str]:
    """What the table of cases shows in a column, marks left out."""
    cells = page.locator("#case-table tbody tr").locator(f":is(th, td):nth-child({index})")
    return [text.split()[0] for text in cells.all_inner_texts()]


class TestJump:
    @pytest.mark.parametrize("name", ["one", "two"])
    def test_from_the_table_to_a_case(self, open_page: Callable[..., Page], report: Path, name: str) -> None:
        page = open_page(report)
        page.locator("#case-table a", has_text=name).click()
        expect(page.locator("#viewer [data-part=name]")).to_have_text(name)
        expect(page.locator("#viewer")).to_be_in_viewport()

    def test_from_a_dot_to_its_case_twice(self, open_page: Callable[..., Page], report: Path) -> None:
        page = open_page(report)
        for _ in range(2):
            page.locator("#volumes .mark[data-case=two]").first.click()
            expect(page.locator("#viewer [data-part=name]")).to_have_text("two")
            expect(page.locator("#viewer")).to_be_in_viewport()
            page.evaluate("scrollTo(0, 0)")

    def test_from_an_address_to_a_case(self, open_page: Callable[..., Page], report: Path) -> None:
        page = open_page(report, "#viewer?case=one")
        expect(page.locator("#viewer [data-part=name]")).to_have_text("one")

    def test_over_the_head_of_the_page(self, open_page: Callable[..., Page], report: Path) -> None:
        page = open_page(report)
        page.keyboard.press("Tab")
        expect(page.locator(".skip")).to_be_focused()
        expect(page.locator(".skip")).to_be_in_viewport()


class TestCharts:
    def test_mark_a_case_in_all_of_them(self, open_page: Callable[..., Page], report: Path) -> None:
        page = open_page(report)
        page.locator("#volumes .mark[data-case=two]").first.hover()
        cases = page.locator(".mark.same").evaluate_all("marks => marks.map(mark => mark.dataset.case)")
        assert cases == ["two"] * (2 * 3 + 2)
        page.mouse.move(0, 0)
        expect(page.locator(".mark.same")).to_have_count(0)

    def test_have_axes_that_do_not_overlap(self, open_page: Callable[..., Page], crowded: Path) -> None:
        for viewport in ({"width": 1300, "height": 900}, PHONE):
            page = open_page(crowded, viewport=viewport)
            overlaps = page.evaluate(
                """() => [...document.querySelectorAll("svg.plot")].flatMap((svg) => {
                  const boxes = [...svg.querySelectorAll("text")].map((text) => text.getBoundingClientRect());
                  return boxes.flatMap((a, i) => boxes.slice(i + 1).filter((b) => a.left < b.right && b.left < a.right
                    && a.top < b.bottom && b.top < a.bottom).map((b) => [a.x, a.y, b.x, b.y]));
                })"""
            )
            assert overlaps == []

    def test_put_names_beside_their_rows(self, open_page: Callable[..., Page], crowded: Path) -> None:
        for viewport in ({"width": 1300, "height": 900}, PHONE):
            page = open_page(crowded, viewport=viewport)
            offsets = page.evaluate(
                """() => [...document.querySelectorAll(".strips")].slice(0, 1).flatMap((chart) =>
                  [...chart.querySelectorAll(".name")].map((name) => {
                    const [a, b] = [name, name.nextElementSibling].map((e) => e.getBoundingClientRect());
                    return Math.abs((a.top + a.bottom) / 2 - (b.top + b.bottom) / 2);
                  }))"""
            )
            assert len(offsets) == 18
            assert max(offsets) < 2


class TestContents:
    @pytest.mark.parametrize("viewport", [{"width": 1300, "height": 900}, PHONE])
    def test_stay_in_view_and_say_where_the_reader_is(
        self, open_page: Callable[..., Page], crowded: Path, viewport: dict[str, int]
    ) -> None:
        page = open_page(crowded, viewport=viewport, reduced_motion="reduce")
        contents = page.get_by_role("navigation", name="On this page")
        for words, title in (("Volumes", "Volumes"), ("Cases", "Case by case"), ("Classes", "Every class")):
            contents.get_by_role("link", name=words).click()
            expect(contents).to_be_in_viewport(ratio=0.99)
            expect(contents.locator("[aria-current]")).to_have_text(words)
            expect(contents.locator("[aria-current]")).to_be_in_viewport(ratio=0.99)
            heading = page.get_by_role("heading", name=title, exact=True).bounding_box()
            bar = contents.bounding_box()
            assert heading is not None
            assert bar is not None
            assert heading["y"] >= bar["y"] + bar["height"]
        page.evaluate("scrollTo(0, document.body.scrollHeight)")
        expect(contents.locator("[aria-current]")).to_have_text("Settings and files")

    def test_are_reached_by_keyboard(self, open_page: Callable[..., Page], report: Path) -> None:
        page = open_page(report)
        page.keyboard.press("Tab")
        reached = []
        for _ in range(8):
            page.keyboard.press("Tab")
            reached.append(page.evaluate("document.activeElement.textContent"))
        assert reached == page.locator(".contents a").all_inner_texts()
        page.locator(".contents a", has_text="Volumes").press("Enter")
        expect(page.locator("#volumes-title")).to_be_in_viewport()

    def test_put_the_slice_browser_before_the_charts(self, open_page: Callable[..., Page], report: Path) -> None:
        page = open_page(report)
        titles = page.locator("h2").all_inner_texts()
        assert titles[:4] == ["Every class", "Slice browser", "Every case", "Volumes"]
        assert page.locator(".contents a").all_inner_texts()[:4] == [
            "Classes", "Slice browser", "Distributions", "Volumes",
        ]  # fmt: skip


class TestManyClasses:
    def test_take_no_more_than_a_screen_a_section(self, open_page: Callable[..., Page], crowded: Path) -> None:
        for viewport in ({"width": 1300, "height": 900}, PHONE):
            page = open_page(crowded, viewport=viewport)
            for section in ("classes", "distributions", "volumes", "cases"):
                box = page.locator(f"#{section} .limited").first.bounding_box()
                assert box is not None
                assert box["height"] <= viewport["height"]

    def test_scroll_under_their_heads(self, open_page: Callable[..., Page], crowded: Path) -> None:
        page = open_page(crowded)
        box = page.locator("#classes .limited").first
        box.evaluate("box => box.scrollTop = 400")
        top = box.bounding_box()
        for part in ("thead th", "tfoot th"):
            place = box.locator(part).first.bounding_box()
            assert top is not None
            assert place is not None
            assert top["y"] - 1 <= place["y"] <= top["y"] + top["height"]

    @pytest.mark.parametrize(
        ("section", "part"),
        [("classes", "tbody tr"), ("distributions", "figure:first-child .name"), ("volumes", "figure")],
    )
    def test_are_found_by_name(self, open_page: Callable[..., Page], crowded: Path, section: str, part: str) -> None:
        page = open_page(crowded)
        shown = page.locator(f"#{section} .limited").first.locator(part).locator("visible=true")
        before = shown.count()
        field = page.locator(f"#find-{section}")
        field.fill("NUMBER 1")
        assert [re.search(r"number \d+", text)[0] for text in shown.all_inner_texts()] == [  # type: ignore[index]
            f"number {number}" for number in (1, 11, 12, 13, 14, 16)
        ]
        expect(page.locator(f"#{section}").get_by_role("status")).to_contain_text("6 of")
        field.fill("")
        assert shown.count() == before

    def test_are_found_among_the_columns_of_the_cases(self, open_page: Callable[..., Page], crowded: Path) -> None:
        page = open_page(crowded)
        page.locator("#find-cases").fill("nowhere")
        heads = page.locator("#case-table thead th").locator("visible=true").all_inner_texts()
        assert [head.split()[0] for head in heads] == ["case", "mean", "nowhere"]
        assert page.locator("#case-table tbody tr").first.locator(":is(th, td)").locator("visible=true").count() == 3

    def test_can_all_be_read_without_a_script(self, open_page: Callable[..., Page], crowded: Path) -> None:
        page = open_page(crowded, java_script_enabled=False)
        assert page.locator("[data-find]").locator("visible=true").count() == 0
        assert page.locator("#classes .limited").first.locator("tbody tr").locator("visible=true").count() == 18


class TestWithoutReference:
    def test_shows_scans_and_predictions_alone(self, open_page: Callable[..., Page], unreferenced: Path) -> None:
        for viewport in ({"width": 1300, "height": 900}, PHONE):
            page = open_page(unreferenced, viewport=viewport)
            page.wait_for_selector('.cfseg-viewer[data-state="ready"]')
            assert page.get_by_role("group", name="Ground truth").count() == 0
            assert page.get_by_label("Mark errors").count() == 0
            canvas = page.locator('.view[data-plane="axial"] canvas')
            expect(canvas).to_have_attribute("aria-label", re.compile(r"HU, prediction: [^:]*$"))
            assert page.evaluate("document.documentElement.scrollWidth") == viewport["width"]
            words = page.locator("body").inner_text()
            assert not re.search(r"\btruth|\bDice|\berror", words, re.I)
            for key in "gep":  # nothing to mark, and the prediction off
                canvas.press(key)
            expect(canvas).to_have_attribute("aria-label", re.compile("HU$"))

    def test_leads_to_what_is_worth_a_look(self, open_page: Callable[..., Page], unreferenced: Path) -> None:
        page = open_page(unreferenced, "#viewer?case=cut")
        place = page.get_by_role("button", name=re.compile("Place.*liver: reaches the end of the scan: feet"))
        place.click()
        expect(page.locator('.view[data-plane="axial"] canvas')).to_have_attribute(
            "aria-label", re.compile("axial slice 1 of 10")
        )
        expect(page.locator("[data-part=readout]")).to_contain_text("prediction liver")

    def test_a_remark_leads_to_its_place(self, open_page: Callable[..., Page], unreferenced: Path) -> None:
        page = open_page(unreferenced)
        page.get_by_role("row", name="reaches the end of the scan: feet").get_by_role("link", name="cut").click()
        expect(page.locator('.view[data-plane="axial"] canvas')).to_have_attribute(
            "aria-label", re.compile("axial slice 1 of 10, case cut")
        )

    def test_a_class_is_one_click_away(self, open_page: Callable[..., Page], unreferenced: Path) -> None:
        page = open_page(unreferenced, "#viewer?case=cut")
        for name in ("tumour", "liver"):
            page.get_by_role("button", name=f"Go to {name}").click()
            expect(page.locator("[data-part=readout]")).to_contain_text(f"prediction {name}")

    def test_a_scan_of_one_slice_is_shown(self, open_page: Callable[..., Page], unreferenced: Path) -> None:
        page = open_page(unreferenced, "#viewer?case=flat")
        expect(page.locator('.view[data-plane="axial"] canvas')).to_have_attribute(
            "aria-label", re.compile("axial slice 1 of 1, case flat.*prediction: liver")
        )


class TestTable:
    def test_is_sorted_by_its_heads(self, open_page: Callable[..., Page], report: Path) -> None:
        page = open_page(report)
        assert column(page, 1) == ["three", "one", "two"]
        head = page.locator("#case-table thead th").first
        head.get_by_role("button").click()
        assert column(page, 1) == ["one", "three", "two"]
        assert head.get_attribute("aria-sort") == "ascending"
        head.get_by_role("button").press("Enter")
        assert column(page, 1) == ["two", "three", "one"]
        assert head.get_attribute("aria-sort") == "descending"

    def test_shows_the_measure_that_is_chosen(self, open_page: Callable[..., Page], report: Path) -> None:
        page = open_page(report)
        dice = column(page, 2)
        page.get_by_label("Measure", exact=True).select_option("volume_error_ml")
        assert column(page, 2) != dice
        assert all(re.fullmatch(r"[+\N{MINUS SIGN}]?\d+\.\d\d", value) for value in column(page, 2))
        page.locator("#case-table thead th button").nth(1).click()
        values = [float(value.replace("\N{MINUS SIGN}", "-")) for value in column(page, 2)]
        assert values == sorted(values)

    def test_puts_what_has_no_value_last(self, open_page: Callable[..., Page], tmp_path: Path) -> None:
        evaluation = make_evaluation({"liver": ["absent", 0.5, 0.25]})
        page = open_page(write_report(evaluation, tmp_path / "r.html", cases=0))
        for expected in (["0.250", "0.500", "\N{EN DASH}"], ["0.500", "0.250", "\N{EN DASH}"]):
            page.locator("#case-table thead th button").nth(1).click()
            assert column(page, 2) == expected


class TestScreens:
    @pytest.mark.parametrize("which", ["report", "crowded"])
    def test_a_phone_never_scrolls_sideways(
        self, open_page: Callable[..., Page], which: str, request: pytest.FixtureRequest
    ) -> None:
        page = open_page(request.getfixturevalue(which), viewport=PHONE)
        page.locator("details").first.evaluate("details => details.open = true")
        widths = page.evaluate("[document.documentElement.scrollWidth, document.body.scrollWidth, innerWidth]")
        assert max(widths) == PHONE["width"]

    def test_dark_is_dark_and_light_is_light(self, open_page: Callable[..., Page], report: Path) -> None:
        ink_over_page = {}
        for scheme in ("light", "dark"):
            page = open_page(report, color_scheme=scheme)
            background, ink, dots = page.evaluate(
                """() => [["body", "backgroundColor"], ["body", "color"], [".dot", "fill"]].map(([selector, what]) =>
                  getComputedStyle(document.querySelector(selector))[what])"""
            )
            ink_over_page[scheme] = (_light(ink) - _light(background), dots, page.screenshot())
        assert ink_over_page["light"][0] < -150
        assert ink_over_page["dark"][0] > 150
        assert ink_over_page["light"][1] != ink_over_page["dark"][1]
        assert ink_over_page["light"][2] != ink_over_page["dark"][2]

    def test_all_words_are_told_from_the_page(self, open_page: Callable[..., Page], report: Path) -> None:
        for scheme in ("light", "dark"):
            page = open_page(report, color_scheme=scheme)
            colours = page.evaluate(
                """() => ["--ink", "--muted", "--accent", "--alarm"].flatMap((name) =>
                  ["--page", "--panel"].map((ground) => [name, ground].map((variable) =>
                    getComputedStyle(document.documentElement).getPropertyValue(variable).trim())))"""
            )
            assert min(_contrast(*pair) for pair in colours) >= 4.5

    def test_landmarks_and_headings(self, open_page: Callable[..., Page], report: Path) -> None:
        page = open_page(report)
        for role in ("banner", "navigation", "main", "contentinfo"):
            expect(page.get_by_role(role)).to_have_count(1)  # type: ignore[arg-type]
        levels = page.locator("h1, h2, h3, h4").evaluate_all("all => all.map(h => Number(h.tagName[1]))")
        assert levels[0] == 1
        assert all(after - before <= 1 for before, after in pairwise(levels))
        expect(page.get_by_role("region", name="Slice browser").first).to_be_visible()

    def test_works_without_a_script(self, open_page: Callable[..., Page], report: Path) -> None:
        page = open_page(report, java_script_enabled=False)
        assert column(page, 1) == ["three", "one", "two"]
        expect(page.get_by_label("Measure", exact=True)).to_be_hidden()


def _light(colour: str) -> float:
    return sum(float(value) for value in re.findall(r"\d+", colour)[:3]) / 3


def _contrast(one: str, other: str) -> float:
    """WCAG 2.2, of two colours as #rrggbb."""

    def luminance(colour: str) -> float:
        channels = [int(colour[start : start + 2], 16) / 255 for start in (1, 3, 5)]
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
        return sum(weight * c for weight, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))

    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)
