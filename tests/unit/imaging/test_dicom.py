"""DICOM series, written by SimpleITK for the purpose."""

from __future__ import annotations

import locale
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from nnunetv2_cfseg.imaging.dicom import choose_series, find_series, read_series
from nnunetv2_cfseg.inference.scans import find_cases, read_scan

Write = Callable[..., Path]
VALUES = np.random.default_rng(0).normal(0, 300, (6, 8, 9)).round().astype(np.int16)


@pytest.fixture
def write_series(tmp_path: Path) -> Write:
    locale_before = locale.setlocale(locale.LC_ALL)  # which GDCM changes when it writes, and Python reads files by

    def write(
        positions_mm: Sequence[float] = range(0, 12, 2), *, uid: str = "1.2.3", tilt_mm: float = 0.0,
        folder: Path | None = None,
    ) -> Path:  # fmt: skip
        folder = folder or tmp_path / "series"
        folder.mkdir(exist_ok=True)
        writer = sitk.ImageFileWriter()
        writer.KeepOriginalImageUIDOn()
        for index, position in enumerate(positions_mm):
            image = sitk.GetImageFromArray(VALUES[index % len(VALUES)][None])
            image.SetSpacing((0.5, 0.75, 2.0))
            tags = {
                "0008|0060": "CT", "0020|000e": uid, "0020|0013": str(index), "0028|1052": "0", "0028|1053": "1",
                "0020|0032": f"-10\\{20 + tilt_mm * index}\\{position}", "0020|0037": "1\\0\\0\\0\\1\\0",
                "0008|0018": f"{uid}.{index + 1}",
            }  # fmt: skip
            for tag, value in tags.items():
                image.SetMetaData(tag, value)
            writer.SetFileName(str(folder / f"{uid}_{index}.dcm"))
            writer.Execute(image)
        locale.setlocale(locale.LC_ALL, locale_before)
        return folder

    return write


def test_a_folder_of_slices_is_one_case(write_series: Write) -> None:
    folder = write_series()
    (case,) = find_cases(folder, file_ending=".nii.gz", channels=1)
    scan = read_scan(case, ("CT",))
    assert case.name == "series"
    assert np.array_equal(scan.channels[0], VALUES)
    assert scan.geometry.spacing_mm == (2.0, 0.75, 0.5)
    assert scan.geometry.origin_mm == (-10, 20, 0)


def test_one_of_several_must_be_chosen(write_series: Write) -> None:
    folder = write_series()
    write_series((0, 5, 10), uid="1.2.4", folder=folder)
    write_series((0,), uid="1.2.5", folder=folder)  # a scout is no volume
    listed = rf"{folder}\n  1: 6 slices every 2 mm, CT.*\n  2: 3 slices every 5 mm, CT"
    with pytest.raises(ValueError, match=rf"one of 2 DICOM series must be chosen with --series N: {listed}"):
        choose_series(folder, None)
    with pytest.raises(ValueError, match=rf"--series must be from 1 to 2, got 3: {listed}"):
        choose_series(folder, 3)
    assert choose_series(folder, 2).spacing_mm == 5


def test_missing_slices_and_a_tilted_gantry_are_refused(write_series: Write, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"at one distance, 2 mm, and one is off by 100 %"):
        read_series(choose_series(write_series((0, 2, 4, 8, 10)), None))
    with pytest.raises(ValueError, match=r"at one distance, 5 mm, and one is off by 50 %"):
        read_series(choose_series(write_series((0, 5, 10, 12.5, 17.5), uid="1.2.7", folder=tmp_path / "mixed"), None))
    tilted = write_series(uid="1.2.6", tilt_mm=0.5, folder=tmp_path / "tilted")
    with pytest.raises(ValueError, match=r"must lie straight above each other, and are off by 14 degrees"):
        read_series(choose_series(tilted, None))


def test_other_files_are_passed_over(write_series: Write) -> None:
    folder = write_series()
    (folder / "notes.txt").write_text("nothing")
    assert len(find_series(folder)) == 1


def test_the_real_series_is_the_file_of_the_same_scan(real_ct_data: Path) -> None:
    (case,) = find_cases(real_ct_data / "head" / "dicom_series", file_ending=".nii.gz", channels=1)
    scan = read_scan(case, ("CT",))
    assert scan.channels[0].shape == (24, 512, 512)
    np.testing.assert_allclose(scan.geometry.spacing_mm, (1.5, 0.479, 0.479), atol=1e-3)
