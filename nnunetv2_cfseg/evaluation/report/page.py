"""Render the report as one self-contained HTML page."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from nnunetv2_cfseg.evaluation.report.charts import Agreement, Strips
from nnunetv2_cfseg.evaluation.report.class_colours import page_colours
from nnunetv2_cfseg.evaluation.report.figures import Part
from nnunetv2_cfseg.evaluation.report.line_chart import Lines
from nnunetv2_cfseg.evaluation.report.tables import Table

#: Makes the browser refuse to load anything that the page does not hold.
POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data: blob:; "
    "base-uri 'none'; form-action 'none'"
)


@dataclass(frozen=True)
class Section:
    """An additional section, shown after the table of cases.

    Text is escaped; to add a link, pass a ``markupsafe.Markup`` that you trust.

    Attributes:
        title: the heading.
        paragraphs: shown below the heading.
        table: shown below the paragraphs.
        code: commands or other code, shown last.
    """

    title: str
    paragraphs: Sequence[str] = ()
    table: Table | None = None
    code: str = ""


@dataclass(frozen=True)
class StripsFigure:
    """A chart of one measure with every case of every class."""

    title: str
    aside: str
    strips: Strips


@dataclass(frozen=True)
class AgreementFigure:
    """The agreement of volumes of class ``number``, from 1; ``limits`` is whether there are limits of agreement."""

    agreement: Agreement
    aside: str
    words: str
    limits: bool
    number: int = 0


@dataclass(frozen=True)
class Look:
    """How a line is drawn; ``number`` is the number of its class, from 1."""

    colour: str
    classes: str = ""
    number: int = 0


@dataclass(frozen=True)
class CurvesFigure:
    """A chart of series over epochs, with the look and the last value in words of each series."""

    title: str
    aside: str
    words: str
    lines: Lines
    looks: Sequence[Look]
    lasts: Sequence[str]


@dataclass(frozen=True)
class TrainingFigures:
    """The charts of one fold's training."""

    title: str
    words: str
    charts: Sequence[CurvesFigure]


@dataclass(frozen=True)
class File:
    """A file: its address, link text and note; ``download`` names a file that the page itself holds.

    The address is empty if a link would reveal folders of the machine.
    """

    href: str
    words: str
    note: str = ""
    download: str = ""


@dataclass(frozen=True)
class Page:
    """The contents of the page, in order."""

    title: str
    verdict: Sequence[Part]
    lead: Sequence[str]
    summary: Table
    summary_notes: Sequence[str]
    medians: Table
    distributions: Sequence[StripsFigure]
    crosses: bool
    agreements: Sequence[AgreementFigure]
    without_volume: str
    trainings: Sequence[TrainingFigures]
    browser_notes: Sequence[str]
    viewer: Markup
    cases: Table
    cases_note: str
    choices: Sequence[tuple[str, str]]
    sections: Sequence[Section]
    definitions: Table
    policy: Sequence[str]
    command: str
    command_note: str
    settings: Table
    files: Sequence[File]
    footer: str
    hrefs: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Assets:
    """The slice browser's style sheet and script."""

    css: str = ""
    js: str = ""


def render(page: Page, browser: Assets = Assets()) -> str:
    """Render the page as HTML."""
    return render_as("report.html.j2", page, _contents, browser)


def render_as(
    template: str, page: Any, contents: Callable[[Any, Sequence[Anchored]], list[tuple[str, str]]], browser: Assets
) -> str:
    """Render a page and its additional sections as HTML.

    Args:
        template: name of a template of this package.
        page: contents of the page, with its ``sections``.
        contents: makes the table of contents (anchors and titles) from the page and these sections.
        browser: style sheet and script of the slice browser, if the page has one.
    """
    extra = [Anchored(f"section-{number}", section) for number, section in enumerate(page.sections, 1)]
    return render_template(
        template,
        page=page,
        extra=extra,
        contents=contents(page, extra),
        viewer_css=Markup(browser.css),
        viewer_js=Markup(browser.js),
    )


def render_template(name: str, **content: object) -> str:
    """Render a template of this package with the style and script that all pages share."""
    environment = Environment(
        loader=PackageLoader("nnunetv2_cfseg.evaluation.report"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    environment.filters["page_colours"] = page_colours
    return environment.get_template(name).render(
        policy=POLICY, css=Markup(_static("page.css")), js=Markup(_static("page.js")), **content
    )


@dataclass(frozen=True)
class Anchored:
    """An additional section and the anchor of links to it."""

    anchor: str
    section: Section


def _contents(page: Page, extra: Sequence[Anchored]) -> list[tuple[str, str]]:
    parts = [
        ("classes", "Classes", True),
        ("browser", "Slice browser", bool(page.viewer)),
        ("distributions", "Distributions", True),
        ("volumes", "Volumes", True),
        ("training", "Training", bool(page.trainings)),
        ("cases", "Cases", True),
        *((anchored.anchor, anchored.section.title, True) for anchored in extra),
        ("definitions", "Definitions", True),
        ("reproduce", "Settings and files", True),
    ]
    return [(anchor, words) for anchor, words, shown in parts if shown]


def _static(name: str) -> str:
    return files("nnunetv2_cfseg.evaluation.report").joinpath("static", name).read_text(encoding="utf-8")
