"""A thick scan that is not where its header says is found by its voxels."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from nnunetv2_cfseg.data.pairing.shift import Shift, check_shift, measure_shift
from nnunetv2_cfseg.data.pairing.slabs import resample_slabs

FILE = Path("thick.nii.gz")


def body(seed: int, slices: int = 48, side: int = 9) -> np.ndarray:
    """Air, soft tissue and bone that change along z over some slices, as anatomy does."""
    rng = np.random.default_rng(seed)
    steps = np.cumsum(rng.normal(0, 1, (slices, side, side)), axis=0) + rng.normal(0, 2, (1, side, side))
    return np.round(np.clip(60 * steps, -1000, 1500)).astype(np.int16)


@given(seed=st.integers(0, 50), factor=st.integers(2, 6), moved=st.integers(-6, 6), noise_hu=st.sampled_from([0, 10]))
def test_every_shift_by_whole_slices_is_found(seed: int, factor: int, moved: int, noise_hu: float) -> None:
    assume(abs(moved) <= factor)
    thin = body(seed)
    edges = np.arange(6, 42, factor, dtype=float)
    thick = resample_slabs(thin, edges + moved) + np.random.default_rng(seed).normal(0, noise_hu, 1)
    found = measure_shift(thin, thick, edges, most=factor)
    assert found.best == moved
    assert found.best_correlation == pytest.approx(1)
    assert (found.correlation == pytest.approx(1)) == (moved == 0)


@given(seed=st.integers(0, 50), factor=st.integers(2, 6), sign=st.sampled_from([-1, 1]))
def test_half_a_slab_is_found(seed: int, factor: int, sign: int) -> None:
    thin = body(seed)
    edges = np.arange(6, 42, factor, dtype=float)
    half = factor / 2 * sign
    found = measure_shift(thin, resample_slabs(thin, edges + half), edges, most=factor)
    assert found.best * sign in (np.floor(factor / 2), np.ceil(factor / 2))
    named = re.escape(f"voxels lie {abs(found.best)} thin slices ({found.best * 1.5:+.4g} mm) off")
    with pytest.raises(ValueError, match=named):
        check_shift(found, slice_mm=1.5, most=factor + 1, file=FILE)


@given(seed=st.integers(0, 50), factor=st.integers(2, 6))
def test_a_tenth_of_a_slice_is_none(seed: int, factor: int) -> None:
    thin = body(seed)
    edges = np.arange(6, 42, factor, dtype=float)
    assert measure_shift(thin, resample_slabs(thin, edges + 0.1), edges, most=factor).best == 0


def test_other_grey_values_and_noise_are_none() -> None:
    thin = body(1)
    edges = np.arange(6, 42, 4.0)
    thick = 0.95 * resample_slabs(thin, edges) + 20
    thick = thick + np.random.default_rng(0).normal(0, 60, thick.shape)
    found = measure_shift(thin, thick, edges, most=4)
    assert found.best == 0
    assert found.correlation is not None
    assert 0.9 < found.correlation < 1
    check_shift(found, slice_mm=1, most=4, file=FILE)


def test_only_slabs_that_both_have_are_compared() -> None:
    """The scan ends with the slabs: shifted ones are compared without those that stand out."""
    thin = body(2, 20)
    edges = np.arange(0, 21, 5.0)
    thick = np.concatenate([resample_slabs(thin, edges + 2)[:-1] if i < 3 else thin[-1:] for i in (0, 3)])
    assert measure_shift(thin, thick.astype(float), edges, most=5).best == 2


def test_one_slab_that_fills_the_scan_can_be_nowhere_else() -> None:
    thin = body(3, 5)
    found = measure_shift(thin, thin.mean(axis=0, keepdims=True), np.array([0.0, 5.0]), most=5)
    assert found.best == 0


def test_a_scan_without_structure_says_nothing() -> None:
    flat = np.full((20, 9, 9), 40, np.int16)
    found = measure_shift(flat, np.full((4, 9, 9), 40.0), np.arange(0, 21, 5.0), most=5)
    assert found == Shift(None, 0, None)
    check_shift(found, slice_mm=1, most=5, file=FILE)


def test_metal_does_not_decide() -> None:
    """What saturates in one slab of both is where the header says, and all the rest two slices further."""
    thin = body(4, side=20)
    edges = np.arange(6, 42, 4.0)
    thick = resample_slabs(thin, edges + 2)
    thin[10, 0, 0], thick[1, 0, 0] = 32000, 16000
    assert measure_shift(thin, thick, edges, most=4).best == 2


def test_large_scans_are_thinned_out_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nnunetv2_cfseg.data.pairing.shift.MOST_PIXELS", 4)
    thin = body(5)
    edges = np.arange(6, 42, 4.0)
    assert measure_shift(thin, resample_slabs(thin, edges - 3), edges, most=4).best == -3


class TestRefusal:
    def test_names_the_shift(self) -> None:
        named = (
            "a thick scan must lie where its header says, and its voxels lie 2 thin slices (-3 mm) off: there it "
            "correlates by 0.9990 with the average of the thin scan, where the header says by 0.9500: thick.nii.gz"
        )
        with pytest.raises(ValueError, match=f"^{re.escape(named)}$"):
            check_shift(Shift(0.95, -2, 0.999), slice_mm=1.5, most=5, file=FILE)

    def test_says_that_there_may_be_more(self) -> None:
        with pytest.raises(ValueError, match=r"lie 5 or more thin slices \(\+5 mm\) off"):
            check_shift(Shift(0.95, 5, 0.999), slice_mm=1, most=5, file=FILE)

    @pytest.mark.parametrize("best", [0, 3])
    def test_of_another_scan(self, best: int) -> None:
        with pytest.raises(ValueError, match=r"by 0.9 or more, got 0.850: thick.nii.gz$"):
            check_shift(Shift(0.8, best, 0.85), slice_mm=1, most=5, file=FILE)
