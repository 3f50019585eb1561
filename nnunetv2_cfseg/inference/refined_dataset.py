"""A raw nnU-Net dataset with thin labels, out of one with thick labels and a model."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from nnunetv2_cfseg.data.pairing.sidecar import SIDECAR, read_pairing
from nnunetv2_cfseg.files import read_json, write_json
from nnunetv2_cfseg.imaging.geometry import VolumeGeometry, grid_difference
from nnunetv2_cfseg.imaging.orientation import LPS
from nnunetv2_cfseg.imaging.read import read_volume
from nnunetv2_cfseg.inference.model import Model
from nnunetv2_cfseg.inference.outputs import unfinished, write_labels
from nnunetv2_cfseg.inference.predict import closest_model, on_disk, warn_if_short
from nnunetv2_cfseg.inference.refine import refine
from nnunetv2_cfseg.inference.scans import Case, find_cases, read_scan
from nnunetv2_cfseg.inference.segment import Settings, segment
from nnunetv2_cfseg.planners.splits import SPLITS

#: Of the source, what is copied as it is.
COPIED = ("imagesTr", "imagesTs", "labelsTs", "labelsTs_thin")


@dataclass(frozen=True)
class Refined:
    """What became of the labels.

    Attributes:
        cases: how many there are.
        changed: share of a case's voxels, of those that either labels call foreground, whose label is another one; mean
            of the cases.
    """

    cases: int
    changed: float


def refine_dataset(
    source: Path, output: Path, models: Sequence[Model], settings: Settings, *, made_with: str, progress: bool = True
) -> Refined:
    """Write the dataset; one that was stopped goes on.

    Args:
        source: a dataset of ``cfseg make_pairs``.
        output: folder of the new one, named as nnU-Net names datasets.
        models: of the same labels; each case is segmented with that whose slices are most like its own.
        settings: of their prediction.
        made_with: name of the model, for the record.

    Raises:
        ValueError: a source that is no dataset of pairs, labels that are regions, labels that are not the models', or
            an output that holds something else.
        OSError: a file cannot be read or written.
    """
    factor, threshold = read_pairing(source)
    dataset = read_json(source / "dataset.json")
    configuration = models[0].configuration
    if configuration.regions_class_order is not None:
        raise ValueError(f"labels must exclude each other to be refined, and these are regions: {source}")
    if dict(configuration.labels) != dataset["labels"]:
        raise ValueError(f"the model must have the dataset's labels, got {dict(configuration.labels)}: {source}")
    used = [f"{model.configuration.name}, folds {' '.join(model.folds)}" for model in models]
    beyond_scan = {} if settings.beyond_scan is None else {"beyond_scan": settings.beyond_scan}
    _begin(output, {
        "factor": factor, "labels": "refined", "threshold": threshold, "source": source.resolve().name,
        "model": made_with, "configurations": used, "shifts": settings.shifts,
        **beyond_scan,
    })  # fmt: skip
    thin_labels = partial(refine, factor=factor, threshold=threshold, ignore_label=dataset["labels"].get("ignore"))
    changed = []
    cases = find_cases(
        source / "imagesTr", file_ending=dataset["file_ending"], channels=len(configuration.channel_names)
    )
    with unfinished(output, "0") as place:
        for case in tqdm(cases, unit="case", disable=not progress):
            file = Path("labelsTr", f"{case.name}{dataset['file_ending']}")
            if not (output / file).is_file():
                _refine_case(case, source / file, output / file, thin_labels, models, settings, place)
            changed.append(_changed(source / file, output / file))
    for folder in COPIED:
        if (source / folder).is_dir():
            shutil.copytree(source / folder, output / folder, dirs_exist_ok=True)
    if (source / SPLITS).is_file():
        shutil.copy2(source / SPLITS, output / SPLITS)
    write_json(output / "dataset.json", dataset)  # last: nnU-Net takes it for a dataset
    return Refined(len(cases), float(np.mean(changed)))


def _refine_case(
    case: Case,
    annotation: Path,
    file: Path,
    thin_labels: Callable[[NDArray[np.floating], NDArray[np.integer]], NDArray[np.integer]],
    models: Sequence[Model],
    settings: Settings,
    place: Path,
) -> None:
    """Segment a scan and write what its annotation and the network allow."""
    configuration = models[0].configuration
    order = configuration.storage_order or LPS
    scan = read_scan(case, configuration.channel_names, order, assume_hu=settings.assume_hu)
    model = closest_model(models, scan.spacing_mm[0])
    warn_if_short(case.name, scan, model)
    memory = place / f"{case.name}.npy"
    probabilities = on_disk(memory, (model.configuration.heads, *scan.geometry.shape))
    segment(scan.channels, scan.spacing_mm, model.networks, model.configuration, settings,
            probabilities=scan.turn.apply(probabilities))  # fmt: skip
    try:
        labels = thin_labels(probabilities, _labels_on(scan.geometry, annotation))
    except ValueError as error:
        raise ValueError(f"{error}: {annotation}") from error
    finally:
        memory.unlink()
    file.parent.mkdir(exist_ok=True)
    write_labels(labels, scan.geometry, file, place, like=annotation)


def _labels_on(geometry: VolumeGeometry, annotation: Path) -> NDArray[np.integer]:
    """Labels that lie on their scan."""
    labels = read_volume(annotation)
    if difference := grid_difference(labels.geometry, geometry):
        raise ValueError(f"labels must have their scan's {difference}")
    return labels.values


def _changed(before: Path, after: Path) -> float:
    """Share of a case's foreground, in either labels, that is of another class now."""
    one, other = (read_volume(file).values for file in (before, after))
    either = (one != 0) | (other != 0)
    return float((one != other)[either].mean()) if either.any() else 0.0


def _begin(output: Path, origin: dict[str, object]) -> None:
    """Take a folder, new or begun with the same source.

    Raises:
        ValueError: it holds something else.
    """
    record = output / SIDECAR  # which says the factor, as one of pairs does
    if record.is_file():
        if (before := read_json(record)) != origin:
            raise ValueError(f"refined labels go on with what they were begun with, {before}, got {origin}: {output}")
        return
    if output.exists() and any(output.glob("[!.]*")):
        raise ValueError(f"a refined dataset needs a folder of its own, and this one is not empty: {output}")
    output.mkdir(parents=True, exist_ok=True)
    write_json(record, origin)
