"""The tables of ``experiments/thin_thick.py`` out of what it measured: a CSV with a line a row, seed, case and class.

    python experiments/thin_thick_tables.py experiments/results/thin_thick_phantom.csv

Of each row, classes are averaged, then seeds, then cases; intervals (95 %, bootstrap) are over cases. Differences are
paired: to ``copy``, case by case. ``closed`` is the share of the gap between ``copy`` and ``oracle`` on boundary slabs.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pandas as pd

from nnunetv2_cfseg.evaluation.bootstrap import bootstrap_mean, nan_mean

MEASURES = ("Dice", "IoU", "boundary_Dice", "absolute_volume_error_ml", "z_roughness", "slab_step_share")
DIFFERENCES = ("Dice", "boundary_Dice")
BASELINE, BEST = "copy", "oracle"


def main() -> None:
    """Print the tables of a file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path, help="CSV of experiments/thin_thick.py")
    print(markdown(pd.read_csv(parser.parse_args().results)))


def markdown(results: pd.DataFrame) -> str:
    """A title and three tables: measures, differences to copied labels, classes."""
    results = results[results["Dice"].notna()]  # neither truth nor prediction has the class
    names = list(dict.fromkeys(results["row"]))
    title = f"{results['case'].nunique()} test cases"
    if budgets := sorted(results["budget_s"].dropna().unique()):
        title += f", {' and '.join(f'{budget:g}' for budget in budgets)} s of training a row"
    parts = [title, _table(["row", "seeds", *MEASURES], [_measures(results, name) for name in names])]
    if {BASELINE, BEST} <= set(names):
        head = ["row less copy", *DIFFERENCES, "closed", "boundary_Dice by seed"]
        others = [name for name in names if name != BASELINE]
        parts.append(_table(head, [_differences(results, name) for name in others]))
    classes = list(dict.fromkeys(results["class"]))
    parts.append(_table(["Dice, IoU", *classes], [_classes(results, name, classes) for name in names]))
    return "\n\n".join(parts)


def _measures(results: pd.DataFrame, name: str) -> list[str]:
    seeds = sorted(results.loc[results["row"] == name, "seed"].unique())
    cells = [_mean_and_interval(_by_case(results, name, measure)) for measure in MEASURES]
    return [name, " ".join(str(seed) for seed in seeds if seed), *cells]


def _differences(results: pd.DataFrame, name: str) -> list[str]:
    """Of the seeds that both rows have; rows without seeds are compared with all."""
    cells = []
    for measure in DIFFERENCES:
        row, copy = _with_same_seeds(results, name, BASELINE, measure)
        cells.append(_mean_and_interval(row.mean(axis=1) - copy.mean(axis=1), sign="+"))
    of_seeds, gap_of_seeds = (_boundary_gains(results, row) for row in (name, BEST))
    gap = gap_of_seeds.mean()
    closed = f"{of_seeds.mean() / gap:.0%}" if gap > 0 else ""
    return [name, *cells, closed, ", ".join(f"{gain:+.3f}" for gain in of_seeds)]


def _boundary_gains(results: pd.DataFrame, name: str) -> pd.Series:
    """By how much a row is ahead of copied labels on boundary slabs, for each seed."""
    row, copy = _with_same_seeds(results, name, BASELINE, "boundary_Dice")
    return (row - copy).mean(axis=0)


def _classes(results: pd.DataFrame, name: str, classes: list[str]) -> list[str]:
    # A class that only another row predicted, and no case has, is NaN here.
    means = results[results["row"] == name].groupby("class")[["Dice", "IoU"]].mean().reindex(classes)
    return [name, *(f"{means.Dice[c]:.3f}, {means.IoU[c]:.3f}" for c in classes)]


def _by_case(results: pd.DataFrame, name: str, measure: str) -> np.ndarray:
    """(cases,), the mean over classes and seeds."""
    return _by_seed(results, name, measure).mean(axis=1).to_numpy(float)


def _by_seed(results: pd.DataFrame, name: str, measure: str) -> pd.DataFrame:
    """A line a case, a column a seed, the mean over classes."""
    return results[results["row"] == name].pivot_table(index="case", columns="seed", values=measure, aggfunc="mean")


def _with_same_seeds(results: pd.DataFrame, a: str, b: str, measure: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    first, second = _by_seed(results, a, measure), _by_seed(results, b, measure)
    if 0 in first.columns:  # nothing was trained: the same for every seed
        first = pd.concat([first[0]] * len(second.columns), axis=1, keys=second.columns)
    seeds = first.columns.intersection(second.columns)
    return first[seeds], second[seeds]


def _mean_and_interval(values: np.ndarray | pd.Series, sign: str = "") -> str:
    values = np.asarray(values, dtype=float)
    low, high = bootstrap_mean(values, resamples=2000, seed=0)
    return f"{float(nan_mean(values, axis=0)):{sign}.3f} [{low:{sign}.3f}, {high:{sign}.3f}]"


def _table(head: list[str], lines: list[list[str]]) -> str:
    return "\n".join(f"| {' | '.join(line)} |" for line in (head, ["---"] * len(head), *lines))


if __name__ == "__main__":
    main()
