"""Evaluate and compare folders of predictions of the same cases."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from nnunetv2_cfseg.evaluation.compare.comparison import Comparison, compare_tables
from nnunetv2_cfseg.evaluation.compare.input_tables import (
    CommonCases,
    common_cases,
    find_dataset_json,
    name_folders,
    name_of,
)
from nnunetv2_cfseg.evaluation.compare.metrics import METRICS, check_metrics
from nnunetv2_cfseg.evaluation.evaluate import evaluate_folders
from nnunetv2_cfseg.evaluation.files import find_factor
from nnunetv2_cfseg.evaluation.metrics import MetricSettings
from nnunetv2_cfseg.evaluation.saved_table import read_evaluation
from nnunetv2_cfseg.nnunet.dataset_json import read_dataset_json


@dataclass(frozen=True)
class FolderComparison:
    """A comparison with the compared folders by name, the cases, and the settings of the measures."""

    comparison: Comparison
    folders: Mapping[str, Path]
    truth: Path
    cases: CommonCases
    settings: MetricSettings


def compare_folders(
    folders: Sequence[Path],
    truth: Path,
    *,
    dataset_json: Path | None,
    plans_json: Path | None,
    settings: MetricSettings,
    metrics: Sequence[str] = METRICS,
    names: Sequence[str] | None = None,
    reference: Path | None = None,
    only_common: bool = False,
    seed: int = 0,
    tables: Sequence[Path] | None = None,
    num_processes: int = 2,
    progress: bool = True,
) -> FolderComparison:
    """Evaluate folders of predictions on the same cases and compare them.

    Args:
        folders: two or more folders of predictions.
        truth: folder of reference segmentations.
        dataset_json: of the dataset; None takes the first folder's, and the other folders' must have the same labels.
        plans_json: of the models; None takes each folder's own, if it has one.
        settings: of the measures; a factor that is needed and None is read from ``thin_thick.json``.
        metrics: keys of the measures to compare.
        names: names of the folders in tables; by default the end of the path that no other folder has.
        reference: the folder that all others are compared with; by default every pair is compared.
        only_common: leave out cases that a folder lacks. A model that fails on hard cases gains from this.
        seed: seeds the bootstrap.
        tables: one table by ``cfseg evaluate`` for each folder, to read instead of measuring again.
        num_processes: number of measuring processes.
        progress: show bars.

    Raises:
        ValueError: folders, names, metrics, tables or files cannot be compared; raised before anything is measured,
            except for errors in the images.
    """
    named = name_folders(folders, names)
    reference_name = None if reference is None else name_of(reference, named)
    _check_options(folders, metrics=metrics, seed=seed, tables=tables)
    dataset_json = dataset_json or find_dataset_json(folders)
    if "boundary_Dice" in metrics:
        settings = _with_factor(settings, truth, dataset_json)
    cases = common_cases(
        truth, named, file_ending=read_dataset_json(dataset_json)["file_ending"], only_common=only_common
    )
    shared: dict[str, Any] = {"dataset_json": dataset_json, "settings": settings, "chill": only_common}
    evaluated = {}
    for position, (name, folder) in enumerate(named.items()):
        shared["plans_json"] = plans_json or _own_plans(folder)
        if tables is None:
            evaluation = evaluate_folders(truth, folder, **shared, num_processes=num_processes, progress=progress)
        else:
            evaluation = read_evaluation(tables[position], truth, folder, **shared, metrics=metrics)
        evaluated[name] = evaluation.table[evaluation.table["case"].isin(cases.compared)]
    comparison = compare_tables(evaluated, metrics=metrics, reference=reference_name, seed=seed)
    return FolderComparison(comparison, named, truth, cases, settings)


def _check_options(
    folders: Sequence[Path], *, metrics: Sequence[str], seed: int, tables: Sequence[Path] | None
) -> None:
    if seed < 0:
        raise ValueError(f"a seed must be >= 0, got {seed}")
    check_metrics(metrics)
    if tables is not None and len(tables) != len(folders):
        raise ValueError(f"--from must be one table for each of the {len(folders)} folders, got {len(tables)}")


def _with_factor(settings: MetricSettings, truth: Path, dataset_json: Path) -> MetricSettings:
    factor = settings.factor or find_factor(truth, dataset_json)
    if factor is None:
        raise ValueError(
            f"boundary_Dice needs a --factor (thin slices in a thick one), there is no thin_thick.json beside {truth}"
        )
    return replace(settings, factor=factor)


def _own_plans(folder: Path) -> Path | None:
    file = folder / "plans.json"
    return file if file.is_file() else None
