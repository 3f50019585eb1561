"""The report as one HTML page that needs no other file."""

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

#: The browser itself refuses whatever the page does not hold.
POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data: blob:; "
    "base-uri 'none'; form-action 'none'"
)


@dataclass(frozen=True)
class Section:
    """A section of one's own, shown behind the table of cases.

    Text is shown as it is, markup and all; who needs a link passes a ``markupsafe.Markup``, and answers for it.

    Attributes:
        title: its heading.
        paragraphs: below it.
        table: below them.
        code: commands or the like, last.
    """

    title: str
    paragraphs: Sequence[str] = ()
    table: Table | None = None
    code: str = ""


@dataclass(frozen=True)
class StripsFigure:
    """Every case of every class along one measure."""

    title: str
    aside: str
    strips: Strips


@dataclass(frozen=True)
class AgreementFigure:
    """Volumes of one class, with its number from 1; ``limits`` if there are limits of agreement."""

    agreement: Agreement
    aside: str
    words: str
    limits: bool
    number: int = 0


@dataclass(frozen=True)
class Look:
    """How a line is drawn; ``number`` is that of its class, from 1."""

    colour: str
    classes: str = ""
    number: int = 0


@dataclass(frozen=True)
class CurvesFigure:
    """Series over epochs, the look of each, and the words of its last value."""

    title: str
    aside: str
    words: str
    lines: Lines
    looks: Sequence[Look]
    lasts: Sequence[str]


@dataclass(frozen=True)
class TrainingFigures:
    """The training of one fold."""

    title: str
    words: str
    charts: Sequence[CurvesFigure]


@dataclass(frozen=True)
class File:
    """A file: its address, words and what else there is to say; ``download`` names one that the page holds itself.

    The address is empty if a link would tell how folders of the machine are called.
    """

    href: str
    words: str
    note: str = ""
    download: str = ""


@dataclass(frozen=True)
class Page:
    """All that the page shows, in its order."""

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
    """The page as HTML."""
    return render_as("report.html.j2", page, _contents, browser)


def render_as(
    template: str, page: Any, contents: Callable[[Any, Sequence[Anchored]], list[tuple[str, str]]], browser: Assets
) -> str:
    """A page with sections of one's own as HTML.

    Args:
        template: of this package.
        page: all that it shows; ``sections`` among it.
        contents: makes the table of contents, anchors and words, of the page and those sections.
        browser: the slice browser's, where the page has one.
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
    """A template of this package's, with the style and the script that all pages share."""
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
    """A section of one's own and the name by which links lead to it."""

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
        *((one.anchor, one.section.title, True) for one in extra),
        ("definitions", "Definitions", True),
        ("reproduce", "Settings and files", True),
    ]
    return [(anchor, words) for anchor, words, shown in parts if shown]


def _static(name: str) -> str:
    return files("nnunetv2_cfseg.evaluation.report").joinpath("static", name).read_text(encoding="utf-8")
