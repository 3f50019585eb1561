"""Images are written whole or not at all."""

from __future__ import annotations

import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from nnunetv2_cfseg.imaging.geometry import VolumeGeometry
from nnunetv2_cfseg.imaging.read import read_volume
from nnunetv2_cfseg.imaging.write import write_volume

GridOf = Callable[..., VolumeGeometry]
ENDINGS = (".nii.gz", ".nii", ".nrrd", ".mha")


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """As a full disk has it: writing beyond a size fails."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "float32"])
def test_what_is_written_reads_back(ending: str, dtype: str, tmp_path: Path, make_grid: GridOf) -> None:
    grid = make_grid((4, 5, 6))
    values = np.arange(120).reshape(4, 5, 6).astype(dtype)
    write_volume(values, grid, tmp_path / f"a{ending}")
    np.testing.assert_array_equal(read_volume(tmp_path / f"a{ending}").values, values)
    assert [file.name for file in tmp_path.iterdir()] == [f"a{ending}"]


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("size", [0, 100, 5000])
@pytest.mark.parametrize("old", [None, b"old"])
def test_a_disk_that_is_full_leaves_what_was_there(
    ending: str, size: int, old: bytes | None, tmp_path: Path, make_grid: GridOf
) -> None:
    file = tmp_path / f"a{ending}"
    if old is not None:
        file.write_bytes(old)
    values = np.random.default_rng(0).integers(-1000, 1000, (20, 20, 20)).astype(np.int16)  # it does not compress
    with largest_file(size), pytest.raises(OSError, match=f"cannot be written.*{file.name}$"):
        write_volume(values, make_grid((20, 20, 20)), file)
    assert [path.read_bytes() for path in tmp_path.iterdir()] == ([] if old is None else [old])


def test_a_writer_that_fails_in_silence_is_found_out(
    tmp_path: Path, make_grid: GridOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    def half(image: sitk.Image, name: str, **_: object) -> None:
        Path(name).write_bytes(b"half of a file")

    monkeypatch.setattr("nnunetv2_cfseg.imaging.write.sitk.WriteImage", half)
    with pytest.raises(OSError, match=r"cannot be written.*a.nii.gz$"):
        write_volume(np.zeros((4, 5, 6), np.uint8), make_grid((4, 5, 6)), tmp_path / "a.nii.gz")
    assert not list(tmp_path.iterdir())


def test_the_geometry_of_a_nifti_is_copied_byte_for_byte(tmp_path: Path, make_grid: GridOf) -> None:
    grid = make_grid((4, 5, 6), direction=(-1.0, 0.0, 0.0, 0.0, -0.96, 0.28, 0.0, 0.28, 0.96))
    write_volume(np.zeros((4, 5, 6), np.int16), grid, tmp_path / "scan.nii")
    scan = read_volume(tmp_path / "scan.nii").geometry
    write_volume(np.ones((4, 5, 6), np.uint8), scan, tmp_path / "labels.nii", like=tmp_path / "scan.nii")
    one, other = ((tmp_path / name).read_bytes() for name in ("scan.nii", "labels.nii"))
    for field in (slice(80, 92), slice(252, 328)):  # pixdim[1:4]; codes, quaternion and sform
        assert one[field] == other[field]
