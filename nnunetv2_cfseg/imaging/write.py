"""Writes images to a temporary file, reads them back, and only then moves them into place.

SimpleITK does not report a failed write of a NIfTI file: on a full disk or beyond a size limit it silently leaves half
a file.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import SimpleITK as sitk

from nnunetv2_cfseg.imaging import nifti
from nnunetv2_cfseg.imaging.geometry import Volume, VolumeGeometry, grid_difference
from nnunetv2_cfseg.imaging.read import read_volume

#: Fields of a NIfTI header that say where voxels lie.
GEOMETRY_FIELDS = (
    "pixdim", "xyzt_units", "qform_code", "sform_code", "quatern_b", "quatern_c", "quatern_d", "qoffset_x",
    "qoffset_y", "qoffset_z", "srow_x", "srow_y", "srow_z",
)  # fmt: skip


def write_volume(values: np.ndarray, geometry: VolumeGeometry, file: Path, *, like: Path | None = None) -> None:
    """Write an image, compressed; it appears whole or not at all.

    Args:
        values: (Z, Y, X).
        geometry: of the same shape.
        file: to write; its ending determines the format.
        like: a file on the same grid, whose geometry is copied byte for byte if both are NIfTI. Nothing else of its
            header is copied, as it may name a patient.

    Raises:
        OSError: the disk is full or cannot be written to, or the file reads back differently.
    """
    if like is not None and nifti.is_nifti(like) and nifti.is_nifti(file):
        _write_checked(file, values, geometry, lambda path: _write_nifti(values, like, path))
    else:
        image = geometry.image_of(values)
        _write_checked(file, values, geometry, lambda path: sitk.WriteImage(image, str(path), useCompression=True))


def _write_checked(file: Path, values: np.ndarray, geometry: VolumeGeometry, write: Callable[[Path], object]) -> None:
    temporary = file.with_name(f".{os.getpid()}.{file.name}")  # the name's ending determines the format
    try:
        write(temporary)
        _check(read_volume(temporary), values, geometry)
        os.replace(temporary, file)
    except (RuntimeError, OSError, ValueError) as error:
        reason = str(error).strip().splitlines()[-1].replace(str(temporary), "").strip(" :")
        raise OSError(f"an image cannot be written, is the disk full? ({reason}): {file}") from error
    finally:
        temporary.unlink(missing_ok=True)


def _check(written: Volume, values: np.ndarray, geometry: VolumeGeometry) -> None:
    difference = grid_difference(written.geometry, geometry)
    if difference is not None:
        raise ValueError(f"it reads back with another grid, whose {difference}")
    if not np.array_equal(written.values, values):
        raise ValueError("it reads back with other voxels")


def _write_nifti(values: np.ndarray, source: Path, file: Path) -> None:
    image: Any = nib.load(source)
    header = type(image.header)()
    header.set_data_dtype(values.dtype)
    header.set_data_shape(values.T.shape)
    for name in GEOMETRY_FIELDS:
        header[name] = image.header[name]
    nib.save(type(image)(values.T, None, header), file)
