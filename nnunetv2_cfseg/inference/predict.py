"""Many scans, one after another, each read and written while another is segmented."""

from __future__ import annotations

import os
import sys
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from math import log
from pathlib import Path

import numpy as np
from numpy.lib.format import open_memmap
from numpy.typing import NDArray
from tqdm import tqdm

from nnunetv2_cfseg.imaging.geometry import VolumeGeometry
from nnunetv2_cfseg.imaging.orientation import LPS
from nnunetv2_cfseg.inference.model import Model
from nnunetv2_cfseg.inference.outputs import unfinished, write_labels, write_probabilities, write_properties
from nnunetv2_cfseg.inference.scans import Case, Scan, read_scan
from nnunetv2_cfseg.inference.segment import Settings, segment, shorter_than_block

#: What bad files, a full disk and a lack of memory raise; torch has RuntimeError for the last.
FAILURES = (ValueError, OSError, RuntimeError, MemoryError)


@dataclass(frozen=True)
class Outcome:
    """How a case ended.

    Attributes:
        case: it.
        error: what was wrong; None if nothing was.
        volumes_ml: of each label value.
    """

    case: Case
    error: str | None = None
    volumes_ml: Mapping[int, float] = field(default_factory=dict)


def predict(
    cases: Sequence[Case],
    models: Sequence[Model],
    output: Path,
    settings: Settings,
    *,
    part: str = "0",
    save_probabilities: bool = False,
    progress: bool = True,
) -> list[Outcome]:
    """Segment cases and write the segmentations; a case that fails does not stop the others.

    Args:
        models: of the same classes; each case is segmented with that whose slices are most like its own.
        output: folder, made if it is not there.
        part: a name that no other process that writes there has.
        save_probabilities: also write nnU-Net's ``.npz`` and ``.pkl``, of which ``nnUNetv2_ensemble`` makes labels.

    Returns:
        How each case ended, in order.

    Raises:
        ValueError: a segmentation would replace its scan.
        OSError: the output folder cannot be made.
    """
    output.mkdir(parents=True, exist_ok=True)
    for case in cases:
        file = (output / f"{case.name}{models[0].configuration.file_ending}").resolve()
        if file in (source.resolve() for source in case.files):
            raise ValueError(
                f"-o must be another folder than the scan's, whose name its segmentation would have: {file}"
            )
    job = _Job(models, output, settings, save_probabilities, progress)
    with unfinished(output, part) as place, ThreadPoolExecutor(1) as reader, ThreadPoolExecutor(1) as writer:
        ended: list[Future[Outcome]] = []
        scans = _read_ahead(cases, job, reader)
        for case, scan in tqdm(scans, total=len(cases), unit="case", disable=not progress):
            segmented = job.segment(case, scan, place)
            if ended:
                ended[-1].result()  # no more than one waits to be written, so memory does not grow with the cases
            ended.append(writer.submit(job.write, case, segmented, place))
        return [future.result() for future in ended]


def closest_model(models: Sequence[Model], thickness_mm: float) -> Model:
    """The model whose slices are most like a scan's, as a ratio."""
    return min(models, key=lambda model: abs(log(model.configuration.spacing_mm[0] / thickness_mm)))


@dataclass(frozen=True)
class _Segmented:
    """A case whose labels are to be written."""

    labels: NDArray[np.integer]
    geometry: VolumeGeometry
    probabilities: NDArray[np.float32] | None


@dataclass(frozen=True)
class _Job:
    models: Sequence[Model]
    output: Path
    settings: Settings
    save_probabilities: bool
    progress: bool

    def read(self, case: Case) -> Scan | str:
        try:
            configuration = self.models[0].configuration
            order = configuration.storage_order or LPS
            return read_scan(case, configuration.channel_names, order, assume_hu=self.settings.assume_hu)
        except FAILURES as error:
            return str(error)

    def segment(self, case: Case, scan: Scan | str, place: Path) -> _Segmented | str:
        if isinstance(scan, str):
            return scan
        model = closest_model(self.models, scan.spacing_mm[0])
        configuration = model.configuration
        warn_if_short(case.name, scan, model)
        try:
            probabilities = turned = None
            if self.save_probabilities:
                # As nnU-Net's reader would have the scan: RAS if it turns all to that, else as the file does.
                shape = scan.channels[0].shape if configuration.reorients else scan.geometry.shape
                probabilities = on_disk(place / f"{case.name}.npy", (configuration.heads, *shape))
                turned = probabilities if configuration.reorients else scan.turn.apply(probabilities)
            with tqdm(total=len(scan.channels[0]), unit="slice", desc=case.name, leave=False,
                      disable=not self.progress, delay=2) as bar:  # fmt: skip
                labels = segment(scan.channels, scan.spacing_mm, model.networks, configuration,
                    self.settings, probabilities=turned, progress=bar.update)  # fmt: skip
        except FAILURES as error:
            return str(error)
        return _Segmented(np.ascontiguousarray(scan.turn.undo(labels)), scan.geometry, probabilities)

    def write(self, case: Case, segmented: _Segmented | str, place: Path) -> Outcome:
        if isinstance(segmented, str):
            return Outcome(case, segmented)
        configuration = self.models[0].configuration
        file = self.output / f"{case.name}{configuration.file_ending}"
        try:
            if segmented.probabilities is not None:
                write_probabilities(segmented.probabilities, file.with_name(f"{case.name}.npz"), place)
            write_labels(segmented.labels, segmented.geometry, file, place, like=case.files[0] if case.files else None)
            if segmented.probabilities is not None:
                write_properties(file, self.models[0].plans, file.with_name(f"{case.name}.pkl"), place)
            return Outcome(case, None, volumes_ml(segmented.labels, segmented.geometry))
        except FAILURES as error:
            return Outcome(case, str(error))
        finally:
            (place / f"{case.name}.npy").unlink(missing_ok=True)


def warn_if_short(name: str, scan: Scan, model: Model) -> None:
    """Say on stderr where a scan is shorter than a block of the model: less is seen there than training saw."""
    for phrase in shorter_than_block(scan.channels[0].shape, scan.spacing_mm, model.networks[0], model.configuration):
        tqdm.write(f"Warning: {name} has {phrase}; its segmentation is less certain", file=sys.stderr)


def volumes_ml(labels: NDArray[np.integer], geometry: VolumeGeometry) -> dict[int, float]:
    """Of each label value, (Z, Y, X)."""
    most = int(labels.max()) + 1
    voxels = sum(np.bincount(plane.ravel(), minlength=most) for plane in labels)  # of a plane: it copies to int64
    return {value: float(count) * geometry.voxel_ml for value, count in enumerate(np.atleast_1d(voxels))}


def on_disk(file: Path, shape: tuple[int, ...]) -> NDArray[np.float32]:
    """An array that is too large for memory.

    Raises:
        OSError: the disk is full.
    """
    array = open_memmap(file, "w+", np.dtype(np.float32), shape)
    with file.open("r+b") as stream:
        os.posix_fallocate(stream.fileno(), 0, file.stat().st_size)  # or writing to it would end the process
    return array


def _read_ahead(cases: Sequence[Case], job: _Job, reader: ThreadPoolExecutor) -> Iterable[tuple[Case, Scan | str]]:
    """Scans, or why they cannot be read, each read while the one before is worked on."""
    coming: deque[Future[Scan | str]] = deque()
    for index, case in enumerate(cases):
        for following in cases[index + len(coming) : index + 2]:
            coming.append(reader.submit(job.read, following))
        yield case, coming.popleft().result()
