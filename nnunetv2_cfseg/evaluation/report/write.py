"""Write the report of an evaluation as one HTML file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isnan
from pathlib import Path

from markupsafe import Markup

from nnunetv2_cfseg import __version__
from nnunetv2_cfseg.evaluation.evaluate import Evaluation
from nnunetv2_cfseg.evaluation.report.case_table import case_table, choices, mean_dice, worst_first
from nnunetv2_cfseg.evaluation.report.class_colours import class_colours
from nnunetv2_cfseg.evaluation.report.content import (
    POLICY,
    agreement_figure,
    class_agreements,
    definitions_table,
    distribution_figures,
    settings_table,
    without_volume,
)
from nnunetv2_cfseg.evaluation.report.curve_figures import training_figures
from nnunetv2_cfseg.evaluation.report.curves import read_trainings
from nnunetv2_cfseg.evaluation.report.estimates import Estimates
from nnunetv2_cfseg.evaluation.report.figures import medians_table, summary_notes, summary_table, verdict
from nnunetv2_cfseg.evaluation.report.links import case_links, find_images, page_files
from nnunetv2_cfseg.evaluation.report.page import Assets, Page, Section, render
from nnunetv2_cfseg.evaluation.report.viewer import case_link, render_viewer, viewer_css, viewer_js
from nnunetv2_cfseg.evaluation.report.volumes import BrowserCase, browser_case
from nnunetv2_cfseg.evaluation.summary import summarise
from nnunetv2_cfseg.files.atomic_files import write_text
from nnunetv2_cfseg.processes.progress_bar import progress_bar

#: Number of cases in the slice browser by default.
CASES = 20
FOOTER = f"Written by cfseg report, nnunetv2_cfseg {__version__}. For research; not a medical device."
#: Limits for all cases in the slice browser together, and for one case: pages must stay small enough to send.
VOXELS, VOXELS_OF_CASE = 60_000_000, 6_000_000
MOST_NAMED = 5
WORST_FIRST = "Worst cases come first, by mean Dice over the classes that truth or prediction shows."


@dataclass(frozen=True)
class Extras:
    """Additional contents of a report.

    Attributes:
        title: title of the page; if empty, a default is used.
        lead: paragraphs below the verdict.
        sections: additional sections after the table of cases.
        command: the command that makes the report again.
        command_note: a note on the command.
    """

    title: str = ""
    lead: Sequence[str] = ()
    sections: Sequence[Section] = ()
    command: str = ""
    command_note: str = ""


def write_report(
    evaluation: Evaluation,
    output: Path,
    *,
    images: Path | None = None,
    model: Path | None = None,
    cases: int = CASES,
    series: int | None = None,
    seed: int = 0,
    extras: Extras | None = None,
    progress: bool = False,
) -> Path:
    """Write an evaluation as one HTML file, atomically.

    Args:
        evaluation: the evaluation to show.
        output: the HTML file.
        images: folder of the CTs, or of DICOM slices; None shows labels on a plain background.
        model: nnU-Net's folder of the trained model, for its training curves.
        cases: number of cases in the slice browser at most, worst first; 0 leaves the browser out.
        series: which DICOM series of an image's folder, from 1, if there are several.
        seed: seeds the bootstrap intervals.
        extras: title and other additions.
        progress: show a bar.

    Returns:
        The HTML file.

    Raises:
        ValueError: ``cases`` is below 0, an image is missing or does not fit, or the model has no logs.
        OSError: the file cannot be written.
    """
    check_cases_shown(cases)
    image_files = {} if images is None else find_images(evaluation.cases, images)
    shown = worst_first(evaluation.table)[:cases]
    browser = _browser_cases(evaluation, shown, image_files, output, series=series, progress=progress)
    page = _page(evaluation, browser, output=output, images=images, model=model, seed=seed, extras=extras or Extras())
    return write_page(render(page, browser_assets(browser)), output)


def check_cases_shown(cases: int) -> None:
    """Check the number of cases to show.

    Raises:
        ValueError: it is below 0.
    """
    if cases < 0:
        raise ValueError(f"the number of cases to show must be >= 0, got {cases}")


def browser_assets(browser: Sequence[BrowserCase]) -> Assets:
    """Style sheet and script of the slice browser; empty if no case is shown."""
    return Assets(viewer_css(), viewer_js()) if browser else Assets()


def write_page(html: str, output: Path) -> Path:
    """Write a page atomically and return its file.

    Raises:
        OSError: the file cannot be written.
    """
    output.parent.mkdir(parents=True, exist_ok=True)
    write_text(output, html)
    return output


def voxels_of_case(cases: int) -> int:
    """The number of voxels that each case may have in the slice browser, if it holds this many cases."""
    return min(VOXELS_OF_CASE, VOXELS // max(1, cases))


def _browser_cases(
    evaluation: Evaluation,
    names: Sequence[str],
    images: Mapping[str, Path],
    output: Path,
    *,
    series: int | None,
    progress: bool,
) -> list[BrowserCase]:
    by_name = {case.name: case for case in evaluation.cases}
    voxels = voxels_of_case(len(names))
    return [
        browser_case(
            by_name[name],
            image=images.get(name),
            series=series,
            classes=evaluation.classes,
            caption=_caption(mean_dice(evaluation.table, name)),
            links=case_links(by_name[name], images.get(name), output),
            voxels=voxels,
        )
        for name in progress_bar(names, doing="Reading scans", show=progress)
    ]


def _page(
    evaluation: Evaluation,
    browser: Sequence[BrowserCase],
    *,
    output: Path,
    images: Path | None,
    model: Path | None,
    seed: int,
    extras: Extras,
) -> Page:
    table, names = evaluation.table, [label_class.name for label_class in evaluation.classes.foreground]
    summary = summarise(evaluation, seed=seed)
    estimates, colours = Estimates(summary), class_colours(len(names))
    agreements = class_agreements(table, estimates)
    hrefs = {case.name: case_link(case.name) for case in browser}
    trainings = [] if model is None else read_trainings(model)
    return Page(
        title=extras.title or f"Evaluation of {evaluation.cases[0].prediction.resolve().parent.name}",
        verdict=verdict(table, estimates),
        lead=[*extras.lead, *_left_out(evaluation)],
        summary=summary_table(table, estimates, agreements=agreements, colours=colours),
        summary_notes=summary_notes(table, names),
        medians=medians_table(table, colours),
        distributions=distribution_figures(table, evaluation.settings),
        crosses=bool(table["presence"].isin(("missed", "false_alarm")).any()),
        agreements=[
            agreement_figure(agreement, number)
            for number, agreement in enumerate(agreements, 1)
            if agreement is not None
        ],
        without_volume=without_volume(table, agreements),
        trainings=[training_figures(training, names) for training in trainings],
        browser_notes=browser_notes(WORST_FIRST, len(browser), len(evaluation.cases), images is not None),
        viewer=render_viewer(browser, evaluation.classes) if browser else Markup(),
        cases=case_table(table, hrefs=hrefs, colours=colours),
        cases_note=_cases_note(len(browser)),
        choices=choices(),
        sections=extras.sections,
        definitions=definitions_table(),
        policy=POLICY,
        command=extras.command,
        command_note=extras.command_note,
        settings=settings_table(summary["cfseg"]["settings"]),
        files=page_files(evaluation, summary, output=output, images=images, model=model),
        footer=FOOTER,
        hrefs=hrefs,
    )


def _caption(dice: float) -> str:
    return "no class" if isnan(dice) else f"mean Dice {dice:.3f}"


def _left_out(evaluation: Evaluation) -> list[str]:
    unpaired = evaluation.unpaired
    kinds = (
        (unpaired.missing_predictions, "without a prediction"),
        (unpaired.missing_truths, "without a ground truth"),
    )
    notes = []
    for names, words in kinds:
        if names:
            more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
            cases = "case" if len(names) == 1 else "cases"
            notes.append(f"{len(names)} {cases} {words} left out: {', '.join(names[:MOST_NAMED])}{more}.")
    return notes


def browser_notes(order: str, shown: int, of: int, with_images: bool) -> list[str]:
    """Notes on the cases in the slice browser.

    Args:
        order: a sentence that says which cases come first.
        shown: number of cases in the browser.
        of: number of all cases.
        with_images: whether the browser shows CTs.
    """
    notes = [order]
    if shown < of:
        notes.append(f"Of {of} cases the browser holds the first {shown}; all {of} are in the tables.")
    if not with_images:
        notes.append("There is no folder of images, so only labels are shown.")
    return [" ".join(notes)]


def _cases_note(shown: int) -> str:
    return f"{WORST_FIRST} Click a name to open the case in the slice browser." if shown else WORST_FIRST
