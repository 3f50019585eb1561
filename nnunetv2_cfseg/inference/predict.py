"""Many scans, one after another, each read and written while another is segmented."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from math import log, prod
from pathlib import Path
from time import perf_counter

import numpy as np
from numpy.lib.format import open_memmap
from numpy.typing import NDArray
from tqdm import tqdm

from nnunetv2_cfseg.inference.model import Model
from nnunetv2_cfseg.inference.outputs import unfinished, write_labels, write_probabilities
from nnunetv2_cfseg.inference.scans import Case, Scan, read_scan
from nnunetv2_cfseg.inference.segment import Settings, segment

#: What bad files, a full disk and a lack of memory raise; torch has RuntimeError for the last.
FAILURES = (ValueError, OSError, RuntimeError, MemoryError)


@dataclass(frozen=True)
class Outcome:
    """How a case ended.

    Attributes:
        case: it.
        error: what was wrong; None if nothing was.
        configuration: that it was segmented with.
        seconds: of segmenting it.
        volumes_ml: of each label value that is not background.
    """

    case: Case
    error: str | None = None
    configuration: str = ""
    seconds: float = 0.0
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
        save_probabilities: also write nnU-Net's ``.npz``.

    Returns:
        How each case ended, in order.

    Raises:
        OSError: the output folder cannot be made.
    """
    output.mkdir(parents=True, exist_ok=True)
    job = _Job(models, output, settings, save_probabilities, progress)
    with unfinished(output, part) as place, ThreadPoolExecutor(1) as reader, ThreadPoolExecutor(1) as writer:
        ended: list[Future[Outcome]] = []
        scans = _read_ahead(cases, job, reader)
        for case, scan in tqdm(scans, total=len(cases), unit="case", disable=not progress):
            if ended:
                ended[-1].result()  # no more than one waits to be written, so memory does not grow with the cases
            ended.append(writer.submit(job.write, case, job.segment(case, scan, place), place))
        return [future.result() for future in ended]


def closest_model(models: Sequence[Model], thickness_mm: float) -> Model:
    """The model whose slices are most like a scan's, as a ratio."""
    return min(models, key=lambda model: abs(log(model.configuration.spacing_mm[0] / thickness_mm)))


@dataclass(frozen=True)
class _Segmented:
    """A case whose labels are to be written."""

    scan: Scan
    labels: NDArray[np.integer]
    probabilities: NDArray[np.float32] | None
    configuration: str
    seconds: float


@dataclass(frozen=True)
class _Job:
    models: Sequence[Model]
    output: Path
    settings: Settings
    save_probabilities: bool
    progress: bool

    def read(self, case: Case) -> Scan | str:
        try:
            return read_scan(case, self.models[0].configuration.channel_names)
        except FAILURES as error:
            return str(error)

    def segment(self, case: Case, scan: Scan | str, place: Path) -> _Segmented | str:
        if isinstance(scan, str):
            return scan
        start = perf_counter()
        model = closest_model(self.models, scan.grid.spacing_mm[0])
        try:
            probabilities = None
            if self.save_probabilities:
                shape = (model.configuration.heads, *scan.grid.shape)  # of all classes, too large for memory
                probabilities = open_memmap(place / f"{case.name}.npy", "w+", np.dtype(np.float32), shape)
            with tqdm(total=scan.grid.shape[0], unit="slice", desc=case.name, leave=False,
                      disable=not self.progress, delay=2) as bar:  # fmt: skip
                labels = segment(scan.channels, scan.grid.spacing_mm, model.networks, model.configuration,
                    self.settings, probabilities=probabilities, progress=bar.update)  # fmt: skip
        except FAILURES as error:
            return str(error)
        return _Segmented(scan, labels, probabilities, model.configuration.name, perf_counter() - start)

    def write(self, case: Case, segmented: _Segmented | str, place: Path) -> Outcome:
        if isinstance(segmented, str):
            return Outcome(case, segmented)
        configuration = self.models[0].configuration
        try:
            file = self.output / f"{case.name}{configuration.file_ending}"
            if segmented.probabilities is not None:
                write_probabilities(segmented.probabilities, file.with_name(f"{case.name}.npz"), place)
                (place / f"{case.name}.npy").unlink()
            write_labels(segmented.labels, segmented.scan, file, place)
        except FAILURES as error:
            return Outcome(case, str(error))
        voxel_ml = prod(segmented.scan.grid.spacing_mm) / 1000
        counts = np.bincount(segmented.labels.ravel(), minlength=max(configuration.label_values) + 1)
        volumes = {value: float(counts[value]) * voxel_ml for value in configuration.label_values if value}
        return Outcome(case, None, segmented.configuration, segmented.seconds, volumes)


def _read_ahead(cases: Sequence[Case], job: _Job, reader: ThreadPoolExecutor) -> Iterable[tuple[Case, Scan | str]]:
    """Scans, or why they cannot be read, each read while the one before is worked on."""
    coming = reader.submit(job.read, cases[0]) if cases else None
    for index, case in enumerate(cases):
        assert coming is not None
        scan = coming.result()
        coming = reader.submit(job.read, cases[index + 1]) if index + 1 < len(cases) else None
        yield case, scan
