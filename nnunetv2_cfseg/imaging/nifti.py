"""Reads NIfTI files whose header says where the voxels lie and whose voxels are complete.

SimpleITK and nibabel repair headers silently: a spacing of 0, NaN or infinity becomes 1 mm, and missing voxels become
0. So the header's bytes are checked before either of them reads it.
"""

from __future__ import annotations

import gzip
import io
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from math import isfinite, prod
from pathlib import Path
from typing import IO, Any

import nibabel as nib
import numpy as np

from nnunetv2_cfseg.imaging.notices import say
from nnunetv2_cfseg.imaging.orientation import order_of

ENDINGS = (".nii", ".nii.gz")
HEADER_BYTES = 348
MAGIC = (b"n+1", b"ni1")
#: Largest relative difference between the spacings of the sform and of ``pixdim``.
SPACING_TOLERANCE = 0.01
#: Codes of an sform in scanner coordinates; others map to an atlas.
SCANNER_CODES = (1, 2)
#: Deflate compresses at most this many bytes into one.
MOST_BYTES_FOR_ONE = 1032
#: Most bytes behind the voxels that are read to check that a gzip is complete; no tool writes so many.
MOST_BYTES_BEHIND = 1 << 26
CHUNK = 1 << 22
#: Errors that reading a broken gzip raises.
BROKEN = (OSError, EOFError, zlib.error)


def is_nifti(file: Path) -> bool:
    """Whether a file's name is that of a NIfTI file."""
    return file.name.endswith(ENDINGS)


def read_header(file: Path) -> Any:
    """nibabel's header of a NIfTI-1 file, without its repairs.

    Raises:
        ValueError: the file is no NIfTI-1, does not say how far its voxels are apart, or is not one volume of numbers.
    """
    try:
        with _opened(file) as stream:
            block = stream.read(HEADER_BYTES)
    except BROKEN as error:
        raise ValueError(f"the image cannot be read, it is truncated or no gzip ({error}): {file}") from error
    if len(block) < HEADER_BYTES:
        raise ValueError(f"the image cannot be read, it is truncated to {len(block)} bytes: {file}")
    if block[:4] in (b"\x1c\x02\x00\x00", b"\x00\x00\x02\x1c"):
        raise ValueError(
            f"the image is NIfTI-2, which SimpleITK and so nnU-Net do not read; save it as NIfTI-1: {file}"
        )
    if block[344:347] not in MAGIC:
        raise ValueError(f"the image cannot be read, it is truncated or of an unknown format, not NIfTI-1: {file}")
    header = nib.Nifti1Header(block, check=False)
    _check_size(header, file)
    _check_spacing(header, file)
    return header


def check_forms(header: Any, file: Path) -> None:
    """Refuse a header whose qform, sform and pixdim contradict one another; warn if it does not say where axes run.

    Raises:
        ValueError: the axes of qform and sform run different ways, so that left in one is right in the other, or the
            sform has another voxel size than pixdim.
    """
    has_sform, has_qform = int(header["sform_code"]) > 0, int(header["qform_code"]) > 0
    is_atlas = int(header["sform_code"]) not in SCANNER_CODES and has_qform  # its sform may stretch the head
    spacing_mm = [float(mm) for mm in header["pixdim"][1:4]]
    sform_mm = np.linalg.norm(sform(header)[:3, :3], axis=0)
    if has_sform and not is_atlas and not np.allclose(sform_mm, spacing_mm, rtol=SPACING_TOLERANCE, atol=0):
        raise ValueError(
            f"the header must say one voxel size, and its pixdim says {_numbers(spacing_mm)} mm and its sform "
            f"{_numbers(sform_mm)} mm: {file}"
        )
    if not has_sform and not has_qform:
        say(
            f"the header does not say which way its axes run (qform_code and sform_code are 0), LPS is assumed (to the "
            f"left, back and head): {file}"
        )
        return
    if not has_sform or not has_qform:
        return
    try:
        orders = [_order(form) for form in (sform(header), header.get_qform())]
    except Exception as error:  # an invalid quaternion; nibabel raises its own kinds of errors
        raise ValueError(f"the header's qform must be a rotation ({error}): {file}") from error
    if orders[0] != orders[1]:
        raise ValueError(
            f"the header must say one way for its axes, its sform says {orders[0]} and its qform {orders[1]}: {file}"
        )


def read_values(file: Path, header: Any) -> np.ndarray:
    """The voxels (Z, Y, X) in the file's own type; float32 if the file scales them.

    Args:
        header: of the file, from :func:`read_header`.

    Raises:
        ValueError: the header is bad, voxels are missing, or the gzip's checksum is wrong.
    """
    try:
        dtype, offset = header.get_data_dtype(), int(header.get_data_offset())
        slope, inter = header.get_slope_inter()
    except Exception as error:  # nibabel raises its own kinds of errors for unknown types
        raise ValueError(f"the voxels must be numbers of a known type ({error}): {file}") from error
    if np.isinf([header["scl_slope"], header["scl_inter"]]).any():
        raise ValueError(
            f"voxels must be scaled by a number, got {header['scl_slope']} and {header['scl_inter']}: {file}"
        )
    if dtype.kind not in "iuf":
        raise ValueError(f"the voxels must be one number each, got {dtype}: {file}")
    shape = tuple(int(size) for size in header["dim"][1:4])
    voxels = _read_exactly(file, offset, prod(shape) * dtype.itemsize)
    values = np.frombuffer(voxels, dtype).reshape(shape[::-1])
    if not values.dtype.isnative:
        values = values.astype(values.dtype.newbyteorder("="))
    if (slope, inter) in ((1, 0), (None, None)):
        return values
    scaled = values.astype(np.float32)
    scaled *= np.float32(slope)
    scaled += np.float32(inter or 0)
    return scaled


def _read_exactly(file: Path, offset: int, count: int) -> bytearray:
    """All bytes of the voxels; in a gzip everything behind them is read too, for its checksum."""
    stored = file.stat().st_size
    limit = stored * MOST_BYTES_FOR_ONE if file.name.endswith(".gz") else stored
    if offset < 0 or offset + count > limit:
        raise ValueError(
            f"the image is truncated: its header announces {count} bytes of voxels, and the file has {stored} bytes: "
            f"{file}"
        )
    try:
        with _opened(file) as stream:
            stream.read(offset)
            voxels = bytearray(count)
            done = _fill(stream, memoryview(voxels))
            behind = 0
            while file.name.endswith(".gz") and behind < MOST_BYTES_BEHIND and (chunk := stream.read(CHUNK)):
                behind += len(chunk)
    except BROKEN as error:
        raise ValueError(f"the image cannot be read, it is truncated or damaged ({error}): {file}") from error
    if done < count:
        raise ValueError(f"the image is truncated: {done} of {count} bytes of its voxels are there: {file}")
    if behind >= MOST_BYTES_BEHIND:
        raise ValueError(f"the image must end with its voxels, and goes on for {behind} bytes and more: {file}")
    return voxels


def _fill(stream: IO[bytes], target: memoryview) -> int:
    done = 0
    while done < len(target):
        chunk = stream.read(min(CHUNK, len(target) - done))
        if not chunk:
            break
        target[done : done + len(chunk)] = chunk
        done += len(chunk)
    return done


@contextmanager
def _opened(file: Path) -> Iterator[IO[bytes]]:
    with file.open("rb") as raw:
        if file.name.endswith(".gz"):
            with gzip.GzipFile(fileobj=raw) as unpacked:
                yield io.BufferedReader(unpacked, CHUNK)
        else:
            yield raw


def _check_size(header: Any, file: Path) -> None:
    axes = [int(size) for size in header["dim"]]
    if not 3 <= axes[0] <= 7 or min(axes[1:4]) < 1 or any(size > 1 for size in axes[4 : axes[0] + 1]):
        raise ValueError(f"an image must be one volume of numbers, got size {axes[1 : max(axes[0], 0) + 1]}: {file}")


def _check_spacing(header: Any, file: Path) -> None:
    spacing_mm = [float(mm) for mm in header["pixdim"][1:4]]
    if not all(isfinite(mm) and mm > 0 for mm in spacing_mm):
        raise ValueError(f"voxels must be a positive number of mm apart, and the header says {spacing_mm} mm: {file}")


def sform(header: Any) -> np.ndarray:
    """The sform (3, 4), which maps a voxel (x, y, z, 1) to mm towards the patient's right, front and head."""
    return np.array([header[f"srow_{axis}"] for axis in "xyz"], dtype=float)


def _order(to_ras: np.ndarray) -> str:
    return order_of((np.diag([-1.0, -1.0, 1.0]) @ to_ras[:3, :3]).ravel().tolist())


def _numbers(values: Any) -> str:
    return " x ".join(f"{value:.4g}" for value in values)
