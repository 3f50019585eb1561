"""Looking into a raw dataset: each refusal names the rule, the value and the file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk

from nnunetv2_cfseg.imaging.hounsfield import check_hounsfield
from nnunetv2_cfseg.imaging.labels import check_labels
from nnunetv2_cfseg.planners.check_cases import check_cases

DATASET_JSON: dict[str, Any] = {
    "channel_names": {"0": "CT"},
    "labels": {"background": 0, "organ": 1, "lesion": 2},
    "file_ending": ".nii.gz",
}


def write(file: Path, values: np.ndarray) -> str:
    sitk.WriteImage(sitk.GetImageFromArray(values), str(file))
    return str(file)


def hu(low: float = -1000, high: float = 1200, shape: tuple[int, ...] = (4, 5, 6)) -> np.ndarray:
    return np.linspace(low, high, int(np.prod(shape))).reshape(shape).astype(np.int16)


def labels(*values: int) -> np.ndarray:
    return np.resize(np.array(values, dtype=np.uint8), (4, 5, 6))


@pytest.fixture
def case(tmp_path: Path) -> dict[str, Any]:
    """A case that is as it should be."""
    return {
        "images": [write(tmp_path / "scan_0000.nii.gz", hu())],
        "label": write(tmp_path / "scan.nii.gz", labels(0, 1, 2)),
    }


def check(case: dict[str, Any], dataset_json: dict[str, Any] = DATASET_JSON, **kwargs: Any) -> None:
    check_cases({"scan": case}, dataset_json, **{"progress": False, **kwargs})


class TestCheckCases:
    def test_accepts_hounsfield_units_and_known_labels(self, case: dict[str, Any]) -> None:
        check(case)

    @pytest.mark.parametrize(("low", "high"), [(0, 1), (-1, 1), (-3, 5)])
    def test_refuses_a_ct_that_was_rescaled(self, case: dict[str, Any], low: int, high: int) -> None:
        write(Path(case["images"][0]), hu(low, high))
        with pytest.raises(ValueError, match=f"must be in Hounsfield units .* run from {low} to {high};"):
            check(case)

    @pytest.mark.parametrize("high", [255, 200, 4095])
    def test_refuses_a_ct_that_starts_at_zero(self, case: dict[str, Any], high: int) -> None:
        file = write(Path(case["images"][0]), hu(0, high))
        with pytest.raises(ValueError, match="must be in Hounsfield units") as error:
            check(case)
        assert f"from 0 to {high}" in str(error.value)
        assert str(error.value).endswith(file)

    @pytest.mark.parametrize(("low", "high"), [(0, 80), (-1024, 3071), (-1000, 255), (-1, 255), (0, 100)])
    def test_accepts_what_scanners_and_skull_stripping_write(self, case: dict[str, Any], low: int, high: int) -> None:
        write(Path(case["images"][0]), hu(low, high))
        check(case)

    def test_accepts_metal(self, case: dict[str, Any]) -> None:
        values = hu()
        values[0, 0, :2] = 16438
        write(Path(case["images"][0]), values)
        check(case)

    def test_leaves_other_modalities_alone(self, case: dict[str, Any]) -> None:
        write(Path(case["images"][0]), hu(0, 255))
        check(case, {**DATASET_JSON, "channel_names": {"0": "T1"}})

    @pytest.mark.parametrize("name", ["ct", "Ct", "CT"])
    def test_knows_a_ct_however_it_is_spelt(self, case: dict[str, Any], name: str) -> None:
        write(Path(case["images"][0]), hu(0, 4095))
        with pytest.raises(ValueError, match="Hounsfield"):
            check(case, {**DATASET_JSON, "channel_names": {"0": name}})

    def test_looks_at_the_ct_among_several_channels(self, case: dict[str, Any], tmp_path: Path) -> None:
        case["images"].insert(0, write(tmp_path / "mr_0000.nii.gz", hu(0, 255)))
        two = {**DATASET_JSON, "channel_names": {"0": "T1", "1": "CT"}}
        check(case, two)
        file = write(Path(case["images"][1]), hu(0, 255))
        with pytest.raises(ValueError, match="Hounsfield") as error:
            check(case, two)
        assert file in str(error.value)

    def test_refuses_a_label_that_dataset_json_does_not_name(self, case: dict[str, Any]) -> None:
        write(Path(case["label"]), labels(0, 1, 2, 7, 9))
        with pytest.raises(ValueError, match=r"must be those of dataset.json \[0, 1, 2\], got also \[7, 9\]") as error:
            check(case)
        assert str(error.value).endswith(case["label"])

    def test_names_a_few_of_very_many_wrong_labels(self, case: dict[str, Any]) -> None:
        write(Path(case["label"]), np.arange(120, dtype=np.int16).reshape(4, 5, 6))  # an image by mistake
        with pytest.raises(ValueError, match="got also") as error:
            check(case)
        assert len(str(error.value)) < 200 + len(case["label"])

    def test_knows_the_labels_that_regions_hold(self, case: dict[str, Any]) -> None:
        regions = {"background": 0, "whole": [1, 2], "core": [2], "ignore": 3}
        write(Path(case["label"]), labels(0, 1, 2, 3))
        check(case, {**DATASET_JSON, "labels": regions})
        write(Path(case["label"]), labels(0, 4))
        with pytest.raises(ValueError, match=r"\[0, 1, 2, 3\], got also \[4\]"):
            check(case, {**DATASET_JSON, "labels": regions})

    @pytest.mark.parametrize("part", ["image", "label"])
    @pytest.mark.parametrize(
        "share",
        [
            0.02,
            0.5,
            0.99,
        ],
    )
    def test_refuses_a_truncated_file(self, case: dict[str, Any], part: str, share: float) -> None:
        values = np.random.default_rng(0).integers(0, 3, (8, 16, 16)).astype(np.int16)
        image, label = write(Path(case["images"][0]), values * 500 - 1000), write(Path(case["label"]), values)
        file = Path(label if part == "label" else image)
        file.write_bytes(file.read_bytes()[: int(file.stat().st_size * share)])
        with pytest.raises(ValueError, match="truncated") as error:
            check(case)
        assert str(error.value).endswith(str(file))

    def test_refuses_a_truncated_file_that_is_not_compressed(self, case: dict[str, Any], tmp_path: Path) -> None:
        file = tmp_path / "scan_0000.nii"
        case["images"] = [write(file, hu())]
        check(case)
        file.write_bytes(file.read_bytes()[:-100])
        with pytest.raises(ValueError, match=f"truncated.*: {file}$"):
            check(case)

    @pytest.mark.parametrize("part", ["image", "label"])
    def test_refuses_a_missing_file(self, case: dict[str, Any], part: str) -> None:
        file = Path(case["label"] if part == "label" else case["images"][0])
        file.unlink()
        with pytest.raises(ValueError, match="must be a file, and there is none") as error:
            check(case)
        assert str(file) in str(error.value)

    @pytest.mark.parametrize("channels", [{"0": "CT", "1": "T1"}, {}])
    def test_refuses_another_number_of_files_than_channels(
        self, case: dict[str, Any], channels: dict[str, str]
    ) -> None:
        with pytest.raises(ValueError, match=f"{len(channels)}.*channel.*1.*scan"):
            check(case, {**DATASET_JSON, "channel_names": channels})

    def test_finds_the_bad_case_among_good_ones_in_several_processes(
        self, case: dict[str, Any], tmp_path: Path
    ) -> None:
        bad = {**case, "label": write(tmp_path / "bad.nii.gz", labels(0, 5))}
        with pytest.raises(ValueError, match=r"got also \[5\].*bad\.nii\.gz$"):
            check_cases({"a": case, "b": bad, "c": case}, DATASET_JSON, num_processes=2, progress=False)

    def test_shows_progress_where_it_is_asked_to(
        self, case: dict[str, Any], capsys: pytest.CaptureFixture[str]
    ) -> None:
        check(case, progress=False)
        assert capsys.readouterr().err == ""
        check(case, progress=True)
        assert "Checking cases" in capsys.readouterr().err


def test_check_hounsfield_gives_the_range_it_found() -> None:
    with pytest.raises(ValueError, match=r"run from 0 to 255: scan\.nii\.gz$"):
        check_hounsfield(np.array([0, 17, 255]), "scan.nii.gz")


def test_check_labels_takes_a_case_without_foreground() -> None:
    check_labels(np.zeros((2, 2, 2)), {0, 1}, "scan.nii.gz")
