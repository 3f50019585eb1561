"""Files of an evaluation: pairs, and each refusal with the rule, the value and the file."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk

from nnunetv2_cfseg.evaluation.files import Case, Unpaired, find_factor, find_unpaired, pair_cases
from nnunetv2_cfseg.imaging.segmentations import Segmentation, case_files, check_same_grid, read_segmentation

ENDING = ".nii.gz"
TILTED = (1.0, 0.0, 0.0, 0.0, 0.8, -0.6, 0.0, 0.6, 0.8)


def fill(folder: Path, *names: str) -> Path:
    folder.mkdir(exist_ok=True)
    for name in names:
        (folder / name).touch()
    return folder


def write(file: Path, values: np.ndarray, **kwargs: Any) -> Path:
    image = sitk.GetImageFromArray(values, **kwargs)
    sitk.WriteImage(image, str(file))
    return file


class TestCaseFiles:
    def test_are_sorted_by_name(self, tmp_path: Path) -> None:
        fill(tmp_path, "b.nii.gz", "a.1.nii.gz", "dataset.json", "summary.json", "a.nii", "._b.nii.gz")
        (tmp_path / "folder.nii.gz").mkdir()
        files = case_files(tmp_path, ENDING)
        assert list(files.items()) == [("a.1", tmp_path / "a.1.nii.gz"), ("b", tmp_path / "b.nii.gz")]

    def test_refuses_a_folder_without_any(self, tmp_path: Path) -> None:
        fill(tmp_path, "a.nii")
        with pytest.raises(ValueError, match=f"must hold files that end with .nii.gz, got none: {tmp_path}$"):
            case_files(tmp_path, ENDING)

    def test_refuses_a_missing_folder(self, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match=f"must lie in a folder, and there is none: {tmp_path / 'no'}$"):
            case_files(tmp_path / "no", ENDING)


class TestPairCases:
    def test_pairs_by_name(self, tmp_path: Path) -> None:
        truth, prediction = fill(tmp_path / "t", "b.nii.gz", "a.nii.gz"), fill(tmp_path / "p", "a.nii.gz", "b.nii.gz")
        assert pair_cases(truth, prediction, ENDING) == [
            Case(name, truth / f"{name}.nii.gz", prediction / f"{name}.nii.gz") for name in ("a", "b")
        ]
        assert find_unpaired(truth, prediction, ENDING) == Unpaired()

    def test_names_the_first_reference_without_a_prediction(self, tmp_path: Path) -> None:
        truth = fill(tmp_path / "t", *(f"{name}.nii.gz" for name in "abcd"))
        prediction = fill(tmp_path / "p", "a.nii.gz", "e.nii.gz")
        with pytest.raises(ValueError, match=f"needs a prediction in {prediction}, got none for {truth}/b.nii.gz$"):
            pair_cases(truth, prediction, ENDING)

    def test_names_the_first_prediction_without_a_reference(self, tmp_path: Path) -> None:
        truth, prediction = fill(tmp_path / "t", "b.nii.gz"), fill(tmp_path / "p", "a.nii.gz", "b.nii.gz")
        with pytest.raises(ValueError, match=f"needs a reference in {truth}, got none for {prediction}/a.nii.gz$"):
            pair_cases(truth, prediction, ENDING)

    def test_leaves_both_out_where_it_is_chill(self, tmp_path: Path) -> None:
        truth = fill(tmp_path / "t", *(f"{name}.nii.gz" for name in "abc"))
        prediction = fill(tmp_path / "p", *(f"{name}.nii.gz" for name in "bde"))
        assert [case.name for case in pair_cases(truth, prediction, ENDING, chill=True)] == ["b"]
        assert find_unpaired(truth, prediction, ENDING) == Unpaired(("a", "c"), ("d", "e"))

    def test_refuses_folders_without_a_pair_even_so(self, tmp_path: Path) -> None:
        truth, prediction = fill(tmp_path / "t", "a.nii.gz"), fill(tmp_path / "p", "b.nii.gz")
        with pytest.raises(ValueError, match=f"none in {prediction} is as in {truth}"):
            pair_cases(truth, prediction, ENDING, chill=True)


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
        np.testing.assert_allclose(segmentation.spacing_mm, (5.0, 0.8, 0.5), rtol=1e-6)
        np.testing.assert_allclose(segmentation.origin, (-12.5, 30.0, 101.25))
        np.testing.assert_allclose(segmentation.direction, TILTED, atol=1e-6)

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
        with pytest.raises(ValueError, match=r"cannot be read, .*no.nii.gz$"):
            read_segmentation(tmp_path / "no.nii.gz")


class TestCheckSameGrid:
    truth = Segmentation(np.zeros((2, 3, 4), np.uint8), (5.0, 0.5, 0.5), (-12.5, 30.0, 1012.25), TILTED)

    def check(self, **changes: Any) -> None:
        check_same_grid(replace(self.truth, **changes), self.truth, file=Path("a.nii.gz"))

    def test_takes_what_files_round(self) -> None:
        self.check()
        self.check(
            spacing_mm=(5.0004, 0.5, 0.5),
            origin=(-12.5, 30.0004, 1012.25),
            direction=(*TILTED[:8], 0.8004),
        )

    @pytest.mark.parametrize(
        ("changes", "named"),
        [
            ({"values": np.zeros((2, 4, 3), np.uint8)}, r"size \(2, 3, 4\) .*, got \(2, 4, 3\): a.nii.gz$"),
            ({"spacing_mm": (5.0, 0.5, 0.51)}, r"spacing \(5, 0.5, 0.5\) .*, got \(5, 0.5, 0.51\): a.nii.gz$"),
            ({"origin": (-12.5, 30.0, 1012.3)}, r"origin .*1012.25\) .*, got \(-12.5, 30, 1012.3\): a.nii.gz$"),
            ({"direction": (1.0, 0, 0, 0, 1, 0, 0, 0, 1)}, r"direction \(1, .*0.8\), got \(1, .*, 1\): a.nii.gz$"),
        ],
    )
    def test_says_which_differs(self, changes: dict[str, Any], named: str) -> None:
        with pytest.raises(ValueError, match=f"a prediction must have its reference's {named}"):
            self.check(**changes)


class TestFindFactor:
    @pytest.fixture
    def raw(self, tmp_path: Path) -> Path:
        (tmp_path / "raw" / "labelsTs").mkdir(parents=True)
        (tmp_path / "raw" / "labelsTs_thick").mkdir()
        return tmp_path / "raw"

    def test_is_none_without_a_sidecar(self, raw: Path) -> None:
        assert find_factor(raw / "labelsTs", raw / "dataset.json") is None

    def test_lies_beside_the_references_or_dataset_json(self, raw: Path, tmp_path: Path) -> None:
        (raw / "thin_thick.json").write_text(json.dumps({"factor": 5, "cases": {}}))
        assert find_factor(raw / "labelsTs", tmp_path / "dataset.json") == 5
        assert find_factor(tmp_path / "elsewhere", raw / "dataset.json") == 5
        assert find_factor(tmp_path / "elsewhere" / "labels", tmp_path / "dataset.json") is None

    def test_finds_the_parent_of_the_folder_one_is_in(self, raw: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (raw / "thin_thick.json").write_text('{"factor": 5}')
        monkeypatch.chdir(raw / "labelsTs")
        assert find_factor(Path(), Path("dataset.json")) == 5

    def test_is_none_where_the_references_are_thick(self, raw: Path) -> None:
        (raw / "thin_thick.json").write_text('{"factor": 5}')
        assert find_factor(raw / "labelsTs_thick", raw / "dataset.json") is None

    @pytest.mark.parametrize("content", ['{"factor": "5"}', '{"factor": 2.5}', '{"factor": 1}', "{}"])
    def test_is_none_where_none_is_given(self, raw: Path, content: str) -> None:
        (raw / "thin_thick.json").write_text(content)
        assert find_factor(raw / "labelsTs", raw / "dataset.json") is None

    def test_refuses_a_sidecar_that_is_no_json(self, raw: Path) -> None:
        (raw / "thin_thick.json").write_text("{")
        with pytest.raises(ValueError, match=r"thin_thick.json must be JSON .*thin_thick.json$"):
            find_factor(raw / "labelsTs", raw / "dataset.json")
