"""Reads images; all images of the package are read here, and every header is checked."""

from __future__ import annotations

import os
from math import isfinite
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk

from nnunetv2_cfseg.files.text_files import require_regular_file
from nnunetv2_cfseg.imaging import attached, nifti
from nnunetv2_cfseg.imaging.geometry import Volume, VolumeGeometry, geometry_of

#: Largest cosine of the angle between two axes; files round direction cosines to some digits.
SHEAR_TOLERANCE = 5e-4
#: No scanner has smaller or larger voxels.
SMALLEST_MM, LARGEST_MM = 1e-3, 1e3
PATIENT_AXES = ("from right to left", "from front to back", "from feet to head")


def read_geometry(file: Path) -> VolumeGeometry:
    """The grid of a file; only its header is read.

    Raises:
        ValueError: it cannot be read, is no file or no volume, does not say how far its voxels are apart, or its axes
            are not at right angles (a tilted gantry).
    """
    return _read_geometry(file, _nifti_header(file))


def _nifti_header(file: Path) -> Any:
    """nibabel's header of a NIfTI file; None for other formats. A missing file is refused."""
    require_regular_file(file)
    return nifti.read_header(file) if nifti.is_nifti(file) else None


def _read_geometry(file: Path, header: Any) -> VolumeGeometry:
    _check_attached(file, voxels=False)
    reader = sitk.ImageFileReader()
    reader.SetFileName(_path(file))
    try:
        reader.ReadImageInformation()
    except RuntimeError as error:
        if "orthonormal" in str(error):
            raise ValueError(_sheared("are not", file)) from error
        raise ValueError(f"the image cannot be read, it is truncated or of an unknown format: {file}") from error
    size = reader.GetSize()
    if len(size) != 3 or reader.GetNumberOfComponents() != 1:
        raise ValueError(
            f"an image must be one volume of numbers, got size {size} of {reader.GetNumberOfComponents()}: {file}"
        )
    check_spacing(reader.GetSpacing(), file)
    _check_right_angles(np.reshape(reader.GetDirection(), (3, 3)), file)
    if header is not None:
        if int(header["sform_code"]) in nifti.SCANNER_CODES:
            # SimpleITK falls back to the qform, which cannot express shear.
            _check_right_angles(nifti.sform(header)[:, :3], file)
        nifti.check_forms(header, file)
    geometry = geometry_of(reader)
    if not all(map(isfinite, geometry.origin_mm)):
        raise ValueError(f"the first voxel must lie somewhere, got {geometry.origin_mm} mm (x, y, z): {file}")
    _check_fits_memory(geometry, file)
    return geometry


def read_volume(file: Path) -> Volume:
    """Read a complete image, in the type that its file stores; float32 if a NIfTI file scales it.

    Raises:
        ValueError: what :func:`read_geometry` refuses, or voxels that are missing or damaged.
    """
    header = _nifti_header(file)
    geometry = _read_geometry(file, header)
    if header is not None:
        return Volume(nifti.read_values(file, header), geometry)
    _check_attached(file, voxels=True)
    try:
        return Volume(sitk.GetArrayFromImage(sitk.ReadImage(_path(file))), geometry)
    except RuntimeError as error:
        raise ValueError(f"the image cannot be read, it is truncated or of an unknown format: {file}") from error


def read_scan(file: Path) -> Volume:
    """Read an image whose voxels are all finite. Labels need no such check, as they have to be whole numbers.

    Raises:
        ValueError: what :func:`read_volume` refuses, or voxels that are NaN or infinite.
    """
    volume = read_volume(file)
    check_finite(volume.values, file)
    return volume


def check_finite(values: np.ndarray, file: str | Path) -> None:
    """Refuse voxels that are NaN or infinite: nobody knows whether they mean air, water or a mistake.

    Raises:
        ValueError: there are some; the message has their count.
    """
    if values.dtype.kind != "f":
        return
    odd = sum(int(np.count_nonzero(~np.isfinite(plane))) for plane in values)
    if odd:
        raise ValueError(
            f"every voxel must be a number, and {odd} of {values.size} are NaN or infinite, which resampling or "
            f"defacing can cause; set them to what they stand for, mostly air (-1024): {file}"
        )


def check_spacing(spacing_mm: tuple[float, ...], file: Path) -> None:
    """Refuse an impossible distance between voxels.

    Raises:
        ValueError: one is not between a micrometre and a metre.
    """
    if not all(SMALLEST_MM <= mm <= LARGEST_MM for mm in spacing_mm):
        spacing = ", ".join(f"{mm:.6g}" for mm in spacing_mm)
        raise ValueError(
            f"voxels must be {SMALLEST_MM:g} to {LARGEST_MM:g} mm apart along each axis, got ({spacing}) along the "
            f"file's axes x, y, z: {file}"
        )


def check_slice_axis(geometry: VolumeGeometry, file: Path) -> None:
    """Refuse slices that do not follow one another from feet to head.

    Raises:
        ValueError: they run another way.
    """
    axis = int(np.abs(np.reshape(geometry.direction, (3, 3))[:, 2]).argmax())
    if axis != 2:
        raise ValueError(
            f"slices must follow one another {PATIENT_AXES[2]}, as CT is scanned, and run {PATIENT_AXES[axis]} along "
            f"the file's third axis: {file}"
        )


def _check_attached(file: Path, *, voxels: bool) -> None:
    """Check the header of a MetaImage or NRRD, or its compressed voxels."""
    if file.suffix == ".mha":
        attached.check_metaimage(file, voxels=voxels)
    elif file.suffix == ".nrrd":
        attached.check_nrrd(file, voxels=voxels)


def _path(file: Path) -> str:
    """A file's name for SimpleITK, which supports only UTF-8.

    Raises:
        ValueError: the name is not UTF-8.
    """
    try:
        str(file).encode("utf-8")
    except UnicodeEncodeError as error:
        raise ValueError(f"a file's name must be UTF-8, rename it: {str(file)!r}") from error
    return str(file)


def _check_right_angles(axes: np.ndarray, file: Path) -> None:
    lengths = np.linalg.norm(axes, axis=0)
    if not (np.isfinite(lengths) & (lengths > 0)).all():
        raise ValueError(_sheared("one of them has no length or no end", file))
    unit = axes / lengths
    cosine = float(np.abs(unit.T @ unit - np.eye(3)).max())
    if not cosine <= SHEAR_TOLERANCE:
        raise ValueError(_sheared(f"are off by {np.degrees(np.arcsin(min(cosine, 1))):.2g} degrees", file))


def _sheared(how: str, file: Path) -> str:
    return (
        f"the axes of an image must be at right angles, and {how}, as with a tilted gantry that was not corrected "
        f"for: {file}"
    )


def _check_fits_memory(geometry: VolumeGeometry, file: Path) -> None:
    """Refuse a size that cannot fit into memory: a header can claim any, and a voxel needs at least one byte."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    z, y, x = geometry.shape
    if z * y * x > memory:
        raise ValueError(f"an image must fit into memory, and {x} x {y} x {z} voxels do not: {file}")
