"""Averages between any two edges: nothing is lost, whatever the edges cut."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nnunetv2_cfseg.data.pairing import slabs
from nnunetv2_cfseg.data.pairing.slabs import resample_slabs
from nnunetv2_cfseg.imaging.slabs import average_slabs

FINE = 12
volumes = st.builds(
    lambda seed, slices: np.random.default_rng(seed).integers(-1024, 3071, (slices, 2, 3)).astype(np.int16),
    st.integers(0, 1000),
    st.integers(1, 9),
)


def test_by_hand() -> None:
    volume = np.array([0, 10, 30], np.int16).reshape(3, 1, 1)
    means = resample_slabs(volume, np.array([0.5, 1.5, 1.75, 3.0]))
    np.testing.assert_allclose(means.ravel(), [5, 10, (0.25 * 10 + 30) / 1.25])
    assert means.dtype == np.float32


@given(volumes, st.integers(1, 4))
def test_whole_slices_give_their_mean(volume: np.ndarray, factor: int) -> None:
    volume = np.repeat(volume, factor, axis=0)
    edges = np.arange(0, len(volume) + 1, factor)
    np.testing.assert_allclose(resample_slabs(volume, edges), average_slabs(volume, factor), atol=1e-3)


@given(volumes, st.data())
def test_slabs_are_the_mean_of_what_they_cover(volume: np.ndarray, data: st.DataObject) -> None:
    """Against slices that are cut into twelve each."""
    twelfths = st.integers(0, FINE * len(volume))
    edges = sorted(data.draw(st.sets(twelfths, min_size=2, max_size=6)))
    fine = np.repeat(volume.astype(float), FINE, axis=0)
    expected = [fine[a:b].mean(axis=0) for a, b in pairwise(edges)]
    np.testing.assert_allclose(resample_slabs(volume, np.array(edges) / FINE), expected, atol=1e-3)


@given(volumes, st.integers(1, 12))
def test_any_cut_conserves_the_mean(volume: np.ndarray, count: int) -> None:
    means = resample_slabs(volume, np.linspace(0, len(volume), count + 1))
    np.testing.assert_allclose(means.mean(axis=0, dtype=float), volume.mean(axis=0), atol=1e-3)


@given(volumes, st.integers(1, 12))
def test_commutes_with_flipping(volume: np.ndarray, count: int) -> None:
    edges = np.linspace(0.3, len(volume) - 0.1, count + 1)
    flipped = resample_slabs(volume[::-1], len(volume) - edges[::-1])
    np.testing.assert_allclose(flipped, resample_slabs(volume, edges)[::-1], atol=1e-3)


def test_rows_are_done_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    volume = np.random.default_rng(0).integers(-1000, 1000, (6, 7, 3))
    edges = np.array([0.2, 3.1, 6])
    whole = resample_slabs(volume, edges)
    monkeypatch.setattr(slabs, "ROWS_AT_ONCE", 2)
    np.testing.assert_array_equal(resample_slabs(volume, edges), whole)


def test_edges_a_hair_outside_are_those_of_the_volume() -> None:
    volume = np.array([10, 30], np.int16).reshape(2, 1, 1)
    np.testing.assert_allclose(resample_slabs(volume, np.array([-0.04, 1, 2.04])).ravel(), [10, 30])
