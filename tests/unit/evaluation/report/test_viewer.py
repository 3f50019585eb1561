"""The slice browser as text: what it holds, and what it must never hold."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from urllib.parse import parse_qs

import pytest
from markupsafe import Markup

from nnunetv2_cfseg.evaluation.report.class_colours import OKABE_ITO, class_colours
from nnunetv2_cfseg.evaluation.report.findings import Finding
from nnunetv2_cfseg.evaluation.report.viewer import case_link, render_viewer, viewer_css, viewer_js
from nnunetv2_cfseg.evaluation.report.volumes import BrowserCase
from nnunetv2_cfseg.nnunet.classes import Classes, SegmentationClass

HOSTILE = '</script><img src=x onerror="alert(1)">&amp;\u2028'
UNIT = ((1.0, 0.0, 0.0, 0.0), (0.0, 1.0, 0.0, 0.0), (0.0, 0.0, 1.0, 0.0))
CLASSES = Classes(
    (SegmentationClass("bleed", (1,), "1"), SegmentationClass(HOSTILE, (2,), "2")), 3, frozenset({0, 1, 2, 3})
)
CASE = BrowserCase(
    name="case_1",
    caption="mean Dice 0.42",
    links={"CT": "../imagesTs/case_1_0000.nii.gz"},
    shape=(2, 3, 4),
    spacing_mm=(5.0, 1.0, 0.5),
    image="SU1BR0U=",
    truth="VFJVVEg=",
    prediction="UFJFRA==",
    note="",
    places=(Finding((1, 2, 3), "bleed missed, 2.0 ml"),),
    structure=None,
    to_patient_mm=UNIT,
    to_file=UNIT,
)


class Elements(HTMLParser):
    """Start tags of a fragment with their attributes, and the text within scripts."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.text = ""
        self.feed(str(html))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag == "script":
            self.scripts.append("")

    def handle_data(self, data: str) -> None:
        if self.cdata_elem == "script":
            self.scripts[-1] += data
        else:
            self.text += data

    def attributes_of(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


def description(html: str) -> dict:
    return json.loads(Elements(html).scripts[0])


def test_holds_each_volume_of_each_case_once() -> None:
    elements = Elements(render_viewer([CASE, replace(CASE, name="case_2", image=None)], CLASSES))
    volumes = [(s.get("data-case"), s.get("data-volume")) for s in elements.attributes_of("script")[1:]]
    assert volumes == [("0", "image"), ("0", "truth"), ("0", "prediction"), ("1", "truth"), ("1", "prediction")]
    assert elements.scripts[1:4] == ["SU1BR0U=", "VFJVVEg=", "UFJFRA=="]


def test_describes_cases_in_the_scripts_order_of_axes() -> None:
    content = description(render_viewer([CASE], CLASSES))
    (case,) = content["cases"]
    assert (case["size"], case["spacing"], case["hasImage"]) == ([4, 3, 2], [0.5, 1.0, 5.0], True)
    assert case["places"] == [{"at": [3, 2, 1], "text": "bleed missed, 2.0 ml"}]
    assert case["links"] == [["CT", "../imagesTs/case_1_0000.nii.gz"]]
    assert len(content["levels"]) == 256
    assert content["ignore"] == 3
    assert [one["name"] for one in content["classes"]] == ["bleed", HOSTILE, "ignored"]
    assert [one["values"] for one in content["classes"]] == [[1], [2], [3]]


def test_no_text_of_a_file_becomes_an_element() -> None:
    hostile = replace(
        CASE,
        name=HOSTILE,
        caption=HOSTILE,
        links={HOSTILE: HOSTILE},
        note=HOSTILE,
        places=(Finding((0, 0, 0), HOSTILE),),
    )
    plain, html = (Elements(render_viewer([case, CASE], CLASSES)) for case in (CASE, hostile))
    assert [tag for tag, _ in html.tags] == [tag for tag, _ in plain.tags]
    assert html.text.count(HOSTILE) == plain.text.count(HOSTILE) + 2  # name and caption in the list
    (case, _) = json.loads(html.scripts[0])["cases"]
    assert (case["name"], case["links"], case["places"][0]["text"]) == (HOSTILE, [[HOSTILE, HOSTILE]], HOSTILE)


def test_a_filter_comes_with_many_cases() -> None:
    for count, filtered in ((10, False), (11, True)):
        html = render_viewer([replace(CASE, name=f"case_{i}") for i in range(count)], CLASSES)
        assert ('type="search"' in html) == filtered


def test_needs_a_case() -> None:
    with pytest.raises(ValueError, match=r"^a slice browser must have a case to show, got none$"):
        render_viewer([], CLASSES)


def test_loads_nothing_and_handles_no_event_inline() -> None:
    elements = Elements(render_viewer([CASE], CLASSES))
    for tag, attributes in elements.tags:
        assert tag not in ("img", "link", "iframe", "object")
        assert not attributes.keys() & {"src", "href"}
        assert not [name for name in attributes if name.startswith("on")]
    assert not re.search(r"url\(|@import|</style", viewer_css())
    assert not re.search(
        r"fetch\(|XMLHttpRequest|WebSocket|import\(|</script|innerHTML|eval\(|localStorage", viewer_js()
    )


def test_all_rules_of_the_style_sheet_are_of_the_viewer() -> None:
    css = re.sub(r"/\*.*?\*/", "", viewer_css(), flags=re.DOTALL)
    selectors = [one.strip() for one in re.findall(r"([^{}]+)\{", css)]
    split = [part.strip() for one in selectors for part in re.split(r",(?![^()]*\))", one) if not one.startswith("@")]
    assert split
    assert [one for one in split if not one.startswith(".cfseg-viewer")] == []


def test_texts_are_safe_to_include() -> None:
    assert all(isinstance(text, Markup) for text in (render_viewer([CASE], CLASSES), viewer_css(), viewer_js()))
    assert viewer_js().startswith('(() => {\n"use strict";')


def test_a_link_holds_any_name() -> None:
    name = "a&b=c #1/\u00e4%"
    link = case_link(name)
    assert link.startswith("#viewer?")
    assert parse_qs(link.partition("?")[2]) == {"case": [name]}
    assert parse_qs(case_link(name, (1, 2, 3)).partition("?")[2]) == {"case": [name], "at": ["3,2,1"]}


@pytest.mark.parametrize("count", [0, 1, 7, 8, 60])
def test_colours_differ(count: int) -> None:
    colours = class_colours(count)
    assert len(set(colours)) == len(colours) == count
    assert colours[:7] == OKABE_ITO[:count]
    assert all(re.fullmatch("#[0-9a-f]{6}", colour) for colour in colours)
