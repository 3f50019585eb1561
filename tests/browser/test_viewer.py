"""The slice browser as a reader meets it, in Chromium."""

from __future__ import annotations

import re
from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest
from playwright.sync_api import expect

from nnunetv2_cfseg.evaluation.report.hounsfield_bytes import levels_hu, to_bytes
from nnunetv2_cfseg.evaluation.report.viewer import WINDOWS
from nnunetv2_cfseg.nnunet.classes import Classes, SegmentationClass

pytestmark = pytest.mark.slow

HOSTILE = '</script><img src=x onerror="alert(1)">'
RED, BLUE, YELLOW = (0xFF, 0x4F, 0x30), (0x3F, 0x8C, 0xFF), (0xF7, 0xE1, 0x3B)


def turned(volume: np.ndarray, plane: str, at: int) -> np.ndarray:
    """A slice of a volume (z, y, x), row by row from the top of its view."""
    if plane == "axial":
        return volume[at]
    return volume[::-1, at] if plane == "coronal" else volume[::-1, :, at]


def grey(hu: float, level: float, width: float) -> int:
    shown = levels_hu()[to_bytes(np.array([hu]))[0]]
    return int(np.clip(np.floor(255 * (shown - level + width / 2) / width + 0.5), 0, 255))


class TestSlices:
    def test_turn_by_wheel_keys_and_slider(self, open_viewer: Callable, make_case: Callable) -> None:
        viewer = open_viewer(make_case())
        numbers, pictures = [viewer.slice_number("axial")], [viewer.picture("axial")]
        viewer.canvas("axial").hover()
        for act in (
            lambda: viewer.page.mouse.wheel(0, 100),
            lambda: viewer.canvas("axial").press("ArrowUp"),
            lambda: viewer.canvas("axial").press("PageDown"),
            lambda: viewer.view("axial").get_by_role("slider").fill("12"),
        ):
            act()
            viewer.page.wait_for_timeout(60)
            numbers.append(viewer.slice_number("axial"))
            pictures.append(viewer.picture("axial"))
        assert np.diff(numbers[:3]).tolist() == [-1, 1]
        assert numbers[3:] == [max(1, numbers[2] - 10), 13]
        assert all(one != other for one, other in pairwise(pictures))
        assert "axial slice 13 of 20, case first" in (viewer.canvas("axial").get_attribute("aria-label") or "")
        assert viewer.view("axial").get_by_text("13 / 20").is_visible()

    def test_are_the_files_slices(self, open_viewer: Callable, make_case: Callable, head: tuple) -> None:
        """Rows and columns, in all planes, of a file that is stored from left to right and back to front."""
        viewer = open_viewer(make_case())
        viewer.only_voxels()
        table = levels_hu()
        for plane, at in (("axial", 9), ("coronal", 22), ("sagittal", 25)):
            viewer.view(plane).get_by_role("slider").fill(str(at))
            hu = table[to_bytes(turned(head[0], plane, at))]
            expected = np.clip(np.floor(255 * hu / 80 + 0.5), 0, 255)
            different = np.abs(viewer.colours(plane) - expected[..., None]).max(-1) > 0
            assert different.mean() < 0.04, plane  # letters and the scale bar
            assert expected.std() > 10

    def test_show_the_patients_left_on_the_right(self, open_viewer: Callable, make_case: Callable) -> None:
        viewer = open_viewer(make_case())
        viewer.only_voxels()
        viewer.view("axial").get_by_role("slider").fill("11")
        bright = viewer.colours("axial")[20:40, :, 0] > grey(50, *WINDOWS["brain"])
        assert bright[:, 25:].sum() > 50
        assert not bright[:, :18].any()

    def test_are_in_proportion(self, open_viewer: Callable, make_case: Callable) -> None:
        """The cube is 40 mm high, 20 mm deep and 20 mm wide."""
        viewer = open_viewer(make_case())
        viewer.only_voxels()
        viewer.choose("truth", "fill")
        viewer.page.get_by_label("Opacity").fill("100")
        viewer.view("coronal").get_by_role("slider").fill("40")
        viewer.settle()
        sky_blue = "([r, g, b]) => r === 0x56 && g === 0xb4 && b === 0xe9"
        width, height = viewer.canvas("coronal").evaluate(
            f"""canvas => {{
              const {{data, width}} = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
              const xs = new Set(), ys = new Set();
              for (let i = 0; i < data.length; i += 4)
                if (({sky_blue})(data.subarray(i, i + 3))) xs.add(i / 4 % width), ys.add(Math.floor(i / 4 / width));
              return [xs.size, ys.size];
            }}"""
        )
        assert width > 20
        assert height / width == pytest.approx(40 / 20, rel=0.06)


class TestWindow:
    @pytest.mark.parametrize("name", WINDOWS)
    def test_gives_the_greys_of_its_level_and_width(
        self, name: str, open_viewer: Callable, make_case: Callable
    ) -> None:
        viewer = open_viewer(make_case())
        viewer.only_voxels()
        viewer.view("axial").get_by_role("slider").fill("11")
        viewer.canvas("axial").press(str(list(WINDOWS).index(name) + 1))
        colours = viewer.colours("axial")
        for (y, x), hu in (((45, 5), 30), ((22, 30), 70), ((3, 15), 900)):
            assert colours[y, x].tolist() == [grey(hu, *WINDOWS[name])] * 3
        assert viewer.page.get_by_role("radio", name=name).is_checked()

    def test_takes_numbers_and_a_right_drag(self, open_viewer: Callable, make_case: Callable) -> None:
        viewer = open_viewer(make_case())
        viewer.only_voxels()
        viewer.page.get_by_label("Level", exact=True).fill("50")
        viewer.page.get_by_label("Width", exact=True).fill("200")
        viewer.page.get_by_label("Width", exact=True).press("Enter")
        assert viewer.colours("axial")[45, 5].tolist() == [grey(30, 50, 200)] * 3
        viewer.page.get_by_label("Width", exact=True).fill("")
        viewer.page.get_by_label("Width", exact=True).press("Tab")
        expect(viewer.page.get_by_label("Width", exact=True)).to_have_value("200")
        viewer.canvas("axial").hover()
        viewer.page.mouse.down(button="right")
        box = viewer.canvas("axial").bounding_box()
        viewer.page.mouse.move(box["x"] + box["width"] / 2 + 30, box["y"] + box["height"] / 2 - 10)
        viewer.page.mouse.up(button="right")
        expect(viewer.page.get_by_label("Width", exact=True)).to_have_value("260")
        expect(viewer.page.get_by_label("Level", exact=True)).to_have_value("40")


class TestOverlays:
    @pytest.mark.parametrize(("key", "group"), [("g", "truth"), ("p", "prediction")])
    def test_come_and_go(self, key: str, group: str, open_viewer: Callable, make_case: Callable) -> None:
        viewer = open_viewer(make_case())
        viewer.canvas("axial").focus()
        shown = viewer.picture("axial")
        viewer.canvas("axial").press(key)
        hidden = viewer.picture("axial")
        assert viewer.page.locator(f'input[name="viewer-{group}"][value="off"]').is_checked()
        viewer.canvas("axial").press(key)
        assert viewer.picture("axial") == shown != hidden

    def test_fill_is_where_the_labels_are(self, open_viewer: Callable, make_case: Callable, head: tuple) -> None:
        viewer = open_viewer(make_case())
        viewer.only_voxels()
        viewer.page.get_by_label("Opacity").fill("100")
        for group, labels in (("truth", head[1]), ("prediction", head[2])):
            viewer.choose(group, "fill")
            for plane, at in (("axial", 10), ("coronal", 40), ("sagittal", 8)):
                viewer.view(plane).get_by_role("slider").fill(str(at))
                colours, expected = viewer.colours(plane), turned(labels, plane, at)
                for value, colour in ((1, (0xE6, 0x9F, 0x00)), (2, (0x56, 0xB4, 0xE9))):
                    np.testing.assert_array_equal((colours == colour).all(-1), expected == value, err_msg=plane)
            viewer.choose(group, "off")

    def test_a_class_can_be_hidden(self, open_viewer: Callable, make_case: Callable) -> None:
        viewer = open_viewer(make_case())
        viewer.only_voxels()
        viewer.choose("truth", "fill")
        viewer.view("axial").get_by_role("slider").fill("10")
        both = viewer.colours("axial")
        viewer.page.get_by_role("checkbox", name="cube").uncheck()
        one = viewer.colours("axial")
        assert (both[40, 8] != one[40, 8]).any()
        assert (both[22, 30] == one[22, 30]).all()
        viewer.page.get_by_role("button", name="Hide all").click()
        assert (viewer.colours("axial")[22, 30] != one[22, 30]).any()

    def test_errors_are_the_voxels_that_differ(self, open_viewer: Callable, make_case: Callable, head: tuple) -> None:
        viewer = open_viewer(make_case())
        viewer.only_voxels()
        viewer.page.get_by_label("Opacity").fill("100")
        viewer.canvas("axial").press("e")
        _, truth, prediction = head
        kinds = {
            RED: (truth > 0) & (prediction == 0),
            BLUE: (truth == 0) & (prediction > 0),
            YELLOW: (truth > 0) & (prediction > 0) & (truth != prediction),
        }
        for plane, at in (("axial", 10), ("coronal", 40), ("sagittal", 11)):
            viewer.view(plane).get_by_role("slider").fill(str(at))
            colours = viewer.colours(plane)
            for colour, expected in kinds.items():
                np.testing.assert_array_equal((colours == colour).all(-1), turned(expected, plane, at), err_msg=plane)
        assert all(expected[10].any() for expected in kinds.values())

    def test_of_regions_show_the_innermost_and_nothing_is_wrong_where_truth_is_ignored(
        self, open_viewer: Callable, make_case: Callable, head: tuple
    ) -> None:
        regions = Classes(
            (SegmentationClass("whole", (1, 2), "(1, 2)"), SegmentationClass("core", (2,), "2")), 3, frozenset(range(4))
        )
        truth, prediction = head[1].copy(), head[2]
        truth[:, 36:46, 6:10] = 3
        viewer = open_viewer(make_case(labels=(truth, prediction), classes=regions), classes=regions)
        viewer.only_voxels()
        viewer.page.get_by_label("Opacity").fill("100")
        viewer.choose("prediction", "fill")
        viewer.view("axial").get_by_role("slider").fill("10")
        innermost = viewer.colours("axial")
        assert innermost[40, 8].tolist() == [0x56, 0xB4, 0xE9]
        viewer.page.get_by_role("checkbox", name="core").uncheck()
        assert viewer.colours("axial")[40, 8].tolist() == [0xE6, 0x9F, 0x00]
        viewer.canvas("axial").press("e")
        wrong = viewer.colours("axial")
        assert wrong[40, 8].tolist() == [grey(30, 40, 80)] * 3  # ignored
        assert wrong[40, 11].tolist() == [grey(30, 40, 80)] * 3  # core taken for the rest of the whole: it is hidden
        viewer.page.get_by_role("checkbox", name="core").check()
        assert viewer.colours("axial")[40, 11].tolist() == list(YELLOW)

    def test_are_named_for_those_who_do_not_see_them(self, open_viewer: Callable, make_case: Callable) -> None:
        viewer = open_viewer(make_case())
        viewer.view("axial").get_by_role("slider").fill("3")
        expect(viewer.canvas("axial")).to_have_attribute(
            "aria-label",
            "axial slice 4 of 20, case first, window level 40 width 80 HU, ground truth: nothing, prediction: nothing",
        )
        viewer.view("axial").get_by_role("slider").fill("10")
        expect(viewer.canvas("axial")).to_have_attribute("aria-label", re.compile("ground truth: bleed and cube"))
        expect(viewer.page.get_by_role("status")).to_contain_text("axial slice 11 of 20")


class TestPlaces:
    def test_a_click_moves_all_views_and_is_read_out(self, open_viewer: Callable, make_case: Callable) -> None:
        viewer = open_viewer(make_case())
        box = viewer.canvas("coronal").bounding_box()
        scale = min(box["width"] / 100, box["height"] / 100)
        left, top = (box["width"] - 100 * scale) / 2, (box["height"] - 100 * scale) / 2
        viewer.canvas("coronal").click(position={"x": left + 76 * scale, "y": top + 42 * scale})
        assert (viewer.slice_number("sagittal"), viewer.slice_number("axial")) == (
            31,
            12,
        )  # of 2.5 mm, of 5 mm from below
        readout = viewer.page.locator("[data-part=readout]")
        expect(readout).to_contain_text("L 75.0")
        expect(readout).to_contain_text("S 55.0")
        expect(readout).to_contain_text("ground truth bleed")
        expect(readout).to_contain_text("HU 70")
        y = viewer.slice_number("coronal") - 1
        expect(readout).to_contain_text(f"voxel of the file 9, {49 - y}, 11")

    def test_largest_error_and_structure_are_one_click_away(self, open_viewer: Callable, make_case: Callable) -> None:
        case = make_case()
        viewer = open_viewer(case)
        for name, finding in (("Largest error", case.places[0]), ("Largest structure", case.structure)):
            button = viewer.page.get_by_role("button", name=name)
            button.click()
            z, y, x = finding.at
            numbers = [viewer.slice_number(plane) for plane in ("axial", "coronal", "sagittal")]
            assert numbers == [z + 1, y + 1, x + 1]
            expect(button).to_have_attribute("aria-pressed", "true")
            expect(button).to_contain_text(finding.text)

    def test_the_crosshair_can_be_turned_off(self, open_viewer: Callable, make_case: Callable) -> None:
        viewer = open_viewer(make_case())
        with_crosshair = viewer.canvas("sagittal").screenshot()
        viewer.page.get_by_label("Crosshair").uncheck()
        viewer.settle()
        assert viewer.canvas("sagittal").screenshot() != with_crosshair

    def test_zoom_keeps_the_crosshair_in_sight(self, open_viewer: Callable, make_case: Callable) -> None:
        viewer = open_viewer(make_case())
        viewer.only_voxels()
        viewer.choose("truth", "fill")
        viewer.page.get_by_label("Opacity").fill("100")
        viewer.page.get_by_role("button", name="Largest structure").click()
        for _ in range(5):
            viewer.page.get_by_role("button", name="Zoom in").click()
        middle = "canvas => [...canvas.getContext('2d').getImageData(canvas.width / 2, canvas.height / 2, 1, 1).data]"
        viewer.settle()
        for plane in ("axial", "coronal", "sagittal"):
            assert viewer.canvas(plane).evaluate(middle) == [0xE6, 0x9F, 0x00, 255]
        viewer.page.get_by_role("button", name=re.compile("reset")).click()
        expect(viewer.page.get_by_role("button", name="Zoom 100 %, reset")).to_be_visible()


class TestCases:
    def test_are_chosen_by_click_keys_and_buttons(self, open_viewer: Callable, make_case: Callable) -> None:
        viewer = open_viewer(
            make_case("first"), make_case("second", seed=1, caption="mean Dice 0.77"), make_case("third")
        )
        name = viewer.page.locator("[data-part=name]")
        viewer.page.get_by_role("button", name="second").click()
        expect(name).to_have_text("second")
        expect(viewer.page.locator("[data-part=caption]")).to_have_text("mean Dice 0.77")
        expect(viewer.page.locator("[aria-current=true]")).to_contain_text("second")
        viewer.canvas("axial").press("ArrowRight")
        expect(name).to_have_text("third")
        expect(viewer.page.get_by_role("button", name="Next case")).to_be_disabled()
        viewer.canvas("axial").press("[")
        expect(name).to_have_text("second")
        viewer.page.get_by_role("button", name="Previous case").click()
        expect(name).to_have_text("first")
        expect(viewer.canvas("axial")).to_have_attribute("aria-label", re.compile("case first"))

    def test_link_to_their_files_and_to_nothing_else(self, open_viewer: Callable, make_case: Callable) -> None:
        viewer = open_viewer(make_case())
        expect(viewer.page.get_by_role("link", name="CT")).to_have_attribute("href", "../imagesTs/first_0000.nii.gz")
        assert viewer.page.get_by_text("odd").get_attribute("href") is None

    def test_can_be_filtered(self, open_viewer: Callable, make_case: Callable) -> None:
        viewer = open_viewer(*[make_case(f"case_{number:02d}") for number in range(11)])
        viewer.page.get_by_label("Filter cases").fill("_07")
        assert viewer.page.locator("[data-part=cases] li:visible").all_inner_texts() == ["case_07\nmean Dice 0.42"]

    def test_may_have_any_name(self, open_viewer: Callable, make_case: Callable) -> None:
        viewer = open_viewer(make_case(HOSTILE, caption=HOSTILE))
        expect(viewer.page.locator("[data-part=name]")).to_have_text(HOSTILE)
        assert viewer.page.locator("img").count() == 0

    def test_are_opened_by_address_and_by_links(self, open_viewer: Callable, make_case: Callable) -> None:
        cases = make_case("first"), make_case("second", seed=1)
        viewer = open_viewer(*cases, address="#viewer?case=second&at=1,2,3&window=75,215")
        expect(viewer.page.locator("[data-part=name]")).to_have_text("second")
        planes = ("sagittal", "coronal", "axial")
        assert [viewer.slice_number(plane) for plane in planes] == [2, 3, 4]
        assert viewer.page.get_by_role("radio", name="subdural").is_checked()
        viewer.canvas("axial").press("ArrowUp")
        viewer.page.wait_for_url("**/*at=1,2,4&window=75,215")
        viewer.page.locator("#link").click()
        expect(viewer.canvas("axial")).to_have_attribute("aria-label", re.compile("axial slice 6 of"))
        assert [viewer.slice_number(plane) for plane in planes] == [4, 5, 6]

    def test_without_a_ct_show_labels_alone(self, open_viewer: Callable, make_case: Callable) -> None:
        viewer = open_viewer(make_case(with_image=False))
        assert viewer.page.get_by_role("radio", name="brain").count() == 0
        viewer.only_voxels()
        viewer.choose("truth", "fill")
        colours = viewer.colours("axial")
        assert colours[0, 10].tolist() == [38, 38, 38]
        assert colours.max() > 100
        expect(viewer.page.locator("[data-part=readout]")).not_to_contain_text("HU")

    def test_that_are_damaged_say_so(self, open_viewer: Callable, make_case: Callable) -> None:
        broken = make_case().__class__(**{**vars(make_case()), "name": "broken", "shape": (21, 50, 40)})
        viewer = open_viewer(make_case(), broken)
        viewer.page.get_by_role("button", name="broken").click()
        expect(viewer.page.locator("[data-part=message]")).to_have_text(
            re.compile("^broken cannot be shown: the (image|truth|prediction) in this page is damaged.$")
        )
        viewer.page.get_by_role("button", name="first").click()
        expect(viewer.page.locator("[data-part=message]")).to_be_hidden()


class TestReaders:
    def test_on_a_phone_see_one_view_and_scroll_down_only(self, open_viewer: Callable, make_case: Callable) -> None:
        viewer = open_viewer(make_case(), make_case("second"), viewport={"width": 390, "height": 844}, has_touch=True)
        assert viewer.page.evaluate("document.documentElement.scrollWidth") == 390
        visible = [viewer.view(plane).is_visible() for plane in ("axial", "coronal", "sagittal")]
        assert visible == [True, False, False]
        viewer.choose("planes", "sagittal")
        assert viewer.view("sagittal").is_visible()
        assert not viewer.view("axial").is_visible()
        assert viewer.slice_number("sagittal") > 1

    def test_on_a_phone_swipe_through_slices(self, open_viewer: Callable, make_case: Callable) -> None:
        viewer = open_viewer(make_case(), viewport={"width": 390, "height": 844}, has_touch=True)
        before = viewer.slice_number("axial")
        box = viewer.canvas("axial").bounding_box()
        touch = viewer.page.context.new_cdp_session(viewer.page)
        x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
        touch.send("Input.dispatchTouchEvent", {"type": "touchStart", "touchPoints": [{"x": x, "y": y}]})
        for step in range(1, 5):
            touch.send("Input.dispatchTouchEvent", {"type": "touchMove", "touchPoints": [{"x": x - 9 * step, "y": y}]})
        touch.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
        assert viewer.slice_number("axial") == before - 36 // 7

    def test_in_the_dark_read_the_pages_colours(self, open_viewer: Callable, make_case: Callable) -> None:
        viewer = open_viewer(make_case())
        button = viewer.page.get_by_role("button", name="Zoom in")
        for scheme, ink in (("light", "rgb(0, 0, 1)"), ("dark", "rgb(255, 255, 254)")):
            viewer.page.emulate_media(color_scheme=scheme)
            assert button.evaluate("element => getComputedStyle(element).color") == ink
        viewer.only_voxels()
        assert viewer.colours("axial")[45, 5].tolist() == [grey(30, 40, 80)] * 3

    def test_who_use_the_keyboard_reach_everything(self, open_viewer: Callable, make_case: Callable) -> None:
        viewer = open_viewer(make_case(), make_case("second"))
        reached = []
        while "SUMMARY" not in reached:
            assert len(reached) < 80
            viewer.page.keyboard.press("Tab")
            reached.append(
                viewer.page.evaluate("""() => {
              const {tagName, type, name, dataset} = document.activeElement;
              return [tagName, type, name, dataset.part, dataset.do].filter(Boolean).join(" ");
            }""")
            )
        assert reached.count("CANVAS") == 3
        for name in ("window", "planes", "truth", "prediction"):
            assert f"INPUT radio viewer-{name}" in reached
        for expected in ("INPUT checkbox errors", "INPUT range opacity", "BUTTON button next-case"):
            assert expected in reached
        assert reached.count("INPUT range") == 3

    def test_who_hear_find_a_name_on_every_control(self, open_viewer: Callable, make_case: Callable) -> None:
        viewer = open_viewer(make_case(), make_case("second"))
        controls = viewer.root.locator("button:visible, input:visible, canvas:visible, summary:visible")
        tree = viewer.root.aria_snapshot()
        assert controls.count() > 30
        assert not re.search(
            r"- (button|slider|checkbox|radio|spinbutton|img|textbox|searchbox)( \[[^\]]*\])*:?$", tree, re.M
        )
        for role, name in (
            ("slider", "axial slice"),
            ("img", "axial slice"),
            ("group", "Ground truth"),
            ("slider", "Opacity"),
        ):
            assert f'{role} "{name}' in tree

    def test_may_use_letters_in_fields(self, open_viewer: Callable, make_case: Callable) -> None:
        viewer = open_viewer(*[make_case(f"page_{number}") for number in range(11)])
        field = viewer.page.get_by_label("Filter cases")
        field.press_sequentially("page_1")
        expect(field).to_have_value("page_1")
        assert viewer.page.locator('input[name="viewer-prediction"][value="fill"]').is_checked()

    def test_scroll_the_page_past_the_views(self, open_viewer: Callable, make_case: Callable) -> None:
        """A scroll that began above a view goes on; one that begins on it turns slices."""
        viewer = open_viewer(make_case(), viewport={"width": 1300, "height": 500})
        page, clock, axial = viewer.page, viewer.page.clock, viewer.canvas("axial")
        before = viewer.slice_number("axial")
        clock.install(time=0)  # a scroll goes on for as long as the next turn of the wheel comes soon
        clock.pause_at(3_600_000)
        page.mouse.move(600, 20)
        page.mouse.wheel(0, 60)
        page.wait_for_function("scrollY === 60")
        axial.hover()
        page.mouse.wheel(0, 60)
        page.wait_for_function("scrollY === 120")
        clock.run_for(1000)
        expect(axial).to_have_attribute("aria-label", re.compile(f"axial slice {before} of"))
        page.mouse.wheel(0, 100)
        clock.resume()
        expect(axial).to_have_attribute("aria-label", re.compile(f"axial slice {before - 1} of"))
        assert page.evaluate("scrollY") == 120

    def test_get_help_with_the_question_mark(self, open_viewer: Callable, make_case: Callable) -> None:
        viewer = open_viewer(make_case())
        viewer.canvas("axial").press("?")
        expect(viewer.page.get_by_text("next of the largest errors")).to_be_visible()
