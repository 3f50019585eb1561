"""Thick slices: averages of slabs, and what is marked on them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from nnunetv2_cfseg.imaging.slabs import annotate_slabs, average_slabs

factors = st.integers(1, 6)


def column(*values: float, dtype: type = np.uint8) -> np.ndarray:
    """A volume of one voxel a slice."""
    return np.array(values, dtype).reshape(-1, 1, 1)


@st.composite
def volumes(draw: st.DrawFn, dtype: type, low: int, high: int) -> tuple[np.ndarray, int]:
    """A volume and a factor of its slices."""
    factor, slabs, rows, columns = draw(st.tuples(factors, st.integers(1, 4), st.integers(1, 3), st.integers(1, 3)))
    shape = (factor * slabs, rows, columns)
    return draw(arrays(dtype, shape, elements=st.integers(low, high))), factor


class TestAverage:
    def test_by_hand(self) -> None:
        np.testing.assert_array_equal(
            average_slabs(column(-1000, 40, 30, 71, 0, 1, dtype=np.int16), 2).ravel(), [-480, 50.5, 0.5]
        )

    def test_takes_consecutive_slices_and_keeps_rows_and_columns(self) -> None:
        volume = np.arange(4 * 2 * 3).reshape(4, 2, 3)
        np.testing.assert_array_equal(average_slabs(volume, 2), [[[3, 4, 5], [6, 7, 8]], [[15, 16, 17], [18, 19, 20]]])

    @given(volumes(np.int16, -1024, 3071))
    def test_conserves_the_mean_of_each_slab(self, given_volume: tuple[np.ndarray, int]) -> None:
        volume, factor = given_volume
        thick = average_slabs(volume, factor)
        assert thick.shape == (len(volume) // factor, *volume.shape[1:])
        assert thick.dtype == np.float32
        for z, thick_slice in enumerate(thick):
            slab = volume[z * factor : (z + 1) * factor]
            np.testing.assert_allclose(thick_slice.mean(dtype=np.float64), slab.mean(), atol=1e-3)
            assert (thick_slice >= slab.min(axis=0) - 1e-3).all()
            assert (thick_slice <= slab.max(axis=0) + 1e-3).all()

    @given(volumes(np.int16, -1024, 3071))
    def test_by_one_changes_nothing(self, given_volume: tuple[np.ndarray, int]) -> None:
        np.testing.assert_array_equal(average_slabs(given_volume[0], 1), given_volume[0])

    def test_does_not_overflow(self) -> None:
        assert average_slabs(np.full((12, 1, 1), 30000, np.int16), 12).item() == 30000


class TestAnnotate:
    @pytest.mark.parametrize(
        ("slab", "threshold", "marked"),
        [
            ((2, 2, 2, 2), 0.5, 2),
            ((2, 2, 0, 0), 0.5, 2),  # half is enough
            ((2, 0, 0, 0), 0.5, 0),
            ((2, 0, 0, 0), 0.25, 2),
            ((2, 0, 0, 0), 0.26, 0),
            ((2, 2, 2, 0), 1, 0),
            ((5, 4, 0, 0), 0.5, 4),  # lesion to a half together; equally frequent, so the smaller value
            ((5, 5, 4, 0), 0.5, 5),
            ((4, 0, 5, 5), 0.75, 5),
            ((1, 2, 3, 4), 0.5, 1),
            ((0, 0, 0, 0), 0.1, 0),
        ],
    )
    def test_by_hand(self, slab: tuple[int, ...], threshold: float, marked: int) -> None:
        assert annotate_slabs(column(*slab), 4, threshold=threshold).item() == marked

    @given(volumes(np.uint8, 0, 3), st.integers(1, 10))
    def test_is_a_vote_among_the_lesion_of_a_voxels_slab(
        self, given_labels: tuple[np.ndarray, int], tenths: int
    ) -> None:
        labels, factor = given_labels
        thick = annotate_slabs(labels, factor, threshold=tenths / 10)
        assert thick.dtype == labels.dtype
        assert thick.shape == (len(labels) // factor, *labels.shape[1:])
        for z, y, x in np.ndindex(thick.shape):
            lesion = [value for value in labels[z * factor : (z + 1) * factor, y, x].tolist() if value]
            votes = Counter(lesion)
            winner = min(votes, key=lambda value: (-votes[value], value), default=0)
            assert thick[z, y, x] == (winner if 10 * len(lesion) >= tenths * factor else 0)

    @given(volumes(np.uint8, 0, 5))
    def test_by_one_changes_nothing(self, given_labels: tuple[np.ndarray, int]) -> None:
        np.testing.assert_array_equal(annotate_slabs(given_labels[0], 1), given_labels[0])

    @pytest.mark.parametrize(
        ("slab", "threshold", "marked"),
        [
            ((1, 1, 9, 9), 0.5, 1),  # lesion to a half, and no value is smaller
            ((2, 2, 9, 9), 0.5, 9),  # the others may both hold 1
            ((2, 2, 2, 9), 0.5, 2),
            ((1, 9, 9, 9), 0.5, 9),
            ((0, 0, 0, 9), 0.5, 0),
            ((0, 0, 9, 9), 0.5, 9),
            ((0, 0, 9, 9), 0.75, 0),
            ((9, 9, 9, 9), 0.5, 9),
            ((4, 5, 5, 9), 0.5, 9),  # a tie, if the last one is 4
            ((4, 4, 5, 9), 0.5, 4),
            ((1, 1, 0, 9), 0.75, 9),  # not yet enough
        ],
    )
    def test_what_is_ignored_may_be_anything(self, slab: tuple[int, ...], threshold: float, marked: int) -> None:
        assert annotate_slabs(column(*slab), 4, threshold=threshold, ignore=9).item() == marked

    @given(volumes(np.uint8, 0, 4), st.integers(1, 10))
    def test_a_mark_holds_whatever_is_ignored(self, given_labels: tuple[np.ndarray, int], tenths: int) -> None:
        """Against all that the ignored voxels of a slab may hold: the values that are there and a smaller one."""
        labels, factor = given_labels
        labels = np.where(labels > 0, labels + 1, 0).astype(np.uint8)  # 2 to 5, of which 5 is ignored
        thick = annotate_slabs(labels, factor, threshold=tenths / 10, ignore=5)
        for z, y, x in np.ndindex(thick.shape):
            slab = labels[z * factor : (z + 1) * factor, y, x]
            unknown = np.flatnonzero(slab == 5)
            if len(unknown) > 3:
                continue
            marks = set()
            for held in product((0, 1, 2, 3, 4), repeat=len(unknown)):
                slab[unknown] = held
                marks.add(annotate_slabs(column(*slab), factor, threshold=tenths / 10).item())
            slab[unknown] = 5
            assert thick[z, y, x] == (marks.pop() if len(marks) == 1 else 5)

    @pytest.mark.parametrize("threshold", [0, -0.1, 1.01, float("nan")])
    def test_refuses_a_threshold_that_is_no_share(self, threshold: float) -> None:
        with pytest.raises(ValueError, match=f"^a threshold must be above 0 and at most 1, got {threshold:g}$"):
            annotate_slabs(column(1, 0), 2, threshold=threshold)


@pytest.mark.parametrize("project", [average_slabs, annotate_slabs])
@pytest.mark.parametrize("factor", [0, -1, 4, 7])
def test_refuses_a_factor_that_does_not_divide(project: Callable[..., np.ndarray], factor: int) -> None:
    with pytest.raises(ValueError, match=f"divide the number of slices, got {factor} for 6 slices$"):
        project(column(1, 2, 3, 4, 5, 6), factor)
