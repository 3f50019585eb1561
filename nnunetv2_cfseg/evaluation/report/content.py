"""Make the page's charts, definitions and settings from an evaluation."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from math import isnan
from typing import Any

import pandas as pd

from nnunetv2_cfseg.evaluation.metric_definitions import BY_KEY, COLUMNS
from nnunetv2_cfseg.evaluation.metrics import MetricSettings
from nnunetv2_cfseg.evaluation.report.charts import Agreement, agreement, strips
from nnunetv2_cfseg.evaluation.report.estimates import Estimates
from nnunetv2_cfseg.evaluation.report.figures import FEW, FEW_CASES
from nnunetv2_cfseg.evaluation.report.number_format import with_unit
from nnunetv2_cfseg.evaluation.report.page import AgreementFigure, StripsFigure
from nnunetv2_cfseg.evaluation.report.tables import Table, words_table

DISTRIBUTIONS = ("Dice", "NSD", "HD95_mm")
PACKAGES = ("nnunetv2_cfseg", "nnunetv2", "numpy", "scipy", "pandas", "SimpleITK", "connected-components-3d")
POLICY = (
    "If neither truth nor prediction shows a class, there is nothing to measure: the case is left out of the "
    "class's means, medians and charts, as in nnU-Net (which gives NaN).",
    "A missed class, which only the truth shows, and a false alarm, which only the prediction shows (even in a single "
    "voxel), count as 0 in Dice, IoU, surface Dice and lesion F1, and as the diagonal of the whole image in distances: "
    "a finite penalty, so that missing a class never improves a mean. Lesion precision is not defined without a "
    "predicted lesion, lesion recall without a true one.",
    "The mean over classes is the mean of the classes' means, each class with the same weight (nnU-Net's foreground "
    "mean; mDSC in arXiv 2502.05396, Eq. 14). A class that no case shows is left out of it.",
)


def distribution_figures(table: pd.DataFrame, settings: MetricSettings) -> list[StripsFigure]:
    """Charts of every case of every class: Dice, surface Dice and HD95."""
    names = list(dict.fromkeys(table["class"]))
    return [StripsFigure(BY_KEY[key].title, _aside(key, settings), strips(table, key, names)) for key in DISTRIBUTIONS]


def class_agreements(table: pd.DataFrame, estimates: Estimates) -> list[Agreement | None]:
    """The agreement of volumes of each class, in order; None for classes that no case shows."""
    return [
        agreement(table, name, bias=estimates.of(name, "volume_error_ml").mean, limits=estimates.limits(name))
        for name in dict.fromkeys(table["class"])
    ]


def agreement_figure(volumes: Agreement, number: int) -> AgreementFigure:
    """The chart of a class's volumes, with bias and limits of agreement in words.

    Args:
        volumes: agreement of the class's volumes.
        number: number of the class, from 1.
    """
    words = f"Bias {with_unit(volumes.bias, 'volume_error_ml', sign=True)}"
    limits = not isnan(volumes.low)
    if limits:
        low, high = (with_unit(limit, "volume_error_ml", sign=True) for limit in (volumes.low, volumes.high))
        words += f", limits of agreement {low} to {high}"
    few = f" {FEW} fewer than {FEW_CASES} cases" if volumes.count < FEW_CASES else ""
    return AgreementFigure(
        volumes, f"{volumes.count} {'case' if volumes.count == 1 else 'cases'}", f"{words}.{few}", limits, number
    )


def definitions_table() -> Table:
    """Every column with its unit, direction, meaning and source."""
    better = {1: "more", -1: "less", 0: ""}
    rows = [
        (column.title, column.key, column.unit or "1", better[column.better], column.meaning, column.source)
        for column in COLUMNS
    ]
    return words_table(
        "Definitions of the columns",
        ("column", "in files", "unit", "better", "meaning", "source"),
        rows,
        caption="A unit of 1 is a share or a count.",
    )


def settings_table(settings: Mapping[str, Any]) -> Table:
    """The settings of the measures and the versions of packages; ``settings`` are those of a summary."""
    factor, confidence = settings["factor"], settings["confidence"]
    rows = [
        ("tolerance of the surface Dice", f"{settings['tolerance_mm']:g} mm"),
        ("overlap for a lesion to count as found", f"{settings['lesion_overlap']:g}"),
        ("thin slices in a thick one", "none, no boundary-slab Dice" if factor is None else str(factor)),
        (
            "bootstrap",
            f"{settings['resamples']} resamples of the cases, seed {settings['seed']}, {confidence:.0%} intervals",
        ),
        *_versions(),
    ]
    return words_table("What it was measured with", ("setting or package", "value"), rows)


def versions_table() -> Table:
    """The versions of packages, for a page without measures of quality."""
    return words_table("What it was made with", ("package", "version"), _versions())


def _versions() -> list[tuple[str, str]]:
    return [("Python", platform.python_version()), *((name, version(name)) for name in PACKAGES)]


def without_volume(table: pd.DataFrame, agreements: Sequence[Agreement | None]) -> str:
    """Names of the classes that no case shows, separated by commas."""
    names = dict.fromkeys(table["class"])
    return ", ".join(name for name, volumes in zip(names, agreements, strict=True) if volumes is None)


def _aside(key: str, settings: MetricSettings) -> str:
    column = BY_KEY[key]
    words = "more is better" if column.better > 0 else "less is better"
    if key == "NSD":
        return f"within {settings.tolerance_mm:g} mm, {words}"
    return f"{column.unit}, {words}" if column.unit else words
