"""Thin labels: the slices they share with their scan, and the whole slabs of them that lose least."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nnunetv2_cfseg.data.pairing.align import locate
from nnunetv2_cfseg.data.pairing.thin_labels import common_slices, whole_slabs
from nnunetv2_cfseg.imaging.geometry import VolumeGeometry

GridOf = Callable[..., VolumeGeometry]
FILE = Path("label.nii.gz")


class TestCommonSlices:
    @pytest.mark.parametrize(
        ("first", "count", "in_scan", "in_label"),
        [
            (0, 10, range(10), range(10)),
            (2, 5, range(2, 7), range(5)),
            (-3, 20, range(10), range(3, 13)),
            (8, 6, range(8, 10), range(2)),
            (2.04, 5, range(2, 7), range(5)),
        ],
    )
    def test_by_hand(self, make_grid: GridOf, first: float, count: int, in_scan: range, in_label: range) -> None:
        scan = make_grid((10, 3, 4), (1.5, 1, 1))
        placement = locate(scan.with_slices(first, 1.5, count), scan, file=FILE)
        assert common_slices(placement, file=FILE) == (in_scan, in_label)

    @pytest.mark.parametrize(
        ("first", "spacing_mm", "named"),
        [
            (0.5, 1.5, "lie up to 0.5 slices beside them, each 1 slices thick"),
            (0.1, 1.5, "lie up to 0.1 slices beside them, each 1 slices thick"),
            (0, 1.53, "lie up to 0.2 slices beside them, each 1.02 slices thick"),
        ],
    )
    def test_refuses_other_slices(self, make_grid: GridOf, first: float, spacing_mm: float, named: str) -> None:
        scan = make_grid((10, 3, 4), (1.5, 1, 1))
        placement = locate(scan.with_slices(first, spacing_mm, 10), scan, file=FILE)
        with pytest.raises(ValueError, match=f"^thin labels must lie on the scan's slices, and {named}: label.nii.gz$"):
            common_slices(placement, file=FILE)

    def test_refuses_none(self, make_grid: GridOf) -> None:
        scan = make_grid((10, 3, 4), (1.5, 1, 1))
        with pytest.raises(ValueError, match=r"and lies on none of 10: label.nii.gz$"):
            common_slices(locate(scan.with_slices(20, 1.5, 5), scan, file=FILE), file=FILE)


class TestWholeSlabs:
    @pytest.mark.parametrize(
        ("foreground", "ascending", "descending"),
        [
            ([1, 1, 1, 1, 1, 1], range(6), range(6)),
            ([0, 0, 0, 0, 0, 0, 0], range(6), range(1, 7)),  # either: what is nearest to the head goes
            ([0, 5, 5, 5, 5, 5, 5], range(1, 7), range(1, 7)),
            ([5, 5, 5, 5, 5, 5, 0], range(6), range(6)),
            ([0, 5, 5, 5, 5, 5, 5, 0], range(1, 7), range(1, 7)),  # one at each end
            ([2, 5, 5, 5, 5, 5, 5, 3], range(1, 7), range(1, 7)),
            ([9, 5, 5, 5, 5, 5, 1, 3], range(6), range(6)),
        ],
    )
    def test_by_hand(self, foreground: list[int], ascending: range, descending: range) -> None:
        assert whole_slabs(np.array(foreground), 3, ascends=True, file=FILE) == ascending
        assert whole_slabs(np.array(foreground), 3, ascends=False, file=FILE) == descending

    @given(st.lists(st.integers(0, 9), min_size=6, max_size=20), st.integers(1, 6), st.booleans())
    def test_lose_least_and_commute_with_flipping(self, foreground: list[int], factor: int, ascends: bool) -> None:
        counts = np.array(foreground)
        kept = whole_slabs(counts, factor, ascends=ascends, file=FILE)
        assert len(kept) == len(counts) // factor * factor
        for start in range(len(counts) - len(kept) + 1):
            assert counts[kept.start : kept.stop].sum() >= counts[start : start + len(kept)].sum()
        flipped = whole_slabs(counts[::-1], factor, ascends=not ascends, file=FILE)
        assert (len(counts) - flipped.stop, len(counts) - flipped.start) == (kept.start, kept.stop)

    def test_refuse_less_than_one(self) -> None:
        with pytest.raises(ValueError, match=r"must have a whole slab of 5 labelled slices, got 4: label.nii.gz$"):
            whole_slabs(np.zeros(4), 5, ascends=True, file=FILE)
