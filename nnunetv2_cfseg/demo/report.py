"""What the report shows, gathered from the demo's folder, and its files."""

from __future__ import annotations

import os
import platform
from importlib.metadata import version
from pathlib import Path

from matplotlib.figure import Figure

from nnunetv2_cfseg.demo.folder import DemoFolder
from nnunetv2_cfseg.demo.overlays import Scan, draw, png, read_scan, views
from nnunetv2_cfseg.demo.page import Page, Picture, StepTime, render
from nnunetv2_cfseg.demo.scores import CaseScore, read_scores
from nnunetv2_cfseg.demo.settings import DemoSettings
from nnunetv2_cfseg.demo.steps import PREDICTIONS, RAW, SUMMARY, Step, shell_script

REPORT = "report.html"
OVERVIEW = "overview.png"
PACKAGES = ("nnunetv2_cfseg", "nnunetv2", "torch", "numpy", "SimpleITK", "matplotlib")


def write_report(folder: DemoFolder, steps: list[Step], settings: DemoSettings) -> Path:
    """Write ``report.html`` and ``overview.png`` from what the steps left; returns the report.

    Args:
        folder: the demo's.
        steps: all of them, done.
        settings: of the demo.

    Raises:
        ValueError: what a step left is not what it should be.
    """
    scores = read_scores(folder.path / SUMMARY)
    chosen = scores.best_median_worst()
    if chosen:
        folder.write_bytes(OVERVIEW, png(overview(folder.path, chosen)))
    page = Page(
        settings=settings,
        scores=scores,
        pictures=[_picture(folder.path, title, case) for title, case in chosen.items()],
        times=[StepTime(step.title, folder.record(step).seconds, folder.record(step).runs) for step in steps],
        versions=versions(),
        commands=shell_script(steps),
    )
    return folder.write_text(REPORT, render(page))


def overview(path: Path, cases: dict[str, CaseScore]) -> Figure:
    """One axial row for each of the cases."""
    rows = []
    for title, case in cases.items():
        axial, _ = views(_scan(path, case))
        rows.append(axial.titled(f"{title}: mean Dice {case.mean_dice_shown:.2f}"))
    return draw(rows)


def versions() -> dict[str, str]:
    """What ran, by name."""
    machine = f"{platform.system()} {platform.machine()}, {os.cpu_count()} processor cores"
    return {"Python": platform.python_version(), **{name: version(name) for name in PACKAGES}, "machine": machine}


def _picture(path: Path, title: str, case: CaseScore) -> Picture:
    scan = _scan(path, case)
    axial, coronal = views(scan)
    alt = (
        f"{title} scan, {case.name}: {axial.title} and {coronal.title}, through its largest lesion; CT alone, with "
        "its truth, with the prediction, and the errors"
    )
    return Picture(title=title, case=case, alt=alt, png=png(draw([axial, coronal])))


def _scan(path: Path, case: CaseScore) -> Scan:
    image = path / RAW / "imagesTs" / f"{case.name}_0000.nii.gz"
    return read_scan(image, path / RAW / "labelsTs" / case.truth.name, path / PREDICTIONS / case.prediction.name)
