from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nnunetv2_cfseg.inference.refine import refine

R = 4


def scan(marks: list[int], lesion: list[float]) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities (2, R slabs, 1, 1) of background and lesion, and a column's annotation."""
    p = np.array(lesion, dtype=np.float32)[None, :, None, None]
    return np.concatenate([1 - p, p]), np.repeat(np.array(marks), R)[:, None, None]


def test_a_surface_is_where_the_network_sees_it() -> None:
    p, annotation = scan([0, 1, 0], [0.1] * 5 + [0.9] * 3 + [0.8] + [0.1] * 3)
    refined = refine(p, annotation, factor=R)
    assert refined.ravel().tolist() == [0] * 5 + [1] * 4 + [0] * 3  # one slice of the last slab, too few to mark it


def test_the_network_is_overruled_by_the_mark() -> None:
    nothing_seen, annotation = scan([0, 1, 0], [0.01] * 5 + [0.2, 0.3] + [0.01] * 5)
    assert refine(nothing_seen, annotation, factor=R).sum() >= 1
    too_much, annotation = scan([0, 0, 1], [0.01] * 4 + [0.9, 0.9, 0.95, 0.95] + [0.99] * 4)
    slab = refine(too_much, annotation, factor=R).ravel()[R : 2 * R]
    assert 1 <= slab.sum() < 4  # fewer than two are likely, and those at the lesion's side
    assert slab[0] == 0


def test_a_label_that_was_not_marked_near_is_never_found() -> None:
    p, annotation = scan([0, 0, 0, 0, 1], [0.99] * (5 * R))
    assert refine(p, annotation, factor=R).ravel()[: 3 * R].sum() == 0
    assert refine(p[:, : 3 * R], annotation[: 3 * R], factor=R).sum() == 0  # nothing is marked at all


def test_what_nobody_annotated_stays_so() -> None:
    p = np.full((2, 3 * R, 2, 2), 0.5, dtype=np.float32)
    annotation = np.repeat(np.array([0, 1, 2]), R)[:, None, None] * np.ones((1, 2, 2), dtype=int)
    refined = refine(p, annotation, factor=R, ignore_label=2)
    assert (refined[2 * R :] == 2).all()
    assert (refined[: 2 * R] < 2).all()


def test_a_box_round_the_marks_gives_what_the_whole_scan_would() -> None:
    rng = np.random.default_rng(0)
    p = rng.random((3, 6 * R, 20, 20)).astype(np.float32)
    p /= p.sum(0)
    thick = np.zeros((6, 20, 20), dtype=np.uint8)
    thick[2:4, 8:11, 9:12] = rng.integers(0, 3, (2, 3, 3))
    thick[2, 9, 10] = 1
    refined = refine(p, thick.repeat(R, axis=0), factor=R)
    assert refined.dtype == np.uint8
    far = np.ones_like(refined, dtype=bool)
    far[R : 5 * R, 6:13, 7:14] = False
    assert not refined[far].any()
    moved = refine(np.roll(p, 5, axis=3), np.roll(thick, 5, axis=2).repeat(R, axis=0), factor=R)
    np.testing.assert_array_equal(np.roll(moved, -5, axis=2), refined)


@given(st.lists(st.integers(0, 2), min_size=1, max_size=5), st.integers(0, 2**32 - 1))
def test_a_slice_has_a_label_of_its_slab_or_of_a_neighbour(marks: list[int], seed: int) -> None:
    p = np.random.default_rng(seed).dirichlet(np.ones(3), size=(len(marks) * R, 1, 1)).transpose(3, 0, 1, 2)
    refined = refine(p, np.repeat(np.array(marks), R)[:, None, None], factor=R).reshape(-1, R)
    for slab, labels in enumerate(refined):
        allowed = set(marks[max(0, slab - 1) : slab + 2])
        assert set(labels.tolist()) <= allowed
        if len(allowed) == 1:
            assert set(labels.tolist()) == {marks[slab]}


def test_bad_input_is_refused() -> None:
    p, annotation = scan([0, 1], [0.5] * 8)
    with pytest.raises(ValueError, match=r"must be on the annotation's grid, got \(8, 1, 1\) for \(4, 1, 1\)"):
        refine(p, annotation[:4], factor=R)
    with pytest.raises(ValueError, match="whole slabs of 3 slices, got 8"):
        refine(p, annotation, factor=3)
    annotation[1] = 1
    with pytest.raises(ValueError, match="must be the same on all 4 slices of a slab"):
        refine(p, annotation, factor=R)
