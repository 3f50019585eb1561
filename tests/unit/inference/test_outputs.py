"""Files of a prediction: on the scan's own grid, whole or not there."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk

from nnunetv2_cfseg.inference.outputs import unfinished, write_labels, write_probabilities, write_volumes
from nnunetv2_cfseg.inference.scans import Case, Scan, read_scan

Write = Callable[..., Path]
OBLIQUE = (1, 0, 0, 0, np.cos(0.3), -np.sin(0.3), 0, np.sin(0.3), np.cos(0.3))


def scan_of(file: Path) -> Scan:
    return read_scan(Case("case", (file,)), ("CT",))


@pytest.mark.parametrize("name", ["a_0000.nii.gz", "a_0000.nii"])
@pytest.mark.parametrize("direction", [(1, 0, 0, 0, 1, 0, 0, 0, 1), (-1, 0, 0, 0, -1, 0, 0, 0, 1), OBLIQUE])
def test_the_geometry_of_the_header_is_copied_byte_for_byte(
    name: str, direction: tuple[float, ...], write_scan: Write, tmp_path: Path
) -> None:
    file = write_scan(name, direction=direction)
    image = nib.load(file, mmap=False)
    image.header["descrip"] = b"a name"
    image.header["sform_code"] = 4  # which SimpleITK would not write
    nib.save(image, file)
    scan = scan_of(file)
    labels = np.random.default_rng(0).integers(0, 3, scan.geometry.shape).astype(np.uint8)
    out = tmp_path / "out.nii.gz"
    with unfinished(tmp_path, "0") as place:
        write_labels(labels, scan.geometry, out, place, like=file)
    before, after = nib.load(file).header, nib.load(out).header
    for part in (slice(40, 56), slice(76, 108), slice(252, 328)):  # dim, pixdim, qform and sform
        assert before.binaryblock[part] == after.binaryblock[part]
    assert after["descrip"] == b""
    assert np.array_equal(sitk.GetArrayFromImage(sitk.ReadImage(str(out))), labels)
    assert sitk.ReadImage(str(out)).GetDirection() == sitk.ReadImage(str(file)).GetDirection()


def test_other_formats_keep_their_grid(write_scan: Write, tmp_path: Path) -> None:
    file = write_scan("a_0000.mha", direction=OBLIQUE)
    scan = scan_of(file)
    with unfinished(tmp_path, "0") as place:
        write_labels(np.ones(scan.geometry.shape, np.uint8), scan.geometry, tmp_path / "out.nrrd", place, like=file)
    one, other = sitk.ReadImage(str(file)), sitk.ReadImage(str(tmp_path / "out.nrrd"))
    assert one.GetOrigin() == other.GetOrigin()
    np.testing.assert_allclose(one.GetDirection(), other.GetDirection())


def test_a_full_disk_leaves_nothing_half_written(
    write_scan: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = write_scan()
    scan = scan_of(file)

    def full(image: object, file: Path) -> None:
        Path(file).write_bytes(b"half")
        raise OSError("No space left on device")

    monkeypatch.setattr(nib, "save", full)
    out = tmp_path / "out"
    out.mkdir()
    with pytest.raises(OSError, match=r"is the disk full.*No space left"), unfinished(out, "0") as place:
        write_labels(np.ones(scan.geometry.shape, np.uint8), scan.geometry, out / "case.nii.gz", place, like=file)
    assert list(out.iterdir()) == []


def test_what_a_killed_process_left_is_cleared(tmp_path: Path) -> None:
    for part in "01":
        (tmp_path / f".unfinished_{part}").mkdir()
        (tmp_path / f".unfinished_{part}" / "case.nii.gz").write_bytes(b"half")
    with unfinished(tmp_path, "0") as place:
        assert list(place.iterdir()) == []
    assert [path.name for path in tmp_path.iterdir()] == [".unfinished_1"]  # another process works there


def test_probabilities_are_numpys(tmp_path: Path) -> None:
    values = np.random.default_rng(0).random((3, 4, 5, 6)).astype(np.float32)
    with unfinished(tmp_path, "0") as place:
        write_probabilities(values, tmp_path / "case.npz", place)
    assert np.array_equal(np.load(tmp_path / "case.npz")["probabilities"], values)


def test_volumes_are_a_table_to_which_cases_are_added(tmp_path: Path) -> None:
    file = tmp_path / "volumes.csv"
    labels = {"background": 0, "all": [1, 2], "core": 2, "ignore": 3}
    write_volumes({"b": {0: 9.0, 1: 1.5, 2: 0.5}, "a": {0: 9.0}}, labels, file)
    write_volumes({"b": {0: 9.0, 2: 0.25}}, labels, file)
    assert file.read_text().splitlines() == [
        "case,class,volume_ml", "a,all,0.0000", "a,core,0.0000", "b,all,0.2500", "b,core,0.2500",
    ]  # fmt: skip
    assert [path.name for path in tmp_path.iterdir()] == ["volumes.csv"]
