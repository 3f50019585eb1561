"""``cfseg quantify``: measures segmentations and writes tables."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from nnunetv2_cfseg.errors.failures import explain
from nnunetv2_cfseg.files.atomic_files import write_json
from nnunetv2_cfseg.files.output_paths import check_not_read
from nnunetv2_cfseg.nnunet.classes import Classes, SegmentationClass, read_classes_and_ending
from nnunetv2_cfseg.processes.parallel_map import parallel_map
from nnunetv2_cfseg.processes.progress_bar import progress_bar
from nnunetv2_cfseg.quantify.case import CaseQuantities, mesh_name, quantify_case
from nnunetv2_cfseg.quantify.inputs import Scan, default_dataset_json, find_scans
from nnunetv2_cfseg.quantify.midline import SYMMETRY
from nnunetv2_cfseg.quantify.output import check_output, write_csv
from nnunetv2_cfseg.quantify.record import MESHES, QuantifySettings, record
from nnunetv2_cfseg.quantify.tables import (
    CLASS_COLUMNS,
    LESION_COLUMNS,
    LONGITUDINAL_COLUMNS,
    class_row,
    lesion_rows,
    longitudinal_rows,
)
from nnunetv2_cfseg.quantify.timepoints import Timepoint, visits_from_csv, visits_from_names

#: The files that are written, besides meshes.
TABLES = ("classes.csv", "lesions.csv", "longitudinal.csv", "quantities.json")


@dataclass(frozen=True)
class Quantities:
    """What was measured.

    Attributes:
        cases: in the order in which they were given.
        classes: of the dataset.
        visits: scans of the patients, if scans were grouped.
    """

    cases: list[CaseQuantities]
    classes: Classes
    visits: list[Timepoint] = field(default_factory=list)

    @property
    def by_symmetry(self) -> int:
        """Cases whose midline is their plane of symmetry."""
        return sum(case.midline.source == SYMMETRY for case in self.cases)


def quantify(
    inputs: Sequence[Path],
    output: Path,
    *,
    dataset_json: Path | None = None,
    images: Path | None = None,
    settings: QuantifySettings | None = None,
    num_processes: int = 2,
    progress: bool = True,
) -> Quantities:
    """Measure segmentations and write ``classes.csv``, ``lesions.csv`` and ``quantities.json``.

    If scans are grouped, it also writes ``longitudinal.csv``; on request it writes surfaces to ``meshes/``. A file
    appears whole or not at all, and tables only after all cases were measured.

    Args:
        inputs: segmentations, and folders of them.
        output: folder; it is created if needed.
        dataset_json: names classes and file ending; None: the one in the first folder.
        images: CTs in which the midline is looked for: a folder of ``CASE_0000`` files, or of folders
            ``CASE`` of DICOM slices; the file or the DICOM folder of the only case.
        settings: what is measured.
        num_processes: how many measure at once; each holds one case.
        progress: show a progress bar.

    Raises:
        ValueError: files are missing, cannot be read, hold labels that the dataset lacks or do not belong together;
            scans cannot be grouped; settings are out of range.
        OSError: a file cannot be written, or a process was killed.
    """
    settings = settings or QuantifySettings()
    if num_processes < 1:
        raise ValueError(f"the number of processes must be >= 1, got {num_processes}")
    if not settings.smallest_ml >= 0:
        raise ValueError(f"the smallest volume of a lesion must be >= 0 ml, got {settings.smallest_ml:g} ml")
    check_output(output)
    dataset_json = dataset_json or default_dataset_json(inputs)
    classes, file_ending = read_classes_and_ending(dataset_json)
    scans = find_scans(inputs, file_ending=file_ending, images=images, series=settings.series)
    visits = _visits(settings, [scan.case for scan in scans])
    if settings.mesh:
        _check_mesh_names(scans, classes.foreground)
    check_not_read([output / name for name in TABLES], _inputs(scans, dataset_json, settings))
    output.mkdir(parents=True, exist_ok=True)
    jobs = [_Job(scan, classes, settings.smallest_ml, output / MESHES if settings.mesh else None) for scan in scans]
    quantities = Quantities(_measure(jobs, num_processes, progress), classes, visits)
    _write(quantities, scans, settings, output)
    return quantities


def _inputs(scans: Sequence[Scan], dataset_json: Path, settings: QuantifySettings) -> list[Path | None]:
    """All files that are read."""
    files = [file for scan in scans for file in (scan.segmentation, scan.image)]
    return [*files, dataset_json, settings.scans]


@dataclass(frozen=True)
class _Job:
    scan: Scan
    classes: Classes
    smallest_ml: float
    mesh_folder: Path | None


def _visits(settings: QuantifySettings, cases: list[str]) -> list[Timepoint]:
    if settings.scans is not None and settings.patient_pattern is not None:
        raise ValueError("scans must be grouped by a table or by a pattern, got both")
    if settings.scans is not None:
        return visits_from_csv(settings.scans, cases)
    return [] if settings.patient_pattern is None else visits_from_names(settings.patient_pattern, cases)


def _check_mesh_names(scans: Sequence[Scan], foreground: Sequence[SegmentationClass]) -> None:
    """Refuse meshes of the same name, such as those of class b_c in case a and of class c in case a_b."""
    taken: dict[str, str] = {}
    for scan in scans:
        for entry in foreground:
            name = mesh_name(scan.case, entry)
            if name.lower() in taken:
                raise ValueError(
                    f"each mesh must have a name of its own, and {name} is that of {taken[name.lower()]} and of "
                    f"{entry.name} in {scan.case}"
                )
            taken[name.lower()] = f"{entry.name} in {scan.case}"


def _measure(jobs: Sequence[_Job], num_processes: int, progress: bool) -> list[CaseQuantities]:
    bar = progress_bar(doing="Quantifying", total=len(jobs), show=progress)
    measured: dict[str, CaseQuantities] = {}
    with bar:
        for case in parallel_map(_run_job, jobs, num_processes=min(num_processes, len(jobs))):
            measured[case.case] = case
            bar.update()
    return [measured[job.scan.case] for job in jobs]


def _run_job(job: _Job) -> CaseQuantities:
    """Measure a case.

    Raises:
        ValueError: it cannot be measured for any reason; the message names one of its files.
    """
    try:
        return quantify_case(job.scan, job.classes, smallest_ml=job.smallest_ml, mesh_folder=job.mesh_folder)
    except Exception as error:
        files = [file for file in (job.scan.segmentation, job.scan.image) if file is not None]
        raise ValueError(explain(error, files, doing="measured")) from error


def _write(quantities: Quantities, scans: Sequence[Scan], settings: QuantifySettings, output: Path) -> None:
    foreground = quantities.classes.foreground
    changes = longitudinal_rows(quantities.visits, {case.case: case for case in quantities.cases}, foreground)
    classes = [class_row(case, entry) for case in quantities.cases for entry in foreground]
    lesions = [row for case in quantities.cases for entry in foreground for row in lesion_rows(case, entry)]
    table, lesion_table, changes_table, numbers = (output / name for name in TABLES)
    write_csv(table, list(CLASS_COLUMNS), classes)
    write_csv(lesion_table, list(LESION_COLUMNS), lesions)
    if quantities.visits:
        write_csv(changes_table, list(LONGITUDINAL_COLUMNS), changes)
    content = record(quantities.cases, scans, foreground, changes=changes, settings=settings, folder=output)
    write_json(numbers, content)
