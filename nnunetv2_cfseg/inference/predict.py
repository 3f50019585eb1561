"""Segmenting many scans one after another, each read and written while another is segmented."""

from __future__ import annotations

import os
import sys
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from math import inf, log
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib.format import open_memmap
from numpy.typing import NDArray
from tqdm import tqdm

from nnunetv2_cfseg.errors.failures import explain
from nnunetv2_cfseg.files.output_paths import check_not_read
from nnunetv2_cfseg.imaging.geometry import VolumeGeometry
from nnunetv2_cfseg.imaging.orientation import LPS
from nnunetv2_cfseg.inference.model import Model
from nnunetv2_cfseg.inference.outputs import unfinished, volumes_ml, write_labels, write_probabilities, write_properties
from nnunetv2_cfseg.inference.predict_volume import PredictionSettings, predict_volume, shorter_than_block
from nnunetv2_cfseg.inference.records import Recipe, describe_input, describe_used, record_file, write_record
from nnunetv2_cfseg.inference.scans import Case, Scan, read_scan
from nnunetv2_cfseg.processes.progress_bar import progress_bar

#: Endings of nnU-Net's files of probabilities.
PROBABILITIES = (".npz", ".pkl")


@dataclass(frozen=True)
class Outcome:
    """The outcome of a case.

    Attributes:
        case: the case.
        error: what went wrong; None if nothing did.
        volumes_ml: volume of each label value.
    """

    case: Case
    error: str | None = None
    volumes_ml: Mapping[int, float] = field(default_factory=dict)


def predict(
    cases: Sequence[Case],
    models: Sequence[Model],
    output: Path,
    settings: PredictionSettings,
    *,
    recipe: Recipe,
    part: str = "0",
    save_probabilities: bool = False,
    after_each: Callable[[Outcome], object] = lambda outcome: None,
    progress: bool = True,
) -> list[Outcome]:
    """Segment cases and write the segmentations; a case that fails does not stop the others.

    Args:
        models: with the same classes; each case is segmented with the one whose slice distance is closest to its own.
        output: folder, made if it does not exist.
        recipe: models and settings, for the cases' records.
        part: a name that no other process writing to this folder has.
        save_probabilities: also write nnU-Net's ``.npz`` and ``.pkl``, which ``nnUNetv2_ensemble`` turns into labels.
        after_each: called after a segmentation has been written; if it raises, the case has failed.

    Returns:
        The outcome of each case, in order.

    Raises:
        ValueError: a segmentation would replace a scan.
        OSError: the output folder cannot be made.
    """
    output.mkdir(parents=True, exist_ok=True)
    check_outputs(cases, output, models[0].configuration.file_ending)
    job = _Job(models, output, settings, recipe, save_probabilities, after_each, progress)
    with unfinished(output, part) as place, ThreadPoolExecutor(1) as reader, ThreadPoolExecutor(1) as writer:
        ended: list[Future[Outcome]] = []
        scans = _read_ahead(cases, job, reader)
        for case, scan in progress_bar(scans, total=len(cases), show=progress):
            segmented = job.segment(case, scan, place)
            if ended:
                ended[-1].result()  # at most one case waits to be written, so memory does not grow with their number
            ended.append(writer.submit(job.write, case, segmented, place))
        return [future.result() for future in ended]


def check_outputs(cases: Sequence[Case], output: Path, file_ending: str) -> None:
    """Refuse to write segmentations over scans.

    Raises:
        ValueError: an output of a case is an input file of a case.
    """
    outputs = [output / f"{case.name}{ending}" for case in cases for ending in (file_ending, *PROBABILITIES)]
    check_not_read(outputs, [file for case in cases for file in case.sources])


def closest_model(models: Sequence[Model], thickness_mm: float) -> Model:
    """The model whose slice distance is closest to a scan's, by ratio.

    Raises:
        ValueError: the thickness is not a positive number.
    """
    if not 0 < thickness_mm < inf:
        raise ValueError(f"slices must be more than 0 mm apart, got {thickness_mm:g} mm")
    return min(models, key=lambda model: abs(log(model.configuration.spacing_mm[0] / thickness_mm)))


@dataclass(frozen=True)
class _Read:
    """A case ready to be segmented; ``source`` describes its files for the record."""

    scan: Scan
    source: Mapping[str, Any]


@dataclass(frozen=True)
class _Segmented:
    """A segmented case, ready to be written; ``model`` describes the one that was used, for the record."""

    labels: NDArray[np.integer]
    geometry: VolumeGeometry
    probabilities: NDArray[np.float32] | None
    source: Mapping[str, Any]
    model: Mapping[str, str]


@dataclass(frozen=True)
class _Job:
    """The three steps of a case; if a step fails it returns a sentence instead of its result."""

    models: Sequence[Model]
    output: Path
    settings: PredictionSettings
    recipe: Recipe
    save_probabilities: bool
    after_each: Callable[[Outcome], object]
    progress: bool

    def read(self, case: Case) -> _Read | str:
        try:
            source, configuration = describe_input(case), self.models[0].configuration
            order = configuration.storage_order or LPS
            scan = read_scan(case, configuration.channel_names, order, assume_hu=self.settings.assume_hu)
            return _Read(scan, source)
        except Exception as error:
            return explain(error, (case.place, *case.sources))

    def segment(self, case: Case, read: _Read | str, place: Path) -> _Segmented | str:
        if isinstance(read, str):
            return read
        scan = read.scan
        try:
            model = closest_model(self.models, scan.spacing_mm[0])
            configuration = model.configuration
            warn_if_short(case.name, scan, model)
            probabilities = turned = None
            if self.save_probabilities:
                # In the order of nnU-Net's reader: RAS if it turns every file to that, otherwise the file's own.
                shape = scan.channels[0].shape if configuration.reorients else scan.geometry.shape
                probabilities = on_disk(place / f"{case.name}.npy", (configuration.heads, *shape))
                turned = probabilities if configuration.reorients else scan.turn.apply(probabilities)
            with tqdm(total=len(scan.channels[0]), unit="slice", desc=case.name, leave=False,
                      disable=not self.progress, delay=2) as bar:  # fmt: skip
                labels = predict_volume(scan.channels, scan.spacing_mm, model.networks, configuration,
                    self.settings, probabilities=turned, progress=bar.update)  # fmt: skip
            labels = np.ascontiguousarray(scan.turn.undo(labels))
        except Exception as error:
            return explain(error, (case.place, *case.sources, place / f"{case.name}.npy"), doing="segmented")
        return _Segmented(labels, scan.geometry, probabilities, read.source, describe_used(model))

    def write(self, case: Case, segmented: _Segmented | str, place: Path) -> Outcome:
        if isinstance(segmented, str):
            return Outcome(case, segmented)
        file = self.output / f"{case.name}{self.models[0].configuration.file_ending}"
        endings = () if segmented.probabilities is None else PROBABILITIES
        outputs = [file, *(file.with_name(f"{case.name}{ending}") for ending in endings)]
        record = partial(write_record, self.output, case.name, source=segmented.source, recipe=self.recipe)
        try:
            record()
            if segmented.probabilities is not None:
                write_probabilities(segmented.probabilities, outputs[1], place)
            write_labels(segmented.labels, segmented.geometry, file, place, like=case.files[0] if case.files else None)
            if segmented.probabilities is not None:
                write_properties(file, self.models[0].plans, outputs[2], place)
            outcome = Outcome(case, None, volumes_ml(segmented.labels, segmented.geometry))
            results = {**segmented.model, "volumes_ml": outcome.volumes_ml}
            record(outputs=outputs, results=results)
            self.after_each(outcome)
            return outcome
        except Exception as error:
            self._forget(case, file)
            return Outcome(case, explain(error, [file, place / file.name], doing="written"))
        finally:
            with suppress(OSError):
                (place / f"{case.name}.npy").unlink(missing_ok=True)

    def _forget(self, case: Case, file: Path) -> None:
        """Remove the record of a segmentation that was not written."""
        with suppress(OSError):
            if not file.exists():
                record_file(self.output, case.name).unlink(missing_ok=True)
                record_file(self.output, case.name).parent.rmdir()  # fails unless it is empty


def warn_if_short(name: str, scan: Scan, model: Model) -> None:
    """Warn on stderr if a scan is shorter than a block of the model, so that the network sees less than in training."""
    for phrase in shorter_than_block(scan.channels[0].shape, scan.spacing_mm, model.networks[0], model.configuration):
        tqdm.write(f"Warning: {name} has {phrase}; its segmentation is less certain", file=sys.stderr)


def on_disk(file: Path, shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Make an array that lives on disk, for arrays too large for memory.

    Raises:
        OSError: the disk is full.
    """
    try:
        array = open_memmap(file, "w+", np.dtype(np.float32), shape)
        with file.open("r+b") as stream:
            # Without this, writing to the array on a full disk would kill the process.
            os.posix_fallocate(stream.fileno(), 0, file.stat().st_size)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(file)) from error  # on a full disk it does not name the file
    return array


def _read_ahead(cases: Sequence[Case], job: _Job, reader: ThreadPoolExecutor) -> Iterable[tuple[Case, _Read | str]]:
    """Yield each scan, or why it cannot be read; the next one is read while a scan is worked on."""
    pending: deque[Future[_Read | str]] = deque()
    for index, case in enumerate(cases):
        for following in cases[index + len(pending) : index + 2]:
            pending.append(reader.submit(job.read, following))
        yield case, pending.popleft().result()
