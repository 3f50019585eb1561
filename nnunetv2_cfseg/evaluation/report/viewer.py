"""The slice browser in the report: CT, prediction and, if any, ground truth in three planes.

A page includes three texts, and gives the fragment as much width as it can (up to 1600 px are used; a phone's 390 px
are enough)::

    <style>{{ viewer_css() }}</style>
    {{ render_viewer(cases, classes) }}   <!-- <div id="viewer" class="cfseg-viewer">, without a heading -->
    <script>{{ viewer_js() }}</script>    <!-- after the fragment -->

All three are ``Markup``, which autoescaping templates leave as they are. All rules of the style sheet begin with
``.cfseg-viewer``. Colours of the page come from ``--page --ink --muted --line --accent --panel``. ``case_link(name)``
is the address ("#viewer?case=...") with which tables and charts open a case in the browser, any number of times.
``class_colours.class_colours(count)`` gives the colours of the classes, in order.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from nnunetv2_cfseg.evaluation.report.class_colours import class_colours
from nnunetv2_cfseg.evaluation.report.findings import Finding
from nnunetv2_cfseg.evaluation.report.hounsfield_bytes import levels_hu
from nnunetv2_cfseg.evaluation.report.volumes import BrowserCase
from nnunetv2_cfseg.files.json_text import to_json
from nnunetv2_cfseg.nnunet.classes import Classes

#: In order: each script may use what the scripts before it define.
SCRIPTS = (
    "viewer_store.js",
    "viewer_planes.js",
    "viewer_paint.js",
    "viewer_slice.js",
    "viewer_marks.js",
    "viewer_gestures.js",
    "viewer_view.js",
    "viewer_controls.js",
    "viewer_panels.js",
    "viewer_address.js",
    "viewer_keys.js",
    "viewer.js",
)
#: Level and width in HU; the keys 1 to 5 choose them.
WINDOWS = {
    "brain": (40, 80),
    "subdural": (75, 215),
    "bone": (600, 2800),
    "soft tissue": (40, 400),
    "lung": (-600, 1500),
}
IGNORED_COLOUR = "#9aa0a6"
#: With more cases or classes, there is a field to filter them.
UNFILTERED_CASES = 10
UNFILTERED_CLASSES = 12
#: Names of the label volumes in the page; the script only gets those that the page holds.
VOLUMES = {"truth": "ground truth", "prediction": "prediction"}


def render_viewer(cases: Sequence[BrowserCase], classes: Classes) -> Markup:
    """Render the slice browser as a fragment of HTML.

    Args:
        cases: cases in the order of the list; the first one is shown first.
        classes: the dataset's.

    Raises:
        ValueError: there is no case, or only some cases have a ground truth.
    """
    if not cases:
        raise ValueError("a slice browser must have a case to show, got none")
    has_truth = cases[0].truth is not None
    if any((case.truth is not None) != has_truth for case in cases):
        raise ValueError("only some cases have a ground truth; in one slice browser all of them must have one, or none")
    template = _environment().get_template("viewer.html.j2")
    return Markup(
        template.render(
            cases=cases,
            filtered=len(cases) > UNFILTERED_CASES,
            windows=WINDOWS,
            has_truth=has_truth,
            many_classes=UNFILTERED_CLASSES,
            classes=_class_descriptions(classes),
            description=_description(cases, classes),
        )
    )


def viewer_css() -> Markup:
    """The style sheet of the slice browser."""
    return Markup(_static("viewer.css"))


def viewer_js() -> Markup:
    """The script of the slice browser, wrapped in a function so that it defines no global names."""
    return Markup('(() => {\n"use strict";\n' + "\n".join(_static(name) for name in SCRIPTS) + "})();\n")


def case_link(name: str, at: tuple[int, int, int] | None = None) -> str:
    """The address within the page that opens a case, at a voxel (z, y, x) if one is given."""
    position = "" if at is None else f"&at={','.join(map(str, reversed(at)))}"
    return f"#viewer?case={quote(name, safe='')}{position}"


def _environment() -> Environment:
    loader = PackageLoader("nnunetv2_cfseg.evaluation.report")
    env = Environment(loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=StrictUndefined)
    env.policies.update({"json.dumps_function": to_json, "json.dumps_kwargs": {"sort_keys": True, "indent": None}})
    return env


def _static(name: str) -> str:
    return files("nnunetv2_cfseg.evaluation.report").joinpath("static", name).read_text(encoding="utf-8")


def _description(cases: Sequence[BrowserCase], classes: Classes) -> dict[str, Any]:
    """The data of the script except for the volumes; indices and sizes are (x, y, z)."""
    return {
        "levels": levels_hu().tolist(),
        "classes": _class_descriptions(classes),
        "ignore": classes.ignore,
        "labelled": [pair for pair in VOLUMES.items() if getattr(cases[0], pair[0]) is not None],  # tojson sorts keys
        "placeNames": ["Largest error", "Error", "No errors."]
        if cases[0].truth is not None
        else ["Place", "Place", ""],
        "cases": [_case_description(case) for case in cases],
    }


def _class_descriptions(classes: Classes) -> list[dict[str, Any]]:
    """Name, label values and colour of each class, and of the ignore label if there is one."""
    colours = class_colours(len(classes.foreground))
    descriptions = [
        {"name": label_class.name, "values": list(label_class.values), "colour": colour}
        for label_class, colour in zip(classes.foreground, colours, strict=True)
    ]
    if classes.ignore is not None:
        descriptions.append({"name": "ignored", "values": [classes.ignore], "colour": IGNORED_COLOUR})
    return descriptions


def _case_description(case: BrowserCase) -> dict[str, Any]:
    return {
        "name": case.name,
        "caption": case.caption,
        "links": list(case.links.items()),
        "size": case.shape[::-1],
        "spacing": case.spacing_mm[::-1],
        "hasImage": case.image is not None,
        "note": case.note,
        "places": [_finding_description(place) for place in case.places],
        "structure": None if case.structure is None else _finding_description(case.structure),
        "toPatient": case.to_patient_mm,
        "toFile": case.to_file,
    }


def _finding_description(finding: Finding) -> dict[str, Any]:
    return {"at": finding.at[::-1], "text": finding.text}
