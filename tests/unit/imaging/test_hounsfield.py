"""How values are judged; ``tests/robustness/test_hounsfield.py`` has the kinds that are refused."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from nnunetv2_cfseg.imaging import notices
from nnunetv2_cfseg.imaging.hounsfield import check_hounsfield, judge_hounsfield
from nnunetv2_cfseg.imaging.hounsfield_histogram import MOST_VOXELS, sample_of


@pytest.fixture(autouse=True)
def _nothing_was_said() -> None:
    notices.forget()


def scan(shape: tuple[int, ...] = (20, 40, 40), seed: int = 0) -> np.ndarray:
    """Muscle with a bone, half in air."""
    hu = np.random.default_rng(seed).normal(50, 20, shape)
    hu[:, : shape[1] // 2] -= 1050
    hu[:, -4:, :8] += 700
    return hu


class TestCheck:
    def test_is_silent_of_hu(self, capsys: pytest.CaptureFixture[str]) -> None:
        check_hounsfield(scan(), "a.nii.gz")
        assert capsys.readouterr().err == ""

    def test_refuses_with_the_range_and_the_file(self) -> None:
        with pytest.raises(
            ValueError, match=r"Hounsfield .* near 1\d{3}.* run from -?\d+.* to 1\d{3}.*--assume_hu.*: a\.nii\.gz$"
        ):
            check_hounsfield((scan() + 1024).round(), "a.nii.gz", assume_hu=False)

    def test_warns_once_with_the_numbers(self, capsys: pytest.CaptureFixture[str]) -> None:
        for _ in range(2):
            check_hounsfield(scan() + 200, "a.nii.gz")
        said = capsys.readouterr().err
        assert said.startswith("warning: ")
        assert said.endswith(": a.nii.gz\n")
        assert said.count("\n") == 1
        assert "run from" in said

    @pytest.mark.parametrize("offset", [200, 1024])
    def test_does_not_look_where_the_user_knows(self, offset: int, capsys: pytest.CaptureFixture[str]) -> None:
        check_hounsfield(scan() + offset, "a.nii.gz", assume_hu=True)
        assert capsys.readouterr().err == ""

    def test_of_no_values(self) -> None:
        with pytest.raises(ValueError, match=r"no values.*a\.nii$"):
            check_hounsfield(np.full((2, 2, 2), np.nan), "a.nii")


class TestVerdict:
    def test_says_where_air_and_tissue_are(self) -> None:
        verdict = judge_hounsfield(scan())
        assert verdict.level == "hu"
        assert verdict.air == pytest.approx(-1000, abs=16)
        assert verdict.tissue == pytest.approx(50, abs=16)

    @pytest.mark.parametrize("value", [-1500, -2000, -3024, -32768])
    def test_sets_padding_aside(self, value: float) -> None:
        hu = scan()
        hu[:, :6] = value
        verdict = judge_hounsfield(hu)
        assert (verdict.level, verdict.padding) == ("hu", (value,))

    def test_takes_the_files_word_for_padding(self) -> None:
        """Of soft tissue alone -2000 could be air, twice as low as it should be."""
        hu = np.random.default_rng(0).normal(50, 20, (20, 40, 40))
        hu[:, :10] = -2000
        assert judge_hounsfield(hu).level == "not_hu"
        assert judge_hounsfield(hu, padding=-2000).level == "hu"

    def test_reads_integers_of_any_type_alike(self) -> None:
        hu = scan().round()
        verdicts = {judge_hounsfield(hu.astype(dtype)) for dtype in (np.int16, np.int32, np.float32, np.float64)}
        assert len(verdicts) == 1

    @given(arrays(np.int16, array_shapes(min_dims=3, max_dims=3, max_side=8)))
    def test_of_any_values(self, values: np.ndarray) -> None:
        verdict = judge_hounsfield(values)
        assert verdict.level in ("hu", "doubtful", "not_hu")
        assert bool(verdict.reason) is (verdict.level != "hu")

    @given(arrays(np.float64, (3, 4, 5), elements=st.floats(allow_nan=True, allow_infinity=True)))
    @settings(max_examples=30)
    def test_of_any_numbers(self, values: np.ndarray) -> None:
        assert judge_hounsfield(values) == judge_hounsfield(values)


class TestSample:
    @pytest.mark.parametrize("shape", [(10, 512, 512), (64, 256, 256), (30, 500, 300), (3, 1009, 1013)])
    def test_meets_every_column_and_is_no_larger_than_it_says(self, shape: tuple[int, ...]) -> None:
        column = np.broadcast_to(np.arange(shape[2], dtype=np.float32), shape)
        sample = sample_of(column)
        assert sample.size <= MOST_VOXELS
        counts = np.bincount(sample.astype(int), minlength=shape[2])
        assert counts.max() - counts.min() <= 0.1 * counts.mean() + 1

    def test_is_all_of_a_small_scan(self) -> None:
        assert sorted(sample_of(np.arange(24.0).reshape(2, 3, 4))) == list(range(24))
