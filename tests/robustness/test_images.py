"""Images that say too little, contradict themselves or are not whole: refused with the reason, never read as something.

Every kind is tried in every format that it can have.
"""

from __future__ import annotations

import gzip
import os
import re
import struct
import zlib
from collections.abc import Callable
from math import inf, nan
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from nnunetv2_cfseg.imaging.read import read_geometry, read_scan, read_volume

VOXELS = np.random.default_rng(0).normal(40, 120, (10, 12, 14)).round().astype(np.int16)


def nifti(folder: Path, name: str = "a.nii", **fields: object) -> Path:
    """A NIfTI of 2 x 2 x 3 mm stored LPS, with some fields of its header overwritten as they are, unchecked."""
    image = sitk.GetImageFromArray(VOXELS)
    image.SetSpacing((2.0, 2.0, 3.0))
    sitk.WriteImage(image, str(folder / "whole.nii"))
    raw = bytearray((folder / "whole.nii").read_bytes())
    block = np.frombuffer(raw, nib.nifti1.header_dtype, 1)
    for key, value in fields.items():
        block[key] = value
    (folder / "whole.nii").unlink()
    file = folder / name
    file.write_bytes(gzip.compress(bytes(raw)) if name.endswith(".gz") else bytes(raw))
    return file


def pixdim(*spacing_mm: float) -> np.ndarray:
    return np.array([1, *spacing_mm, 0, 0, 0, 0], np.float32)


def refused(file: Path, *words: str) -> None:
    """The sentence is one line, names the file and says what is wrong."""
    with pytest.raises(ValueError, match=re.escape(file.name)) as caught:
        read_scan(file)
    sentence = str(caught.value)
    assert "\n" not in sentence
    for word in words:
        assert word in sentence, sentence


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("bad", [0.0, -3.0, nan, inf, -inf, 1e-9, 1e9])
def test_a_spacing_that_is_none(name: str, axis: int, bad: float, tmp_path: Path) -> None:
    spacing_mm = [2.0, 2.0, 3.0]
    spacing_mm[axis] = bad
    refused(nifti(tmp_path, name, pixdim=pixdim(*spacing_mm), sform_code=0), " mm ")


@pytest.mark.parametrize("spacing_mm", [(1, 1, 1), (2, 2, 4), (2, 1, 3), (4, 4, 6)])
def test_a_header_with_two_voxel_sizes(spacing_mm: tuple[float, float, float], tmp_path: Path) -> None:
    refused(nifti(tmp_path, pixdim=pixdim(*spacing_mm)), "pixdim", "sform")


def rows(x: float, y: float, z: float) -> dict[str, object]:
    return {"srow_x": (x, 0, 0, 0), "srow_y": (0, y, 0, 0), "srow_z": (0, 0, z, 0), "sform_code": 1}


@pytest.mark.parametrize(
    ("signs", "order"), [((2, -2, 3), "RPS"), ((-2, 2, 3), "LAS"), ((-2, -2, -3), "LPI"), ((2, 2, 3), "RAS")]
)
def test_forms_that_call_opposite_sides_left(signs: tuple[float, float, float], order: str, tmp_path: Path) -> None:
    refused(nifti(tmp_path, qform_code=1, **rows(*signs)), "LPS", order)


def test_a_header_that_says_nothing_of_its_axes_is_read_aloud(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = nifti(tmp_path, sform_code=0, qform_code=0)
    assert read_volume(file).geometry.order == "LPS"
    assert "does not say which way its axes run" in capsys.readouterr().err
    assert read_volume(nifti(tmp_path, "b.nii")).geometry.order == "LPS"
    assert not capsys.readouterr().err


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"dim": (4, 14, 12, 5, 2, 1, 1, 1)}, ("one volume",)),
        ({"dim": (2, 14, 12, 1, 1, 1, 1, 1)}, ("one volume",)),
        ({"dim": (3, 14, 12, 0, 1, 1, 1, 1)}, ("one volume",)),
        ({"dim": (3, 14, -12, 10, 1, 1, 1, 1)}, ("one volume",)),
        ({"dim": (3, 32767, 32767, 32767, 1, 1, 1, 1)}, ("memory",)),
        ({"dim": (3, 300, 300, 300, 1, 1, 1, 1)}, ("truncated",)),
        ({"datatype": 128, "bitpix": 24}, ("number",)),
        ({"datatype": 32, "bitpix": 64}, ("",)),
        ({"datatype": 1, "bitpix": 1}, ("",)),
        ({"datatype": 9999}, ("",)),
        ({"vox_offset": 1e9}, ("truncated",)),
        ({"vox_offset": -5}, ("truncated",)),
        ({"magic": b"n+2"}, ("NIfTI",)),
        ({"magic": b""}, ("NIfTI",)),
        ({"sizeof_hdr": 540}, ("NIfTI-2",)),
        ({"scl_slope": inf}, ("",)),
        ({"scl_slope": 1, "scl_inter": nan}, ("",)),
    ],
)
@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
def test_odd_headers(fields: dict[str, object], words: tuple[str, ...], name: str, tmp_path: Path) -> None:
    refused(nifti(tmp_path, name, **fields), *words)


def test_nifti_2_is_called_by_its_name(tmp_path: Path) -> None:
    nib.save(nib.Nifti2Image(VOXELS.T, np.diag([2.0, 2, 3, 1])), tmp_path / "a.nii.gz")
    refused(tmp_path / "a.nii.gz", "NIfTI-2")


@pytest.mark.parametrize("share", [0.0, 0.05, 0.3, 0.6, 0.9, 0.999])
@pytest.mark.parametrize("ending", [".nii", ".nii.gz", ".mha", "c.mha", ".nrrd", "c.nrrd"])
def test_a_truncated_file(ending: str, share: float, tmp_path: Path) -> None:
    file = written(tmp_path, ending)
    os.truncate(file, int(file.stat().st_size * share))
    refused(file)


@pytest.mark.parametrize("missing", [1, 100, 3000])
def test_voxels_that_are_missing_in_a_whole_gzip(missing: int, tmp_path: Path) -> None:
    raw = gzip.decompress(nifti(tmp_path, "a.nii.gz").read_bytes())
    (tmp_path / "a.nii.gz").write_bytes(gzip.compress(raw[:-missing]))
    refused(tmp_path / "a.nii.gz", "truncated")


@pytest.mark.parametrize("ending", [".nii.gz", "c.mha", "c.nrrd"])
@pytest.mark.parametrize("share", [0.5, 0.7, 0.9, 0.98])
def test_flipped_bits_of_a_compressed_file(ending: str, share: float, tmp_path: Path) -> None:
    file = written(tmp_path, ending)
    raw = bytearray(file.read_bytes())
    raw[int(len(raw) * share)] ^= 0x10
    file.write_bytes(bytes(raw))
    refused(file)


def test_a_wrong_checksum(tmp_path: Path) -> None:
    file = nifti(tmp_path, "a.nii.gz")
    raw = bytearray(file.read_bytes())
    raw[-8] ^= 1
    file.write_bytes(bytes(raw))
    refused(file, "CRC")


def test_a_bomb_is_not_unpacked(tmp_path: Path) -> None:
    """A header of 3 mm voxels and 300 MB of zeros behind them, which 300 kB hold."""
    raw = gzip.decompress(nifti(tmp_path, "a.nii.gz").read_bytes())
    pack = zlib.compressobj(9, wbits=31)
    with (tmp_path / "a.nii.gz").open("wb") as stream:
        stream.write(pack.compress(raw))
        for _ in range(300):
            stream.write(pack.compress(bytes(1 << 20)))
        stream.write(pack.flush())
    refused(tmp_path / "a.nii.gz", "goes on")


@pytest.mark.parametrize(("ending", "field"), [(".mha", b"ElementSpacing"), (".nrrd", b"space directions")])
def test_a_missing_spacing_elsewhere(ending: str, field: bytes, tmp_path: Path) -> None:
    file = written(tmp_path, ending)
    lines = file.read_bytes().split(b"\n")
    file.write_bytes(b"\n".join(line for line in lines if not line.startswith(field)))
    refused(file, " mm ")


@pytest.mark.parametrize("spacing", [b"2 2 -3", b"2 0 3", b"nan 2 3", b"2 2 1e-9", b"2 2 inf"])
def test_a_bad_spacing_elsewhere(spacing: bytes, tmp_path: Path) -> None:
    file = written(tmp_path, ".mha")
    raw = file.read_bytes()
    assert b"ElementSpacing = 2 2 3" in raw
    file.write_bytes(raw.replace(b"ElementSpacing = 2 2 3", b"ElementSpacing = " + spacing))
    refused(file)


@pytest.mark.parametrize("count", [1, 100])
@pytest.mark.parametrize("value", [nan, inf, -inf])
def test_voxels_that_are_no_numbers(count: int, value: float, tmp_path: Path) -> None:
    values = VOXELS.astype(np.float32)
    values.ravel()[:count] = value
    nib.save(nib.Nifti1Image(values.T, np.diag([2.0, 2, 3, 1])), tmp_path / "a.nii.gz")
    refused(tmp_path / "a.nii.gz", f"{count} of {values.size}")


def make_fifo(file: Path) -> None:
    os.mkfifo(file)


def make_loop(file: Path) -> None:
    file.symlink_to(file)


def make_device(file: Path) -> None:
    file.symlink_to("/dev/zero")


@pytest.mark.parametrize("make", [make_fifo, make_loop, make_device, Path.mkdir, Path.touch, lambda file: None])
@pytest.mark.parametrize("name", ["a.nii.gz", "a.nii", "a.mha", "a.nrrd", "a.gipl", "a.png"])
def test_what_is_no_file(make: Callable[[Path], object], name: str, tmp_path: Path) -> None:
    make(tmp_path / name)
    for read in (read_geometry, read_volume):
        with pytest.raises(ValueError, match=name):
            read(tmp_path / name)


@example(place=283, value=0)  # an axis of the sform without a length
@given(place=st.integers(0, 351), value=st.integers(0, 255))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=300)
def test_any_byte_of_a_header(place: int, value: int, tmp_path: Path) -> None:
    """Refused with the file's name, or read with a voxel size that is one."""
    file = nifti(tmp_path)
    raw = bytearray(file.read_bytes())
    raw[place] = value
    file.write_bytes(bytes(raw))
    try:
        volume = read_scan(file)
    except ValueError as error:
        assert "a.nii" in str(error)  # noqa: PT017
    else:
        assert volume.values.shape == volume.geometry.shape
        assert all(0 < mm < 1e4 for mm in volume.geometry.spacing_mm)


@given(content=st.binary(max_size=800), name=st.sampled_from(["a.nii", "a.nii.gz", "a.mha", "a.nrrd", "a.gipl"]))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=200)
def test_any_bytes(content: bytes, name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=name):
        read_scan(tmp_path / name)


def test_a_name_that_is_not_utf_8(tmp_path: Path) -> None:
    name = os.fsdecode(b"sc\xe4n.mha")
    written(tmp_path, ".mha").rename(tmp_path / name)
    with pytest.raises(ValueError, match="UTF-8"):
        read_volume(tmp_path / name)


def written(folder: Path, ending: str) -> Path:
    """A scan of a format; ``c`` before the dot compresses it."""
    if ending.startswith(".nii"):
        return nifti(folder, f"a{ending}")
    image = sitk.GetImageFromArray(VOXELS)
    image.SetSpacing((2.0, 2.0, 3.0))
    file = folder / f"a{ending}"
    sitk.WriteImage(image, str(file), useCompression=ending.startswith("c"))
    return file


def test_the_files_made_here_are_good_before_they_are_made_bad(tmp_path: Path) -> None:
    for ending in (".nii", ".nii.gz", ".mha", "c.mha", ".nrrd", "c.nrrd"):
        volume = read_scan(written(tmp_path, ending))
        np.testing.assert_array_equal(volume.values, VOXELS)
        assert volume.geometry.spacing_mm == (3.0, 2.0, 2.0)
        assert volume.geometry.order == "LPS"
    assert struct.calcsize("<f") == 4
