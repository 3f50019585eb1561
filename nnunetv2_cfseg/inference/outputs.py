"""The files that prediction writes, each atomically."""

from __future__ import annotations

import csv
import os
import pickle
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from shutil import rmtree
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nnunetv2_cfseg.files.atomic_files import UNFINISHED, atomic_write
from nnunetv2_cfseg.files.csv_cells import original_cell, safe_cell
from nnunetv2_cfseg.imaging.geometry import VolumeGeometry
from nnunetv2_cfseg.imaging.write import write_volume

VOLUME_COLUMNS = ["case", "class", "volume_ml"]


@contextmanager
def unfinished(folder: Path, part: str) -> Iterator[Path]:
    """Make an empty folder inside the output folder for unfinished files; it is removed afterwards."""
    scratch = folder / f"{UNFINISHED}_{part}"
    rmtree(scratch, ignore_errors=True)  # left by a process that was killed
    scratch.mkdir(parents=True)
    try:
        yield scratch
    finally:
        rmtree(scratch, ignore_errors=True)


def write_labels(
    labels: NDArray[np.integer], grid: VolumeGeometry, file: Path, place: Path, *, like: Path | None = None
) -> None:
    """Write a segmentation on its scan's own grid.

    Args:
        labels: (Z, Y, X).
        grid: of the scan.
        file: to write.
        place: folder for the unfinished file, on the same disk.
        like: the scan; its header is copied if both files are NIfTI.

    Raises:
        OSError: the disk is full or cannot be written to.
    """
    part = place / file.name
    write_volume(labels, grid, part, like=like)
    os.replace(part, file)


def write_probabilities(probabilities: NDArray[np.floating], file: Path, place: Path) -> None:
    """Write nnU-Net's ``.npz``; probabilities (P, Z, Y, X) may be larger than memory."""
    part = place / file.name
    with (
        zipfile.ZipFile(part, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
        archive.open("probabilities.npy", "w", force_zip64=True) as stream,
    ):
        np.lib.format.write_array(stream, probabilities)
    os.replace(part, file)


def write_properties(segmentation: Path, plans: Mapping[str, Any], file: Path, place: Path) -> None:
    """Write nnU-Net's ``.pkl`` of the voxels' positions, which ``nnUNetv2_ensemble`` needs beside the ``.npz``.

    Args:
        segmentation: file of the case's segmentation, on the scan's grid.
        plans: name nnU-Net's reader.
        file: to write.
        place: folder for the unfinished file, on the same disk.
    """
    from nnunetv2.imageio.reader_writer_registry import recursive_find_reader_writer_by_name  # slow to import

    reader = recursive_find_reader_writer_by_name(plans["image_reader_writer"])()
    _, properties = reader.read_seg(str(segmentation))
    part = place / file.name
    part.write_bytes(pickle.dumps(properties))
    os.replace(part, file)


def volumes_ml(labels: NDArray[np.integer], geometry: VolumeGeometry) -> dict[int, float]:
    """Volume of each label value from 0 to the largest, for labels (Z, Y, X)."""
    count_values = int(labels.max()) + 1
    # Plane by plane, since bincount copies its input to int64.
    voxels = sum(np.bincount(plane.ravel(), minlength=count_values) for plane in labels)
    return {value: float(count) * geometry.voxel_ml for value, count in enumerate(np.atleast_1d(voxels))}


def write_volumes(cases: Mapping[str, Mapping[int, float]], labels: Mapping[str, Any], file: Path) -> None:
    """Write a table of cases and classes, ``case,class,volume_ml``; other cases in the file are kept.

    Args:
        cases: for each case, ml of each label value.
        labels: of dataset.json; the volume of a region is the sum over its values.
        file: the CSV.
    """
    classes = {name: value if isinstance(value, list) else [value] for name, value in labels.items()}
    rows = [
        {"case": case, "class": name, "volume_ml": f"{sum(volumes.get(int(value), 0) for value in values):.4f}"}
        for case, volumes in cases.items()
        for name, values in classes.items()
        if name not in ("background", "ignore")
    ]
    rows += [row for row in read_volumes(file) if row["case"] not in cases]
    with atomic_write(str(file)) as temporary, open(temporary, "w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, VOLUME_COLUMNS, lineterminator="\n")
        writer.writeheader()
        for row in sorted(rows, key=lambda row: row["case"]):
            writer.writerow({name: safe_cell(value) for name, value in row.items()})


def read_volumes(file: Path) -> list[dict[str, str]]:
    """Rows of a table of volumes; none if there is no file.

    Raises:
        ValueError: the file is another table.
    """
    if not file.is_file():
        return []
    try:
        with file.open(newline="", encoding="utf-8") as stream:
            reader = csv.DictReader(stream)
            rows = [{name: original_cell(row[name] or "") for name in VOLUME_COLUMNS} for row in reader]
            columns = list(reader.fieldnames or [])
    except (KeyError, UnicodeDecodeError, csv.Error):
        columns = []
    if columns != VOLUME_COLUMNS:
        raise ValueError(f"not a table of volumes; its columns must be {', '.join(VOLUME_COLUMNS)}: {file}")
    return rows
