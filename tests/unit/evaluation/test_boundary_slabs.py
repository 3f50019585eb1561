"""Dice in boundary slabs: by hand, and thick voxel by thick voxel."""

from __future__ import annotations

from math import nan

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from nnunetv2_cfseg.evaluation.boundary_slabs import boundary_dice
from nnunetv2_cfseg.imaging.slabs import annotate_slabs

cases = st.tuples(st.integers(1, 9), st.integers(1, 2), st.integers(1, 3)).flatmap(
    lambda shape: st.tuples(*[arrays(bool, shape)] * 3)
)


def columns(*texts: str) -> np.ndarray:
    """Columns of slices beside each other, # for voxels of the mask: (Z, 1, columns)."""
    return np.array([[letter == "#" for letter in text] for text in texts]).T[:, None, :].copy()


class TestByHand:
    @pytest.mark.parametrize(
        ("truth", "prediction", "dice"),
        [
            (["##..####...."], ["##..####...."], 1),
            (["##..####...."], ["#...####...."], 2 / 3),  # 1 of 2 voxels of the first thick voxel, none too many
            (["##..####...."], [".##.####...."], 1 / 2),
            (["##..####...."], ["##.........."], 1),  # filled thick voxels are not looked at
            (["##..####...."], ["##..########"], 1),  # nor empty ones
            (["##..####...."], ["............"], 0),
            (["####....####"], ["............"], nan),  # no boundary
            (["............"], ["####........"], nan),
            (["##..", "...#"], ["#...", "..##"], 2 * 2 / (3 + 3)),  # a thick voxel is one column's
        ],
    )
    def test_slabs_of_four(self, truth: list[str], prediction: list[str], dice: float) -> None:
        np.testing.assert_allclose(boundary_dice(columns(*truth), columns(*prediction), factor=4), dice)

    @pytest.mark.parametrize(
        ("truth", "dice"),
        [
            (["###."], 6 / 7),  # copied to 4, of which 3 are right
            (["#..."], 0),  # copied to none
            (["###.", "...#"], 6 / 8),
            (["##..", "####"], 4 / 6),  # half is marked
        ],
    )
    def test_copies_of_a_thick_label(self, truth: list[str], dice: float) -> None:
        thin = columns(*truth)
        copied = np.repeat(annotate_slabs(thin.astype(np.uint8), 4), 4, axis=0).astype(bool)
        assert boundary_dice(thin, copied, factor=4) == pytest.approx(dice)

    @pytest.mark.parametrize(
        ("truth", "prediction", "dice"),
        [
            ("#####.", "####.#", 0),  # the last slab has two slices
            ("#####.", "######", 2 / 3),
            ("#####", "####.", nan),  # one: it is filled or empty
        ],
    )
    def test_slices_left_at_the_end(self, truth: str, prediction: str, dice: float) -> None:
        np.testing.assert_allclose(boundary_dice(columns(truth), columns(prediction), factor=4), dice)

    def test_fewer_slices_than_the_factor(self) -> None:
        assert boundary_dice(columns("#.."), columns("##."), factor=300) == pytest.approx(2 / 3)

    def test_counts_do_not_overflow(self) -> None:
        truth = np.ones((300, 1, 1), bool)
        truth[0] = False
        assert boundary_dice(truth, np.ones_like(truth), factor=300) == pytest.approx(2 * 299 / 599)

    @pytest.mark.parametrize(
        ("ignore", "dice"),
        [
            (["...."], 2 / 3),
            (["...#"], 2 / 3),
            (["##.."], nan),  # what remains is empty
            ([".##."], 1),
            (["..##"], nan),  # what remains is filled
            (["####"], nan),
        ],
    )
    def test_ignored_voxels_are_left_out(self, ignore: list[str], dice: float) -> None:
        value = boundary_dice(columns("##.."), columns("#..."), factor=4, ignore=columns(*ignore))
        np.testing.assert_allclose(value, dice)

    @pytest.mark.parametrize("factor", [1, 0, -2])
    def test_refuses_a_factor(self, factor: int) -> None:
        with pytest.raises(ValueError, match=f"a factor must be >= 2, got {factor}"):
            boundary_dice(columns("##.."), columns("##.."), factor=factor)


@given(cases, st.integers(2, 5), st.booleans())
def test_equals_a_loop_over_thick_voxels(
    masks: tuple[np.ndarray, np.ndarray, np.ndarray], factor: int, with_ignore: bool
) -> None:
    truth, prediction, ignore = masks
    scored = ~ignore if with_ignore else np.ones_like(truth)
    overlap = total = 0
    for start in range(0, len(truth), factor):
        for row, column in np.ndindex(*truth.shape[1:]):
            thick = slice(start, start + factor), row, column
            kept = scored[thick]
            true, predicted = truth[thick][kept], prediction[thick][kept]
            if true.any() and not true.all():
                overlap += (true & predicted).sum()
                total += true.sum() + predicted.sum()
    value = boundary_dice(truth, prediction, factor=factor, ignore=ignore if with_ignore else None)
    np.testing.assert_allclose(value, 2 * overlap / total if total else nan)


@given(cases, st.integers(2, 5), st.sampled_from([0, 1, 2]))
def test_slices_may_follow_each_other_along_any_axis(
    masks: tuple[np.ndarray, np.ndarray, np.ndarray], factor: int, axis: int
) -> None:
    turned = [np.moveaxis(mask, 0, axis) for mask in masks]
    np.testing.assert_equal(
        boundary_dice(turned[0], turned[1], factor=factor, slice_axis=axis, ignore=turned[2]),
        boundary_dice(masks[0], masks[1], factor=factor, ignore=masks[2]),
    )
