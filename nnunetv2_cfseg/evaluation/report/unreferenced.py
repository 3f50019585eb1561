"""Write the report of segmentations without a reference: what was found, and what is worth a look."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from markupsafe import Markup

from nnunetv2_cfseg.evaluation.report.class_colours import class_colours
from nnunetv2_cfseg.evaluation.report.content import versions_table
from nnunetv2_cfseg.evaluation.report.curve_figures import training_figures
from nnunetv2_cfseg.evaluation.report.curves import read_trainings
from nnunetv2_cfseg.evaluation.report.figures import Part, count_words
from nnunetv2_cfseg.evaluation.report.links import case_links, unreferenced_files
from nnunetv2_cfseg.evaluation.report.observations import Observations
from nnunetv2_cfseg.evaluation.report.page import (
    Anchored,
    File,
    Section,
    TrainingFigures,
    render_as,
)
from nnunetv2_cfseg.evaluation.report.remarks import RULES, Remark, find_remarks
from nnunetv2_cfseg.evaluation.report.tables import Table
from nnunetv2_cfseg.evaluation.report.unreferenced_tables import CHOICES, case_table, remarks_table, summary_table
from nnunetv2_cfseg.evaluation.report.viewer import case_link, render_viewer
from nnunetv2_cfseg.evaluation.report.volumes import BrowserCase, browser_case
from nnunetv2_cfseg.evaluation.report.write import (
    CASES,
    FOOTER,
    Extras,
    browser_assets,
    browser_notes,
    check_cases_shown,
    voxels_of_case,
    write_page,
)
from nnunetv2_cfseg.processes.progress_bar import progress_bar


@dataclass(frozen=True)
class UnreferencedPage:
    """The contents of the page, in order."""

    title: str
    verdict: Sequence[Part]
    lead: Sequence[str]
    browser_notes: Sequence[str]
    viewer: Markup
    remarks: Table
    remarks_note: str
    summary: Table
    nowhere: str
    trainings: Sequence[TrainingFigures]
    cases: Table
    cases_note: str
    choices: Sequence[tuple[str, str]]
    command: str
    command_note: str
    settings: Table
    files: Sequence[File]
    footer: str = FOOTER
    sections: Sequence[Section] = field(default_factory=tuple)


def write_unreferenced_report(
    observations: Observations,
    output: Path,
    *,
    images: Mapping[str, Path] | None = None,
    model: Path | None = None,
    cases: int = CASES,
    series: int | None = None,
    extras: Extras | None = None,
    progress: bool = False,
) -> Path:
    """Write observations as one HTML file, atomically.

    Args:
        observations: the observations to show.
        output: the HTML file.
        images: the CT of each case; None shows labels on a plain background.
        model: nnU-Net's folder of the trained model, for its training curves.
        cases: number of cases in the slice browser at most, those with most remarks first; 0 leaves the browser out.
        series: which DICOM series of an image's folder, from 1, if there are several.
        extras: title and other additions.
        progress: show a bar.

    Returns:
        The HTML file.

    Raises:
        ValueError: ``cases`` is below 0, an image does not fit its segmentation, or the model has no logs.
        OSError: the file cannot be written.
    """
    check_cases_shown(cases)
    remarks = find_remarks(observations.table)
    shown = _most_remarks_first(observations, remarks)[:cases]
    voxels = voxels_of_case(len(shown))
    browser = [
        _browser_case(observations, name, remarks, images or {}, output, voxels=voxels, series=series)
        for name in progress_bar(shown, doing="Reading scans", show=progress)
    ]
    page = _page(observations, remarks, browser, output=output, images=images, model=model, extras=extras or Extras())
    html = render_as("unreferenced.html.j2", page, _contents, browser_assets(browser))
    return write_page(html, output)


def _most_remarks_first(observations: Observations, remarks: Sequence[Remark]) -> list[str]:
    counts = {case.name: 0 for case in observations.cases}
    for remark in remarks:
        counts[remark.case] += 1
    return sorted(counts, key=lambda name: -counts[name])


def _browser_case(
    observations: Observations,
    name: str,
    remarks: Sequence[Remark],
    images: Mapping[str, Path],
    output: Path,
    *,
    voxels: int,
    series: int | None,
) -> BrowserCase:
    case = next(case for case in observations.cases if case.name == name)
    case_remarks = [remark for remark in remarks if remark.case == name]
    return browser_case(
        case,
        image=images.get(name),
        series=series,
        classes=observations.classes,
        caption=count_words(len(case_remarks), "remark", "remarks"),
        links=case_links(case, images.get(name), output),
        remarks=case_remarks,
        voxels=voxels,
    )


def _page(
    observations: Observations,
    remarks: Sequence[Remark],
    browser: Sequence[BrowserCase],
    *,
    output: Path,
    images: Mapping[str, Path] | None,
    model: Path | None,
    extras: Extras,
) -> UnreferencedPage:
    table, foreground = observations.table, observations.classes.foreground
    names = [label_class.name for label_class in foreground]
    hrefs = {case.name: case_link(case.name) for case in browser}
    trainings = [] if model is None else read_trainings(model)
    largest_ml = table.groupby("class", sort=False)["volume_ml"].max()
    folder = observations.cases[0].prediction.resolve().parent
    return UnreferencedPage(
        title=extras.title or f"Segmentations of {folder.name}",
        verdict=_verdict(observations),
        lead=extras.lead,
        browser_notes=browser_notes(
            "Cases with most remarks come first.", len(browser), len(observations.cases), images is not None
        ),
        viewer=render_viewer(browser, observations.classes) if browser else Markup(),
        remarks=remarks_table(remarks, hrefs=_remark_links(remarks, browser)),
        remarks_note=RULES if remarks else f"{RULES} The list is empty.",
        summary=summary_table(table, colours=class_colours(len(names))),
        nowhere=", ".join(str(name) for name in largest_ml[largest_ml == 0].index),
        trainings=[training_figures(training, names) for training in trainings],
        cases=case_table(table, remarks, hrefs=hrefs),
        cases_note="Click a name to open the case in the slice browser." if browser else "",
        choices=list(CHOICES.items()),
        command=extras.command,
        command_note=extras.command_note,
        settings=versions_table(),
        files=unreferenced_files(observations, output=output, images=images, model=model),
        sections=extras.sections,
    )


def _remark_links(remarks: Sequence[Remark], browser: Sequence[BrowserCase]) -> dict[Remark, str]:
    """Links to the remarks on the shown cases: to their places, or to the case if a remark has no place."""
    places = {case.name: {place.text: place.at for place in case.places} for case in browser}
    return {
        remark: case_link(remark.case, places[remark.case].get(remark.text))
        for remark in remarks
        if remark.case in places
    }


def _verdict(observations: Observations) -> tuple[Part, ...]:
    table = observations.table
    found, cases, classes = int((table["volume_ml"] > 0).sum()), len(observations.cases), table["class"].nunique()
    where = f" in {count_words(cases, 'segmentation', 'segmentations')} of {count_words(classes, 'class', 'classes')}"
    return (
        Part("There is no reference", strong=True),
        Part(": this page shows what was segmented, but not whether it is right. "),
        Part(str(found) if found else "No", strong=True),
        Part(
            f" {'structure was' if found == 1 else 'structures were'} found{where}; a structure is a class in a case."
        ),
    )


def _contents(page: UnreferencedPage, extra: Sequence[Anchored]) -> list[tuple[str, str]]:
    parts = [
        ("browser", "Slice browser", bool(page.viewer)),
        ("remarks", "Worth a look", True),
        ("classes", "Classes", True),
        ("training", "Training", bool(page.trainings)),
        ("cases", "Cases", True),
        *((anchored.anchor, anchored.section.title, True) for anchored in extra),
        ("reproduce", "Settings and files", True),
    ]
    return [(anchor, words) for anchor, words, shown in parts if shown]
