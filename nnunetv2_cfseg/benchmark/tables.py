"""Make the tables of a benchmark, for Markdown and for the page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite
from typing import TYPE_CHECKING

import pandas as pd

from nnunetv2_cfseg.benchmark.collect import Results
from nnunetv2_cfseg.benchmark.ranking import against, critical_cases, ranking
from nnunetv2_cfseg.evaluation.compare.markdown import STATISTICS, UNDEFINED, statistics
from nnunetv2_cfseg.evaluation.compare.markdown import table as markdown_table
from nnunetv2_cfseg.evaluation.metric_definitions import BY_KEY

if TYPE_CHECKING:
    from nnunetv2_cfseg.benchmark.launch import Failure
    from nnunetv2_cfseg.benchmark.matrix import Cell

#: Metrics that rows are ranked and tested by, if they were measured.
METRICS = ("Dice", "boundary_Dice", "NSD", "HD95_mm")


@dataclass(frozen=True)
class Block:
    """A table of text with a heading and a note."""

    title: str
    note: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    def markdown(self) -> str:
        """The heading, note and table in Markdown, for ``results.md``."""
        return f"## {self.title}\n\n{self.note}\n\n{markdown_table(self.head, self.rows)}"


def blocks(results: Results, reference: str) -> list[Block]:
    """All tables, dataset by dataset.

    Args:
        reference: the row that others are tested against; there are no tests if it has no finished cell.
    """
    tables = []
    for dataset, figures in results.figures.groupby("dataset", sort=False):
        costs = results.costs[results.costs["dataset"] == dataset]
        tables.append(ranking_block(str(dataset), results.scored_on[str(dataset)], figures, costs))
        tables.append(classes_block(str(dataset), figures))
        if reference in set(figures["row"]) and figures["row"].nunique() > 1:
            tables.append(tests_block(str(dataset), figures, reference))
            tables.append(critical_block(str(dataset), figures, reference))
    return tables


def failures_block(failed: Sequence[tuple[Cell, Failure]]) -> Block:
    """A table of the cells that failed, with reasons and logs."""
    rows = tuple(
        (cell.row.name, cell.dataset, cell.fold, str(cell.seed), failure.reason, failure.log.as_posix())
        for cell, failure in failed
    )
    note = (
        "These cells are in no other table. Logs are in the benchmark's folder. The same command tries them again and "
        "continues where they stopped."
    )
    return Block("Cells that failed", note, ("row", "dataset", "fold", "seed", "reason", "log"), rows)


def metrics_of(figures: pd.DataFrame) -> list[str]:
    """The metrics of METRICS that have a value in any case."""
    return [metric for metric in METRICS if figures[metric].notna().any()]


def ranking_block(dataset: str, scored_on: str, figures: pd.DataFrame, costs: pd.DataFrame) -> Block:
    """A table of the rows by mean Dice, with all metrics and costs."""
    metrics = metrics_of(figures)
    rankings = {metric: ranking(figures, metric).set_index("row") for metric in metrics}
    row_costs = costs.groupby("row").mean(numeric_only=True)
    several = rankings["Dice"]["seeds"].max() > 1
    on_gpu = costs["train_peak_gpu_gb"].max() > 0
    head = (
        "row", "seeds", *(f"{BY_KEY[m].title}{_unit(m)}" for m in metrics), *(["Dice by seed"] if several else []),
        "training s", "prediction s a case", "peak GB", *(["GPU GB"] if on_gpu else []), "parameters, M",
        "kFLOP a voxel",
    )  # fmt: skip
    rows = []
    for row, line in rankings["Dice"].iterrows():
        cost = row_costs.loc[row]
        rows.append((
            str(row), f"{line['seeds']:.0f}",
            *(_interval(rankings[metric].loc[row], metric) for metric in metrics),
            *([f"{_number(line['seed_low'], 3)} to {_number(line['seed_high'], 3)}"] if several else []),
            f"{cost['train_s']:.0f}", f"{cost['predict_s_per_case']:.1f}",
            f"{max(cost['train_peak_gb'], cost['predict_peak_gb']):.1f}",
            *([f"{cost['train_peak_gpu_gb']:.1f}"] if on_gpu else []), _number(cost["parameters"] / 1e6, 2),
            _number(cost["flops_per_voxel"] / 1e3, 1),
        ))  # fmt: skip
    note = (
        f"{scored_on[0].upper()}{scored_on[1:]}. Means over classes, then folds and seeds, then cases; 95 % intervals "
        "are a bootstrap over cases. Peak memory is that of training or prediction, whichever is larger, of all "
        "processes together; GPU memory is that of tensors since training was last started. Operations per voxel are "
        "those of one forward pass over a crop, two for each multiplication."
    )
    return Block(f"{dataset}: ranking", note, head, tuple(rows))


def classes_block(dataset: str, figures: pd.DataFrame) -> Block:
    """A table of the mean Dice of every row and class."""
    means = figures.pivot_table(index="row", columns="class", values="Dice", aggfunc="mean", sort=False)
    rows = tuple((str(row), *(_number(value, 3) for value in line)) for row, line in means.iterrows())
    return Block(f"{dataset}: classes", "Mean Dice of the cases whose truth or prediction has the class.",
                 ("row", *map(str, means.columns)), rows)  # fmt: skip


def tests_block(dataset: str, figures: pd.DataFrame, reference: str) -> Block:
    """A table of the rows' differences from the reference, with paired tests."""
    head = ("row", "metric", "n", *STATISTICS)
    rows = [
        (line["row"], f"{BY_KEY[metric].title}{_unit(metric)}", str(line["n"]), *statistics(line, BY_KEY[metric]))
        for metric in metrics_of(figures)
        for line in against(figures, metric, reference).to_dict("records")
    ]
    note = (
        f"Each row minus {reference}, case by case, over the folds and seeds that both have. p is Wilcoxon's "
        "signed-rank test over cases, two-sided; p (Holm) is corrected for all rows of a metric. Seeds do not count as "
        "cases: with few cases no p can be small."
    )
    return Block(f"{dataset}: against {reference}", note, head, tuple(rows))


def critical_block(dataset: str, figures: pd.DataFrame, reference: str) -> Block:
    """A table of the cases whose Dice differs most from the reference's."""
    rows = tuple(
        (line["row"], line["case"], _number(line["reference_value"], 3), _number(line["value"], 3),
         _number(line["difference"], 3, "+"))
        for line in critical_cases(figures, reference).to_dict("records")
    )  # fmt: skip
    note = f"The cases whose mean Dice differs most from that of {reference}, in either direction."
    return Block(f"{dataset}: cases to look at", note, ("row", "case", reference, "Dice", "difference"), rows)


def markdown(title: str, lead: Sequence[str], found: Sequence[Block]) -> str:
    """The whole page of results in Markdown."""
    return "\n\n".join([f"# {title}", *lead, *(block.markdown() for block in found)]) + "\n"


def _unit(metric: str) -> str:
    unit = BY_KEY[metric].unit
    return f", {unit}" if unit else ""


def _decimals(metric: str) -> int:
    return 1 if BY_KEY[metric].unit else 3


def _interval(line: pd.Series, metric: str) -> str:
    mean, low, high = (_number(line[name], _decimals(metric)) for name in ("mean", "low", "high"))
    return f"{mean} [{low}, {high}]"


def _number(value: float, decimals: int, sign: str = "") -> str:
    return f"{value:{sign}.{decimals}f}" if isfinite(value) else UNDEFINED
