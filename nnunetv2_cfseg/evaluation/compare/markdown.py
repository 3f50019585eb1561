"""Write a comparison as Markdown tables that are also aligned in a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isnan

import pandas as pd

from nnunetv2_cfseg.evaluation.compare.comparison import Comparison
from nnunetv2_cfseg.evaluation.compare.folders import FolderComparison
from nnunetv2_cfseg.evaluation.compare.notes import notes
from nnunetv2_cfseg.evaluation.compare.pairs import MEAN
from nnunetv2_cfseg.evaluation.metric_definitions import BY_KEY, Column
from nnunetv2_cfseg.evaluation.metrics import MetricSettings
from nnunetv2_cfseg.evaluation.paired_tests import TIE_DECIMALS

#: Number of cases shown for a pair.
MOST_CASES = 10
STATISTICS = ("difference", "95 % interval", "p", "p (Holm)", "better", "tie", "worse")
UNDEFINED = "\N{EN DASH}"
ARROW = "\N{RIGHTWARDS ARROW}"


def markdown(comparison: FolderComparison) -> str:
    """All tables with explanations and the notes on their limits."""
    results = comparison.comparison
    sections = [_head(comparison)]
    sections += [_metric(results, metric, comparison.settings) for metric in results.metrics]
    sections += [_errors(results), _cases(results)]
    return "\n\n".join(section for section in sections if section) + "\n"


def table(head: Sequence[str], rows: Sequence[Sequence[str]], *, left: int = 1) -> str:
    """A Markdown table; all but the first ``left`` columns are aligned to the right."""
    cells = [[_escaped(cell) for cell in row] for row in (head, *rows)]
    widths = [max(3, *(len(row[i]) for row in cells)) for i in range(len(head))]
    lines = [
        " | ".join(
            cell.ljust(n) if i < left else cell.rjust(n) for i, (cell, n) in enumerate(zip(row, widths, strict=True))
        )
        for row in cells
    ]
    rule = " | ".join("-" * n if i < left else "-" * (n - 1) + ":" for i, n in enumerate(widths))
    return "\n".join(f"| {line} |" for line in (lines[0], rule, *lines[1:]))


def _head(comparison: FolderComparison) -> str:
    results = comparison.comparison
    folders = "\n".join(f"- {name}: `{folder}`" for name, folder in comparison.folders.items())
    limits = "".join(f"\n- {note}" for note in notes(comparison))
    return f"""# {len(results.names)} predictions of {len(comparison.cases.compared)} cases

{folders}

A difference is the other's value minus the reference's. Its 95 % interval is a bootstrap over cases
({results.resamples} resamples, seed {results.seed}). p is Wilcoxon's signed-rank test, two-sided; p (Holm) is corrected
for all tests of the same metric, the intervals are not. Better, tie and worse count cases of the other; values equal to
{TIE_DECIMALS} decimals tie. A class that both rightly leave out of a case is not counted; if only one does, its value
counts as perfect.
{limits}""".rstrip()


def _metric(comparison: Comparison, metric: str, settings: MetricSettings) -> str:
    column = BY_KEY[metric]
    family = comparison.results[comparison.results["metric"] == metric]
    tests = int(family["p"].notna().sum())
    unit = f" in {column.unit}" if column.unit else ""
    direction = "more is better" if column.better > 0 else "less is better"
    number = "1 test" if tests == 1 else f"{tests} tests"
    parts = [f"## {column.title}{unit}\n\n{_upper(column.meaning)}; {direction}{_setting(metric, settings)}; {number}."]
    for reference, other in comparison.pairs():
        rows = family[(family["reference"] == reference) & (family["other"] == other)]
        head = ("class", "n", reference, other, *STATISTICS)
        parts.append(f"### {other} against {reference}\n\n{table(head, [_row(row, column) for row in _records(rows)])}")
    return "\n\n".join(parts)


def _setting(metric: str, settings: MetricSettings) -> str:
    """The setting that the measure depends on, as words to append; empty if there is none."""
    if metric == "NSD":
        return f"; the tolerance is {settings.tolerance_mm:g} mm"
    if metric.startswith("lesion_"):
        return f"; the overlap is {settings.lesion_overlap:g}"
    return f"; {settings.factor} slices to a thick one" if metric == "boundary_Dice" else ""


def _row(row: Mapping, column: Column) -> tuple[str, ...]:
    return (
        row["class"],
        str(row["n"]),
        _value(row["mean_reference"], column),
        _value(row["mean_other"], column),
        *statistics(row, column),
    )


def statistics(row: Mapping, column: Column) -> tuple[str, ...]:
    """The cells of a paired difference in the columns STATISTICS.

    Args:
        row: the fields of :class:`~.paired_tests.PairedDifference`, and ``p_holm``.
        column: the measure's definition.
    """
    return (
        _signed(row["difference"], column),
        _interval(row, column),
        _p(row["p"]),
        _p(row["p_holm"]),
        *(str(row[key]) for key in ("wins", "ties", "losses")),
    )


def _errors(comparison: Comparison) -> str:
    """The section on missed classes and false alarms, which put penalties into the means; empty if there are none."""
    counts = comparison.table.groupby(["name", "class"], sort=False)["presence"].value_counts().unstack(fill_value=0)
    counts = counts.reindex(columns=["both", "missed", "false_alarm", "absent"], fill_value=0)
    wrong = counts[(counts["missed"] > 0) | (counts["false_alarm"] > 0)].reset_index()
    if not len(wrong):
        return ""
    head = ("prediction", "class", "in both", "missed", "false alarm", "in neither")
    rows = [tuple(str(cell) for cell in row) for row in wrong.itertuples(index=False)]
    return f"""## Missed classes and false alarms

Cases of each class. A missed class and a false alarm have Dice, IoU and surface Dice 0, and the diagonal of the whole
image as HD95 and surface distance: one of them can decide a mean in mm.

{table(head, rows, left=2)}"""


def _cases(comparison: Comparison) -> str:
    parts = [f"## Cases to look at\n\nThe cases whose mean Dice differs most, up to {MOST_CASES} for each pair."]
    for reference, other in comparison.pairs():
        dice = comparison.dice
        values = dice[(dice["reference"] == reference) & (dice["other"] == other)]
        parts.append(f"### {reference} {ARROW} {other}\n\n{_critical(values)}")
    return "\n\n".join(parts)


def _critical(values: pd.DataFrame) -> str:
    classes = [name for name in values["class"].unique() if name != MEAN]
    differs = values["reference_value"].round(TIE_DECIMALS) != values["other_value"].round(TIE_DECIMALS)
    values = values[values["case"].isin(values.loc[differs, "case"])]
    if not len(values):
        return "No case differs."
    total = values[values["class"] == (MEAN if len(classes) > 1 else classes[0])]
    order = total["difference"].abs().sort_values(ascending=False, kind="stable").index[:MOST_CASES]
    dice = BY_KEY["Dice"]
    rows = []
    for row in _records(total.loc[order]):
        by_class = {entry["class"]: entry for entry in _records(values[values["case"] == row["case"]])}
        change = f"{_value(row['reference_value'], dice)} {ARROW} {_value(row['other_value'], dice)}"
        cells = [_change(by_class[name]) if name in by_class else UNDEFINED for name in classes]
        rows.append((row["case"], _signed(row["difference"], dice), change, *cells))
    return table(("case", "difference", "mean Dice", *classes), rows)


def _change(row: Mapping) -> str:
    return f" {ARROW} ".join(_shown(row[f"{side}_value"], row[f"{side}_presence"]) for side in ("reference", "other"))


def _shown(value: float, presence: str) -> str:
    return _value(value, BY_KEY["Dice"]) if presence == "both" else presence.replace("_", " ")


def _value(value: float, column: Column) -> str:
    return UNDEFINED if isnan(value) else f"{value:.{_decimals(column)}f}"


def _signed(value: float, column: Column) -> str:
    if isnan(value):
        return UNDEFINED
    rounded = round(value, _decimals(column))
    return f"{rounded:+.{_decimals(column)}f}" if rounded else _value(0.0, column)


def _interval(row: Mapping, column: Column) -> str:
    if isnan(row["low"]):
        return UNDEFINED
    return f"{_signed(row['low'], column)} to {_signed(row['high'], column)}"


def _decimals(column: Column) -> int:
    return 2 if column.unit else 3


def _p(p: float) -> str:
    if isnan(p):
        return UNDEFINED
    return "< 0.001" if p < 0.0005 else f"{p:.3f}"


def _upper(sentence: str) -> str:
    return sentence[0].upper() + sentence[1:]


def _records(rows: pd.DataFrame) -> list[dict]:
    return rows.to_dict("records")


def _escaped(cell: str) -> str:
    return " ".join(cell.replace("|", r"\|").split())
