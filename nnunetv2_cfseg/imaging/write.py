"""The one writer of images: written beside its place, read back, and only then put there.

SimpleITK reports no failed write of a NIfTI file: on a full disk or beyond a limit it leaves half a file and says
nothing.
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

#: Of a NIfTI header, what says where voxels lie.
GEOMETRY_FIELDS = (
    "pixdim", "xyzt_units", "qform_code", "sform_code", "quatern_b", "quatern_c", "quatern_d", "qoffset_x",
    "qoffset_y", "qoffset_z", "srow_x", "srow_y", "srow_z",
)  # fmt: skip


def write_volume(values: np.ndarray, geometry: VolumeGeometry, file: Path, *, like: Path | None = None) -> None:
    """Write an image, compressed; it appears whole or not at all.

    Args:
        values: (Z, Y, X).
        geometry: of the same shape.
        file: where it goes; its ending says the format.
        like: a file on the same grid, whose geometry is copied byte for byte where both are NIfTI. Nothing else of its
            header is, as it may name a patient.

    Raises:
        OSError: the disk is full or cannot be written to, or what was written reads back otherwise.
    """
    if like is not None and nifti.is_nifti(like) and nifti.is_nifti(file):
        _written(file, values, geometry, lambda part: _write_nifti(values, like, part))
    else:
        image = geometry.image_of(values)
        _written(file, values, geometry, lambda part: sitk.WriteImage(image, str(part), useCompression=True))


def _written(file: Path, values: np.ndarray, geometry: VolumeGeometry, write: Callable[[Path], object]) -> None:
    part = file.with_name(f".{os.getpid()}.{file.name}")  # formats go by a name's ending
    try:
        write(part)
        _check(read_volume(part), values, geometry)
        os.replace(part, file)
    except (RuntimeError, OSError, ValueError) as error:
        reason = str(error).strip().splitlines()[-1].replace(str(part), "").strip(" :")
        raise OSError(f"an image cannot be written, is the disk full? ({reason}): {file}") from error
    finally:
        part.unlink(missing_ok=True)


def _check(found: Volume, values: np.ndarray, geometry: VolumeGeometry) -> None:
    difference = grid_difference(found.geometry, geometry)
    if difference is not None:
        raise ValueError(f"it reads back with another grid, whose {difference}")
    if not np.array_equal(found.values, values):
        raise ValueError("it reads back with other voxels")


def _write_nifti(values: np.ndarray, source: Path, file: Path) -> None:
    image: Any = nib.load(source)
    header = type(image.header)()
    header.set_data_dtype(values.dtype)
    header.set_data_shape(values.T.shape)
    for name in GEOMETRY_FIELDS:
        header[name] = image.header[name]
    nib.save(type(image)(values.T, None, header), file)
