"""Render a benchmark as one self-contained HTML page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite, nan

import pandas as pd

from nnunetv2_cfseg.benchmark.collect import Results
from nnunetv2_cfseg.benchmark.ranking import pareto, ranking
from nnunetv2_cfseg.benchmark.tables import Block
from nnunetv2_cfseg.evaluation.compare.markdown import UNDEFINED
from nnunetv2_cfseg.evaluation.report.axis_ticks import Axis, axis
from nnunetv2_cfseg.evaluation.report.class_colours import class_colours
from nnunetv2_cfseg.evaluation.report.page import render_template
from nnunetv2_cfseg.evaluation.report.tables import Cell, Head, Row, Table, sort_key, words_table

#: Costs that Dice is drawn against: column, title and unit.
COSTS = (
    ("predict_s_per_case", "Prediction", "seconds a case"),
    ("peak_gb", "Peak memory", "GB"),
    ("train_peak_gpu_gb", "GPU memory of training", "GB"),
    ("train_s", "Training", "seconds"),
)
#: Draw a chart if the largest cost is at least this many times the smallest; equal budgets differ only by start-up.
LEAST_RATIO = 1.25


@dataclass(frozen=True)
class Point:
    """A row in a chart: its number, position and interval in percent; ``best`` if no row is cheaper and better."""

    row: str
    number: int
    colour: str
    x: float
    y: float
    low: float
    high: float
    best: bool
    words: str


@dataclass(frozen=True)
class Scatter:
    """A chart of the rows' Dice against a cost."""

    title: str
    across: str
    x: Axis
    y: Axis
    points: tuple[Point, ...]
    words: str


def render(title: str, lead: Sequence[str], results: Results, found: Sequence[Block], command: str) -> str:
    """Render the page as HTML.

    Args:
        lead: paragraphs below the title.
        found: the tables.
        command: the command that ran the benchmark.
    """
    rows = list(dict.fromkeys(results.figures["row"]))
    colours = dict(zip(rows, class_colours(len(rows)), strict=True))
    tables = [(block.title, block.note, sortable(block)) for block in found]
    charts = {
        str(dataset): scatters(figures, results.costs[results.costs["dataset"] == dataset], colours)
        for dataset, figures in results.figures.groupby("dataset", sort=False)
    }
    charts = {dataset: drawn for dataset, drawn in charts.items() if drawn}  # a single row gives no charts
    settings = [
        words_table(
            f"Machine {number}", ("setting", "value"), [(name, _in_words(value)) for name, value in machine.items()]
        )
        for number, machine in enumerate(results.machines, 1)
    ]
    return render_template(
        "benchmark.html.j2", title=title, lead=lead, charts=charts, colours=colours, tables=tables, settings=settings,
        command=command,
    )  # fmt: skip


def sortable(block: Block) -> Table:
    """Turn a block into a table that readers can sort, with intervals below means."""
    return Table(
        title=block.title,
        head=tuple(Head(words) for words in block.head),
        rows=tuple(Row(name, tuple(map(_cell, words))) for name, *words in block.rows),
        sortable=True,
    )


def _cell(words: str) -> Cell:
    value, bracket, interval = words.partition(" [")
    if value == UNDEFINED:
        return Cell(value, sort=sort_key(nan))
    try:
        sort = sort_key(float(value.removeprefix("< ")))
    except ValueError:
        return Cell(words)
    return Cell(value, small=f"{bracket.strip()}{interval}", sort=sort)


def scatters(figures: pd.DataFrame, costs: pd.DataFrame, colours: dict[str, str]) -> list[Scatter]:
    """Charts of the rows' Dice on a dataset against each cost that differs enough between rows."""
    ranked = ranking(figures, "Dice").set_index("row")
    peak = costs[["train_peak_gb", "predict_peak_gb"]].max(axis=1)
    of_rows = costs.assign(peak_gb=peak).groupby("row").mean(numeric_only=True)
    charts = []
    for column, title, across in COSTS:
        spent = [float(of_rows.loc[row, column]) for row in ranked.index]
        if max(spent) > LEAST_RATIO * min(spent):
            charts.append(_scatter(title, across, spent, ranked, colours))
    return charts


def _scatter(title: str, across: str, spent: Sequence[float], ranked: pd.DataFrame, colours: dict[str, str]) -> Scatter:
    x = axis(spent, include=(0.0,), intervals=4)
    y = axis(ranked[["mean", "low", "high"]].to_numpy().ravel(), intervals=4)
    best = pareto(list(zip(spent, ranked["mean"], strict=True)))

    numbers = {row: number for number, row in enumerate(colours, 1)}

    def up(value: float, otherwise: float) -> float:
        return round(100 - y.place(value if isfinite(value) else otherwise), 2)

    points = tuple(
        Point(
            row=str(row), number=numbers[str(row)], colour=colours[str(row)],
            x=x.place(cost), y=up(line["mean"], y.low), low=up(line["low"], line["mean"]),
            high=up(line["high"], line["mean"]), best=undominated,
            words=f"{row}: Dice {line['mean']:.3f}, {cost:.3g} {across}",
        )
        for (row, line), cost, undominated in zip(ranked.iterrows(), spent, best, strict=True)
        if isfinite(line["mean"])
    )  # fmt: skip
    return Scatter(title, across, x, y, points, "; ".join(point.words for point in points))


def _in_words(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {version}" for name, version in value.items())
    return "none" if value is None else str(value)
