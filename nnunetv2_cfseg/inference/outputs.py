"""What prediction writes; each file appears whole or not at all."""

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
    """A place in the output folder for files that are not whole yet, empty and gone afterwards."""
    place = folder / f"{UNFINISHED}_{part}"
    rmtree(place, ignore_errors=True)  # left by a process that was killed
    place.mkdir(parents=True)
    try:
        yield place
    finally:
        rmtree(place, ignore_errors=True)


def write_labels(
    labels: NDArray[np.integer], grid: VolumeGeometry, file: Path, place: Path, *, like: Path | None = None
) -> None:
    """Write a segmentation on its scan's own grid.

    Args:
        labels: (Z, Y, X).
        grid: of the scan.
        file: where it goes.
        place: where it is made, on the same disk.
        like: the scan, whose header is copied from where both are NIfTI.

    Raises:
        OSError: the disk is full or cannot be written to.
    """
    part = place / file.name
    write_volume(labels, grid, part, like=like)
    os.replace(part, file)


def write_probabilities(probabilities: NDArray[np.floating], file: Path, place: Path) -> None:
    """Write nnU-Net's ``.npz`` of an array that may be larger than memory."""
    part = place / file.name
    with (
        zipfile.ZipFile(part, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
        archive.open("probabilities.npy", "w", force_zip64=True) as stream,
    ):
        np.lib.format.write_array(stream, probabilities)
    os.replace(part, file)


def write_properties(segmentation: Path, plans: Mapping[str, Any], file: Path, place: Path) -> None:
    """Write nnU-Net's ``.pkl`` of where voxels lie, as ``nnUNetv2_ensemble`` wants it beside the ``.npz``.

    Args:
        segmentation: the case's, which was written, on the scan's grid.
        plans: which name nnU-Net's reader.
    """
    from nnunetv2.imageio.reader_writer_registry import recursive_find_reader_writer_by_name  # slow to import

    reader = recursive_find_reader_writer_by_name(plans["image_reader_writer"])()
    _, properties = reader.read_seg(str(segmentation))
    part = place / file.name
    part.write_bytes(pickle.dumps(properties))
    os.replace(part, file)


def volumes_ml(labels: NDArray[np.integer], geometry: VolumeGeometry) -> dict[int, float]:
    """Of each label value, (Z, Y, X)."""
    most = int(labels.max()) + 1
    voxels = sum(np.bincount(plane.ravel(), minlength=most) for plane in labels)  # of a plane: it copies to int64
    return {value: float(count) * geometry.voxel_ml for value, count in enumerate(np.atleast_1d(voxels))}


def write_volumes(cases: Mapping[str, Mapping[int, float]], labels: Mapping[str, Any], file: Path) -> None:
    """A table of cases and classes, ``case,class,volume_ml``; other cases that it holds are kept.

    Args:
        cases: ml of each label value.
        labels: of dataset.json; a region has the volume of its values.
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
    """Rows of a table that stands there.

    Raises:
        ValueError: it is another table.
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
        raise ValueError(f"a table of volumes must have the columns {', '.join(VOLUME_COLUMNS)}, and has not: {file}")
    return rows
