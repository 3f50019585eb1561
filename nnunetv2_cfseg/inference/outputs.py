"""What prediction writes; each file appears whole or not at all."""

from __future__ import annotations

import csv
import json
import os
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from shutil import rmtree
from typing import Any

import nibabel as nib
import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from nnunetv2_cfseg.inference.scans import NIFTI, Scan

#: In the output folder: what is being written.
UNFINISHED = ".unfinished"
#: Of a NIfTI header, what says where voxels lie.
GEOMETRY = (
    "pixdim", "xyzt_units", "qform_code", "sform_code", "quatern_b", "quatern_c", "quatern_d", "qoffset_x",
    "qoffset_y", "qoffset_z", "srow_x", "srow_y", "srow_z",
)  # fmt: skip


@contextmanager
def unfinished(folder: Path, part: str) -> Iterator[Path]:
    """A place in the output folder for files that are not whole yet, empty and gone afterwards."""
    place = folder / UNFINISHED / part
    rmtree(place, ignore_errors=True)  # left by a process that was killed
    place.mkdir(parents=True)
    try:
        yield place
    finally:
        rmtree(place, ignore_errors=True)
        if not any(place.parent.iterdir()):
            place.parent.rmdir()


def write_labels(labels: NDArray[np.integer], scan: Scan, file: Path, place: Path) -> None:
    """Write a segmentation on its scan's own grid.

    Args:
        labels: (Z, Y, X).
        file: where it goes.
        place: where it is made, on the same disk.

    Raises:
        OSError: the disk is full or cannot be written to.
    """
    part = place / file.name
    sources = [source for source in scan.case.files[:1] if source.name.endswith(NIFTI)]
    try:
        if sources and file.name.endswith(NIFTI):
            _write_nifti(labels, sources[0], part)
        else:
            sitk.WriteImage(scan.grid.place(labels), str(part), useCompression=True)
    except (RuntimeError, OSError) as error:
        raise OSError(f"a segmentation must fit on the disk, and cannot be written ({error}): {file}") from error
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


def write_json(file: Path, content: Any) -> None:
    """A file that appears whole or not at all."""
    temporary = file.with_name(f".{file.name}")
    temporary.write_text(json.dumps(content, indent=2) + "\n")
    os.replace(temporary, file)


def write_volumes(rows: Sequence[Mapping[str, Any]], file: Path) -> None:
    """A table of cases and classes, ``case,class,volume_ml``."""
    temporary = file.with_name(f".{file.name}")
    with temporary.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, ["case", "class", "volume_ml"], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    os.replace(temporary, file)


def _write_nifti(labels: NDArray[np.integer], source: Path, file: Path) -> None:
    """With the geometry of the scan's header, byte for byte; nothing else of it, which may name a patient."""
    image: Any = nib.load(source)
    header = type(image.header)()
    header.set_data_dtype(labels.dtype)
    header.set_data_shape(labels.T.shape)
    for name in GEOMETRY:
        header[name] = image.header[name]
    nib.save(type(image)(labels.T, None, header), file)
