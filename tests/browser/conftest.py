"""Chromium, and a page with the slice browser in it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
from playwright.sync_api import Browser, Locator, Page, Route, sync_playwright

from nnunetv2_cfseg.evaluation.files import Case
from nnunetv2_cfseg.evaluation.report.viewer import render_viewer, viewer_css, viewer_js
from nnunetv2_cfseg.evaluation.report.volumes import BrowserCase, browser_case
from nnunetv2_cfseg.nnunet.classes import Classes, SegmentationClass

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
#: z, y, x: voxels are no cubes.
SPACING_MM = (5.0, 2.0, 2.5)
SHAPE = (20, 50, 40)
BRAIN_HU, LEFT_HU, BONE_HU = 30, 70, 900
PAGE = """<!DOCTYPE html><html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1"><title>Slices</title>
<style>:root {{ --page: #fffff0; --ink: #000001; }}
@media (prefers-color-scheme: dark) {{ :root {{ --page: #000010; --ink: #fffffe; }} }}
body {{ margin: 8px; background: var(--page); }} .tall {{ height: 1200px; }}</style><style>{css}</style></head>
<body>{html}<p class="tall"><a id="link" href="#viewer?case=second&amp;at=3,4,5">second</a></p>
<script>{js}</script></body></html>
"""
#: Colours at the middles of a slice's voxels, (rows, columns, 3), row by row.
SAMPLE = """(canvas, {columns, rows, width, height}) => {
  const scale = Math.min(canvas.width / width, canvas.height / height);
  const left = (canvas.width - width * scale) / 2, top = (canvas.height - height * scale) / 2;
  const pixels = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
  const colours = [];
  for (let row = 0; row < rows; row++) for (let column = 0; column < columns; column++) {
    const x = Math.floor(left + (column + 0.5) / columns * width * scale);
    const y = Math.floor(top + (row + 0.5) / rows * height * scale);
    colours.push(...pixels.data.slice(4 * (y * canvas.width + x), 4 * (y * canvas.width + x) + 3));
  }
  return colours;
}"""
#: Axes (z, y, x) of the rows and columns of a view; rows of the latter two begin at the head.
AXES = {"axial": (1, 2), "coronal": (0, 2), "sagittal": (0, 1)}


@dataclass
class Viewer:
    """A page with the slice browser, and what went wrong in it."""

    page: Page
    cases: Sequence[BrowserCase]
    failures: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    @property
    def root(self) -> Locator:
        return self.page.locator(".cfseg-viewer")

    def view(self, plane: str) -> Locator:
        return self.page.locator(f'.view[data-plane="{plane}"]')

    def canvas(self, plane: str) -> Locator:
        return self.view(plane).locator("canvas")

    def slice_number(self, plane: str) -> int:
        """From 1, as the canvas tells those who do not see it."""
        self.settle()
        label = self.canvas(plane).get_attribute("aria-label") or ""
        return int(label.split(" of ")[0].rsplit(" ", 1)[1])

    def settle(self) -> None:
        """Wait until what has changed is drawn."""
        self.page.evaluate("() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")

    def colours(self, plane: str, case: int = 0) -> np.ndarray:
        """(rows, columns, 3) of a slice, as it is seen."""
        self.settle()
        shape, spacing_mm = self.cases[case].shape, self.cases[case].spacing_mm
        (rows, columns), (down, across) = ([values[axis] for axis in AXES[plane]] for values in (shape, spacing_mm))
        size = {"columns": columns, "rows": rows, "width": columns * across, "height": rows * down}
        values = self.canvas(plane).evaluate(SAMPLE, size)
        return np.array(values).reshape(rows, columns, 3)

    def picture(self, plane: str) -> str:
        """All that is drawn of a view; a screenshot takes ten times as long."""
        self.settle()
        return str(self.canvas(plane).evaluate("canvas => canvas.toDataURL()"))

    def choose(self, group: str, value: str) -> None:
        """Choose one of a row of buttons."""
        self.page.locator(f'input[name="viewer-{group}"][value="{value}"]').check()

    def only_voxels(self) -> None:
        """Nothing but the voxels of the CT."""
        for group in ("truth", "prediction"):
            self.choose(group, "off")
        for name in ("Crosshair", "Smooth"):
            self.page.get_by_label(name).uncheck()


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    """The machine's own Chromium; without it a failure on CI, elsewhere a skip."""
    executable = next((path for path in map(shutil.which, BROWSERS) if path), None)
    if executable is None:
        reason = f"there must be a browser on the path, one of {', '.join(BROWSERS)}"
        if os.environ.get("CI", "").lower() == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    arguments = ["--disable-gpu", "--disable-software-rasterizer"]  # drawing as on a GPU takes a processor longer
    arguments += ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=arguments)
        yield browser
        browser.close()


def make_head(seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """HU, truth and prediction of a body with a ball on the patient's left, bone in front, and a cube at the back."""
    z, y, x = np.meshgrid(*[np.arange(size) for size in SHAPE], indexing="ij")
    image = np.full(SHAPE, BRAIN_HU, np.int16)
    ball = ((z - 11) * 5) ** 2 + ((y - 22) * 2) ** 2 + ((x - 27) * 2.5) ** 2 < 18**2
    image[ball] = LEFT_HU
    image[:, 2:5, 10:30] = BONE_HU
    truth, prediction = np.zeros((2, *SHAPE), np.uint8)
    truth[ball] = 1
    truth[6:14, 36:46, 6:14] = 2
    prediction[np.roll(ball, 2, axis=2)] = 1
    prediction[6:14, 36:46, 6:10] = 2
    prediction[6:14, 36:46, 10:12] = 1
    rng = np.random.default_rng(seed)
    prediction[8:13, 10:14, 15:19][rng.random((5, 4, 4)) < 0.5] = 2
    return image, truth, prediction


CLASSES = Classes(
    (SegmentationClass("bleed", (1,), "1"), SegmentationClass("cube", (2,), "2")), None, frozenset({0, 1, 2})
)


@pytest.fixture
def head() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """HU, truth and prediction of the first case, (z, y, x) to the head, the back and the left."""
    return make_head()


@pytest.fixture
def make_case(tmp_path: Path) -> Callable[..., BrowserCase]:
    """A function that writes a head, stored from left to right and back to front, and reads it for the page."""

    def make(
        name: str = "first",
        *,
        with_image: bool = True,
        caption: str = "mean Dice 0.42",
        seed: int = 0,
        labels: tuple[np.ndarray, np.ndarray] | None = None,
        classes: Classes = CLASSES,
    ) -> BrowserCase:
        files = [tmp_path / f"{seed}_{kind}.nrrd" for kind in ("image", "truth", "prediction")]
        hu, truth, prediction = make_head(seed)
        for file, values in zip(files, (hu, *(labels or (truth, prediction))), strict=True):
            stored = sitk.GetImageFromArray(values)
            stored.SetSpacing(SPACING_MM[::-1])
            sitk.WriteImage(sitk.DICOMOrient(stored, "RAS"), str(file))
        image = files[0] if with_image else None
        links = {"CT": "../imagesTs/first_0000.nii.gz", "odd": "javascript:alert(1)"}
        case = Case(name, files[1], files[2])
        return browser_case(case, image=image, classes=classes, caption=caption, links=links)

    return make


@pytest.fixture
def open_viewer(chromium: Browser, tmp_path: Path) -> Iterator[Callable[..., Viewer]]:
    """A function that opens a page with cases; afterwards it must have raised nothing and asked for nothing."""
    opened: list[Viewer] = []

    def open_page(*cases: BrowserCase, address: str = "", classes: Classes = CLASSES, **context: Any) -> Viewer:
        file = tmp_path / "report.html"
        html = PAGE.format(css=viewer_css(), html=render_viewer(cases, classes), js=viewer_js())
        file.write_text(html, encoding="utf-8")
        settings = {"viewport": {"width": 1300, "height": 1000}, **context}
        page = chromium.new_context(**settings).new_page()
        viewer = Viewer(page, cases)
        opened.append(viewer)
        page.on("console", lambda message: message.type == "error" and viewer.failures.append(message.text))
        page.on("pageerror", lambda error: viewer.failures.append(str(error)))
        page.route("**/*", lambda route: _local_only(route, file.as_uri(), viewer.requests))
        page.goto(file.as_uri() + address)
        page.wait_for_selector('.cfseg-viewer[data-state="ready"]')
        viewer.settle()
        return viewer

    yield open_page
    for viewer in opened:
        viewer.page.context.close()
    assert [viewer.failures for viewer in opened if viewer.failures] == []
    assert [viewer.requests for viewer in opened if viewer.requests] == []


def _local_only(route: Route, page: str, requests: list[str]) -> None:
    if route.request.url.partition("#")[0] == page:
        route.continue_()
        return
    requests.append(route.request.url)
    route.abort()
