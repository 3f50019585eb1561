"""Making a raw nnU-Net dataset with thin labels from one with thick labels and a model."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nnunetv2_cfseg.data.pairing.sidecar import SIDECAR, read_pairing
from nnunetv2_cfseg.errors.failures import explain
from nnunetv2_cfseg.files.resumable_dataset import ResumableDataset
from nnunetv2_cfseg.files.text_files import read_json
from nnunetv2_cfseg.imaging.geometry import VolumeGeometry, grid_difference
from nnunetv2_cfseg.imaging.orientation import LPS
from nnunetv2_cfseg.imaging.read import read_volume
from nnunetv2_cfseg.inference.model import Model
from nnunetv2_cfseg.inference.outputs import unfinished, write_labels
from nnunetv2_cfseg.inference.predict import closest_model, on_disk, warn_if_short
from nnunetv2_cfseg.inference.predict_volume import PredictionSettings, predict_volume
from nnunetv2_cfseg.inference.records import (
    Recipe,
    describe_files,
    describe_used,
    is_whole,
    read_record,
    same_input,
    write_record,
)
from nnunetv2_cfseg.inference.refine import refine
from nnunetv2_cfseg.inference.scans import Case, find_cases, read_scan
from nnunetv2_cfseg.nnunet.splits import SPLITS
from nnunetv2_cfseg.processes.progress_bar import progress_bar

LABELS = "labelsTr"
#: Folders of the source that are copied unchanged.
COPIED = ("imagesTr", "imagesTs", "labelsTs", "labelsTs_thin")


@dataclass(frozen=True)
class Refined:
    """How much the labels changed.

    Attributes:
        cases: number of cases.
        changed: fraction of voxels with a changed label, among those that are foreground before or after; mean over
            cases.
    """

    cases: int
    changed: float


def refine_dataset(
    source: Path,
    output: Path,
    models: Sequence[Model],
    settings: PredictionSettings,
    *,
    made_with: str,
    progress: bool = True,
) -> Refined:
    """Write the dataset; a run that was stopped is continued.

    Args:
        source: a dataset of ``cfseg make_pairs``.
        output: folder of the new dataset, named as nnU-Net names datasets.
        models: with the same labels; each case is segmented with the one whose slice distance is closest to its own.
        settings: of the prediction.
        made_with: name of the model, for the record.

    Raises:
        ValueError: the source is not a dataset of pairs, its labels are regions or not the model's, or the output holds
            something else.
        OSError: a file cannot be read or written.
    """
    factor, threshold = read_pairing(source)
    dataset = read_json(source / "dataset.json")
    configuration = models[0].configuration
    if configuration.regions_class_order is not None:
        raise ValueError(f"these labels are regions; only labels that exclude each other can be refined: {source}")
    if dict(configuration.labels) != dataset["labels"]:
        raise ValueError(f"the model must have the dataset's labels, got {dict(configuration.labels)}: {source}")
    cases = find_cases(
        source / "imagesTr", file_ending=dataset["file_ending"], channels=len(configuration.channel_names)
    )
    used = [f"{model.configuration.name}, folds {' '.join(model.folds)}" for model in models]
    origin = {
        "factor": factor, "labels": "refined", "threshold": threshold, "source": source.resolve().name,
        "model": made_with, "configurations": used, "shifts": settings.shifts,
        **({} if settings.beyond_scan is None else {"beyond_scan": settings.beyond_scan}),
    }  # fmt: skip
    thin_labels = partial(refine, factor=factor, threshold=threshold, ignore_label=dataset["labels"].get("ignore"))
    recipe = Recipe.of(models, settings, name=made_with)
    refined = ResumableDataset(
        output, SIDECAR, "a dataset of refined labels", "cfseg refine_labels", optional={"beyond_scan": None}
    )
    with refined.writing(origin):
        refined.write_record(origin)  # it has the factor, like the record of a dataset of pairs
        with unfinished(output, "0") as place:
            job = _Job(models, settings, thin_labels, recipe, output, place)
            changed = _refine_cases(cases, job, source, progress)
        _copy(source, output)
        refined.finish(dataset)
    return Refined(len(cases), float(np.mean(changed)))


@dataclass(frozen=True)
class _Job:
    """What all cases have in common."""

    models: Sequence[Model]
    settings: PredictionSettings
    thin_labels: Callable[[NDArray[np.floating], NDArray[np.integer]], NDArray[np.integer]]
    recipe: Recipe
    output: Path
    place: Path


def _refine_cases(cases: Sequence[Case], job: _Job, source: Path, progress: bool) -> list[float]:
    """Refine all cases that are not finished; a case that fails does not stop the others.

    Returns:
        For each case the fraction of its foreground that was changed.

    Raises:
        ValueError: cases failed; the message names them and says why.
    """
    changed, failed = [], []
    for case in progress_bar(cases, doing="Refining", show=progress):
        name = case.files[0].name.replace(f"{case.name}_0000", case.name, 1)
        annotation, file = source / LABELS / name, job.output / LABELS / name
        try:
            made_from = describe_files([*case.files, annotation])
            if not _is_done(case.name, file, made_from, job):
                used = describe_used(_refine_case(case, annotation, file, job))
                write_record(job.output, case.name, source=made_from, recipe=job.recipe, outputs=[file], results=used)
            changed.append(_changed(annotation, file))
        except Exception as error:
            failed.append(f"  {case.name}: {explain(error, (annotation, file, *case.files), doing='refined')}")
    if failed:
        raise ValueError("\n".join([f"{len(failed)} of {len(cases)} cases could not be refined", *failed]))
    return changed


def _is_done(case: str, file: Path, made_from: Mapping[str, Any], job: _Job) -> bool:
    """Whether complete labels from the same scan, annotation and model exist."""
    if not file.is_file():
        return False
    record = read_record(job.output, case)
    if record is None:  # written by an older version, which began the dataset with the same settings
        return _is_readable(file)
    if not same_input(record["input"], made_from) or not job.recipe.made(record):
        return False
    return is_whole(record, [file]) or _is_readable(file)  # readable but changed: somebody edited it


def _is_readable(file: Path) -> bool:
    try:
        read_volume(file)
    except ValueError:
        return False
    return True


def _refine_case(case: Case, annotation: Path, file: Path, job: _Job) -> Model:
    """Segment a scan, write its thin labels, and return the model that was used."""
    configuration = job.models[0].configuration
    order = configuration.storage_order or LPS
    scan = read_scan(case, configuration.channel_names, order, assume_hu=job.settings.assume_hu)
    model = closest_model(job.models, scan.spacing_mm[0])
    warn_if_short(case.name, scan, model)
    memory = job.place / f"{case.name}.npy"
    try:
        probabilities = on_disk(memory, (model.configuration.heads, *scan.geometry.shape))
        predict_volume(scan.channels, scan.spacing_mm, model.networks, model.configuration, job.settings,
                probabilities=scan.turn.apply(probabilities))  # fmt: skip
        labels = _thin(probabilities, annotation, scan.geometry, job)
    finally:
        memory.unlink(missing_ok=True)
    file.parent.mkdir(exist_ok=True)
    write_labels(labels, scan.geometry, file, job.place, like=annotation)
    return model


def _thin(
    probabilities: NDArray[np.floating], annotation: Path, geometry: VolumeGeometry, job: _Job
) -> NDArray[np.integer]:
    try:
        return job.thin_labels(probabilities, _labels_on(geometry, annotation))
    except ValueError as error:
        raise ValueError(explain(error, [annotation], doing="refined")) from error


def _labels_on(geometry: VolumeGeometry, annotation: Path) -> NDArray[np.integer]:
    """Read labels and check that they are on their scan's grid."""
    labels = read_volume(annotation)
    if difference := grid_difference(labels.geometry, geometry):
        raise ValueError(f"labels must have their scan's {difference}")
    return labels.values


def _copy(source: Path, output: Path) -> None:
    """Copy the folders and folds that do not change.

    Raises:
        OSError: a file cannot be read or written.
    """
    for folder in COPIED:
        if (source / folder).is_dir():
            try:
                shutil.copytree(source / folder, output / folder, dirs_exist_ok=True)
            except shutil.Error as error:  # its argument is a list of files with their reasons
                _, file, reason = error.args[0][0]
                raise OSError(f"a file cannot be copied ({reason}): {file}") from error
    if (source / SPLITS).is_file():
        shutil.copy2(source / SPLITS, output / SPLITS)


def _changed(before: Path, after: Path) -> float:
    """Fraction of voxels with a changed label, among those that are foreground before or after."""
    old_labels, new_labels = (read_volume(file).values for file in (before, after))
    foreground = (old_labels != 0) | (new_labels != 0)
    return float((old_labels != new_labels)[foreground].mean()) if foreground.any() else 0.0
