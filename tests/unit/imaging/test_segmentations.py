"""Label maps: which files are some, what they hold, and that a prediction lies where its reference does."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk

from nnunetv2_cfseg.imaging.geometry import Volume, VolumeGeometry
from nnunetv2_cfseg.imaging.segmentations import case_files, check_same_grid, read_segmentation

ENDING = ".nii.gz"
TILTED = (1.0, 0.0, 0.0, 0.0, 0.8, -0.6, 0.0, 0.6, 0.8)


def write(file: Path, values: np.ndarray, **kwargs: Any) -> Path:
    image = sitk.GetImageFromArray(values, **kwargs)
    sitk.WriteImage(image, str(file))
    return file


class TestCaseFiles:
    def test_are_sorted_by_name(self, tmp_path: Path) -> None:
        for name in ("b.nii.gz", "a.1.nii.gz", "dataset.json", "summary.json", "a.nii", "._b.nii.gz"):
            (tmp_path / name).touch()
        (tmp_path / "folder.nii.gz").mkdir()
        files = case_files(tmp_path, ENDING)
        assert list(files.items()) == [("a.1", tmp_path / "a.1.nii.gz"), ("b", tmp_path / "b.nii.gz")]

    def test_refuses_a_folder_without_any(self, tmp_path: Path) -> None:
        (tmp_path / "a.nii").touch()
        with pytest.raises(ValueError, match=f"must hold files that end with .nii.gz, got none: {tmp_path}$"):
            case_files(tmp_path, ENDING)

    def test_refuses_a_missing_folder(self, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match=f"must lie in a folder, and there is none: {tmp_path / 'no'}$"):
            case_files(tmp_path / "no", ENDING)


class TestReadSegmentation:
    def test_gives_z_y_x(self, tmp_path: Path) -> None:
        values = np.arange(24, dtype=np.int16).reshape(2, 3, 4)
        image = sitk.GetImageFromArray(values)
        image.SetSpacing((0.5, 0.8, 5.0))
        image.SetOrigin((-12.5, 30.0, 101.25))
        image.SetDirection(TILTED)
        sitk.WriteImage(image, str(tmp_path / "a.nii.gz"))
        segmentation = read_segmentation(tmp_path / "a.nii.gz")
        np.testing.assert_array_equal(segmentation.values, values)
        np.testing.assert_allclose(segmentation.geometry.spacing_mm, (5.0, 0.8, 0.5), rtol=1e-6)
        np.testing.assert_allclose(segmentation.geometry.origin_mm, (-12.5, 30.0, 101.25))
        np.testing.assert_allclose(segmentation.geometry.direction, TILTED, atol=1e-6)

    @pytest.mark.parametrize(
        ("values", "smallest"),
        [((0, 3), "uint8"), ((0, 256), "uint16"), ((-1, 3), "int16"), ((-1, 70000), "int32")],
    )
    @pytest.mark.parametrize("stored", ["int32", "float32", "float64"])
    def test_keeps_integers_in_the_smallest_type(
        self, tmp_path: Path, values: tuple[int, int], smallest: str, stored: str
    ) -> None:
        file = write(tmp_path / "a.nii.gz", np.resize(np.array(values, stored), (2, 3, 4)))
        found = read_segmentation(file).values
        assert found.dtype == smallest
        np.testing.assert_array_equal(found, np.resize(values, (2, 3, 4)))

    @pytest.mark.parametrize(("value", "named"), [(0.5, "0.5"), (np.nan, "nan"), (np.inf, "inf"), (1e12, "1e[+]12")])
    def test_refuses_values_that_are_no_labels(self, tmp_path: Path, value: float, named: str) -> None:
        values = np.ones((2, 3, 4), np.float32)
        values[1, 2, 3] = value
        file = write(tmp_path / "a.mha", values)  # of a NIfTI file ITK reads what is not finite as 0
        with pytest.raises(ValueError, match=f"label values must be integers, got {named}: {file}$"):
            read_segmentation(file)

    def test_takes_a_single_slice(self, tmp_path: Path) -> None:
        file = write(tmp_path / "a.nii.gz", np.ones((1, 3, 4), np.uint8))
        assert read_segmentation(file).values.shape == (1, 3, 4)

    @pytest.mark.parametrize(
        ("shape", "is_vector", "named"),
        [
            ((3, 4), False, r"size \[4, 3\]"),
            ((2, 2, 3, 4), False, r"size \[4, 3, 2, 2\]"),
            ((2, 3, 4, 2), True, r"size \[4, 3, 2, 1, 2\]"),
        ],
    )
    def test_refuses_an_image_that_is_not_3d(
        self, tmp_path: Path, shape: tuple[int, ...], is_vector: bool, named: str
    ) -> None:
        file = write(tmp_path / "a.nii.gz", np.ones(shape, np.uint8), isVector=is_vector)
        with pytest.raises(ValueError, match=f"must be one volume of numbers, got {named}: {file}$"):
            read_segmentation(file)

    @pytest.mark.parametrize("share", [0.0, 0.5, 0.99])
    def test_refuses_a_truncated_file(self, tmp_path: Path, share: float) -> None:
        values = np.random.default_rng(0).integers(0, 6, (8, 16, 16)).astype(np.uint8)
        file = write(tmp_path / "a.nii.gz", values)
        file.write_bytes(file.read_bytes()[: int(file.stat().st_size * share)])
        with pytest.raises(ValueError, match=f"cannot be read, .*: {file}$"):
            read_segmentation(file)

    def test_refuses_a_missing_file(self, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match=r"no.nii.gz must be a file, and there is none: .*no.nii.gz$"):
            read_segmentation(tmp_path / "no.nii.gz")


class TestCheckSameGrid:
    grid = VolumeGeometry((2, 3, 4), (5.0, 0.5, 0.5), (-12.5, 30.0, 1012.25), TILTED)

    def check(self, **changes: Any) -> None:
        truth, prediction = (
            Volume(np.zeros(grid.shape, np.uint8), grid) for grid in (self.grid, replace(self.grid, **changes))
        )
        check_same_grid(prediction, truth, file=Path("a.nii.gz"))

    def test_takes_what_files_round(self) -> None:
        self.check()
        self.check(
            spacing_mm=(5.0004, 0.5, 0.5),
            origin_mm=(-12.5, 30.0004, 1012.25),
            direction=(*TILTED[:8], 0.8004),
        )

    @pytest.mark.parametrize(
        ("changes", "named"),
        [
            ({"shape": (2, 4, 3)}, r"size \(2, 3, 4\) .*, got \(2, 4, 3\): a.nii.gz$"),
            ({"spacing_mm": (5.0, 0.5, 0.51)}, r"spacing \(5, 0.5, 0.5\) .*, got \(5, 0.5, 0.51\): a.nii.gz$"),
            ({"origin_mm": (-12.5, 30.0, 1012.3)}, r"origin .*1012.25\) .*, got \(-12.5, 30, 1012.3\): a.nii.gz$"),
            ({"direction": (1.0, 0, 0, 0, 1, 0, 0, 0, 1)}, r"direction \(1, .*0.8\), got \(1, .*, 1\): a.nii.gz$"),
        ],
    )
    def test_says_which_differs(self, changes: dict[str, Any], named: str) -> None:
        with pytest.raises(ValueError, match=f"a prediction must have its reference's {named}"):
            self.check(**changes)
