"""Lesions found and made up: by hand, and lesion by lesion."""

from __future__ import annotations

from math import isnan, nan

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import ndimage

from nnunetv2_cfseg.evaluation.lesions import LesionMatch, match_lesions

mask_pairs = st.tuples(st.integers(1, 4), st.integers(1, 5), st.integers(1, 6)).flatmap(
    lambda shape: st.tuples(*[arrays(bool, shape, elements=st.integers(0, 3).map(lambda n: n == 0))] * 2)
)


def row(text: str) -> np.ndarray:
    """A row of voxels, # for those of the mask."""
    return np.array([letter == "#" for letter in text]).reshape(1, 1, -1)


class TestMatching:
    @pytest.mark.parametrize(
        ("truth", "prediction", "expected"),
        [
            ("##..##", "##..##", LesionMatch(predicted=2, confirmed=2, reference=2, found=2)),
            ("##..##", "##....", LesionMatch(predicted=1, confirmed=1, reference=2, found=1)),
            ("##....", "##..##", LesionMatch(predicted=2, confirmed=1, reference=1, found=1)),
            ("##....", "....##", LesionMatch(predicted=1, confirmed=0, reference=1, found=0)),
            ("##.##.", "#####.", LesionMatch(predicted=1, confirmed=1, reference=2, found=2)),  # merged
            ("#####.", "##.##.", LesionMatch(predicted=2, confirmed=2, reference=1, found=1)),  # split
            ("######", "#.....", LesionMatch(predicted=1, confirmed=1, reference=1, found=0)),  # a sixth is too little
            ("#.....", "######", LesionMatch(predicted=1, confirmed=0, reference=1, found=1)),
            ("####..", "#.....", LesionMatch(predicted=1, confirmed=1, reference=1, found=1)),  # a quarter is enough
            ("......", "##..##", LesionMatch(predicted=2, confirmed=0, reference=0, found=0)),
            ("##..##", "......", LesionMatch(predicted=0, confirmed=0, reference=2, found=0)),
            ("......", "......", LesionMatch(predicted=0, confirmed=0, reference=0, found=0)),
        ],
    )
    def test_by_hand(self, truth: str, prediction: str, expected: LesionMatch) -> None:
        assert match_lesions(row(truth), row(prediction), overlap=0.25) == expected

    @pytest.mark.parametrize(("covered", "found"), [(6, 0), (7, 1)])
    def test_a_share_that_is_met_exactly_is_enough(self, covered: int, found: int) -> None:
        """0.07 * 100 is 7.000000000000001."""
        truth = row("#" * 100)
        assert match_lesions(truth, row("#" * covered + "." * (100 - covered)), overlap=0.07).found == found

    def test_pieces_that_cover_a_lesion_add_up(self) -> None:
        assert match_lesions(row("######"), row("#.#.#."), overlap=0.5).found == 1

    @pytest.mark.parametrize("other", [(0, 0, 1), (0, 1, 1), (1, 1, 1), (1, 0, 1)])
    def test_voxels_that_touch_are_one_lesion(self, other: tuple[int, int, int]) -> None:
        mask = np.zeros((3, 3, 3), bool)
        mask[0, 0, 0] = mask[other] = True
        assert match_lesions(mask, mask, overlap=0.1) == LesionMatch(1, 1, 1, 1)

    def test_voxels_with_one_between_are_two(self) -> None:
        mask = np.zeros((3, 3, 3), bool)
        mask[0, 0, 0] = mask[2, 1, 1] = True
        assert match_lesions(mask, mask, overlap=0.1).reference == 2

    @pytest.mark.parametrize("axis", [0, 1, 2])
    def test_single_rows(self, axis: int) -> None:
        """Crops of one row, which cc3d refuses if they are bool and every other voxel is set."""
        for size in range(1, 8):
            for code in range(2**size):
                mask = np.array([code >> bit & 1 for bit in range(size)], bool).reshape(1, 1, -1).swapaxes(2, axis)
                assert match_lesions(mask, mask, overlap=1).reference == slow_count(mask, mask, 1)[0]

    def test_an_array_without_voxels(self) -> None:
        empty = np.zeros((0, 0, 0), bool)
        assert match_lesions(empty, empty, overlap=0.1) == LesionMatch(0, 0, 0, 0)

    @given(mask_pairs, st.sampled_from([0.1, 0.25, 0.5, 1.0]))
    def test_equals_a_loop_over_lesions(self, masks: tuple[np.ndarray, np.ndarray], overlap: float) -> None:
        truth, prediction = masks
        reference, found = slow_count(truth, prediction, overlap)
        predicted, confirmed = slow_count(prediction, truth, overlap)
        assert match_lesions(truth, prediction, overlap=overlap) == LesionMatch(predicted, confirmed, reference, found)

    def test_views_that_are_not_contiguous(self) -> None:
        rng = np.random.default_rng(0)
        truth, prediction = rng.random((2, 6, 7, 8)) < 0.1
        turned = match_lesions(truth.transpose(2, 0, 1)[::-1], prediction.transpose(2, 0, 1)[::-1], overlap=0.5)
        assert turned == match_lesions(truth, prediction, overlap=0.5)


class TestScores:
    @pytest.mark.parametrize(
        ("match", "precision", "recall", "f1"),
        [
            (LesionMatch(predicted=4, confirmed=1, reference=2, found=1), 0.25, 0.5, 1 / 3),
            (LesionMatch(predicted=3, confirmed=3, reference=2, found=2), 1, 1, 1),
            (LesionMatch(predicted=2, confirmed=0, reference=2, found=0), 0, 0, 0),
            (LesionMatch(predicted=1, confirmed=0, reference=1, found=1), 0, 1, 0),
            (LesionMatch(predicted=0, confirmed=0, reference=2, found=0), nan, 0, 0),
            (LesionMatch(predicted=2, confirmed=0, reference=0, found=0), 0, nan, 0),
            (LesionMatch(predicted=0, confirmed=0, reference=0, found=0), nan, nan, nan),
        ],
    )
    def test_by_hand(self, match: LesionMatch, precision: float, recall: float, f1: float) -> None:
        np.testing.assert_allclose((match.precision, match.recall, match.f1), (precision, recall, f1))

    @given(mask_pairs)
    def test_a_copy_is_perfect(self, masks: tuple[np.ndarray, np.ndarray]) -> None:
        match = match_lesions(masks[0], masks[0], overlap=1)
        assert match.f1 == 1 or (isnan(match.f1) and not masks[0].any())


def slow_count(mask: np.ndarray, other: np.ndarray, overlap: float) -> tuple[int, int]:
    labels, count = ndimage.label(mask, np.ones((3, 3, 3)))
    return count, sum(other[labels == lesion].mean() >= overlap for lesion in range(1, count + 1))


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_column_cut_out_of_a_larger_mask_keeps_its_lesions(axis: int) -> None:
    """Of such a part cc3d read voxels that lie beside it: it counted one lesion here."""
    larger = np.zeros((4, 4, 4), bool)
    ends: list[int | slice] = [0, 0, 0]
    for place in (0, 3):
        ends[axis] = place
        larger[tuple(ends)] = True
    column = larger[tuple(slice(None) if other == axis else slice(0, 1) for other in range(3))]
    nothing = np.zeros_like(column)
    assert match_lesions(nothing, column, overlap=0.1) == LesionMatch(2, 0, 0, 0)
    assert match_lesions(column, nothing, overlap=0.1) == LesionMatch(0, 0, 2, 0)
