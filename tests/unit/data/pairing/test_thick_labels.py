"""Thick labels: their slabs on the scan's slices; gaps, overlaps, and slabs that the scan does not hold."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from nnunetv2_cfseg.data.pairing.align import locate
from nnunetv2_cfseg.data.pairing.thick_labels import Slabs, lay_slabs, slices_in_thickness
from nnunetv2_cfseg.imaging.geometry import VolumeGeometry

GridOf = Callable[..., VolumeGeometry]
FILE = Path("label.nii.gz")


def lay(scan: VolumeGeometry, thick: VolumeGeometry, factor: int, *, foreground: Any = None, **others: Any) -> Slabs:
    counts = np.zeros(thick.shape[0], int) if foreground is None else np.array(foreground)
    given_others = {"thickness_mm": None, "ascends": True, **others}
    placement = locate(thick, scan, file=FILE)
    return lay_slabs(placement, counts, factor=factor, spacing_mm=thick.spacing_mm[0], file=FILE, **given_others)


class TestSlabs:
    @pytest.mark.parametrize(
        ("first", "slabs", "taken", "whole"),
        [
            (0, 4, range(4), range(20)),
            (3, 3, range(3), range(3, 18)),
            (0.04, 4, range(4), range(20)),
            (-0.04, 4, range(4), range(20)),
            (-5, 5, range(1, 5), range(20)),  # the first lies outside
            (-2, 4, range(1, 4), range(3, 18)),  # the first lies outside in part
            (3, 5, range(3), range(3, 18)),  # so do the last ones
            (0.5, 3, range(3), None),
            (3.06, 3, range(3), None),
        ],
    )
    def test_by_hand(self, make_grid: GridOf, first: float, slabs: int, taken: range, whole: range | None) -> None:
        scan = make_grid((20, 3, 4), (1.5, 1, 1))
        laid = lay(scan, scan.with_slices(first, 7.5, slabs), 5)
        assert laid.taken == taken
        assert laid.whole == whole
        np.testing.assert_allclose(laid.edges, first + 5 * np.arange(taken.start, taken.stop + 1))
        np.testing.assert_allclose(np.diff(laid.thin_edges()), 1)
        assert len(laid.thin_edges()) == 5 * len(taken) + 1

    def test_a_ratio_that_drifts_off_is_not_whole(self, make_grid: GridOf) -> None:
        """Slabs of 5.01 slices are 0.04 off after four, and 0.2 after twenty."""
        scan = make_grid((101, 3, 4), (1.0, 1, 1))
        assert lay(scan, scan.with_slices(0, 5.01, 4), 5).whole == range(20)
        assert lay(scan, scan.with_slices(0, 5.01, 20), 5).whole is None

    @pytest.mark.parametrize(("factor", "whole"), [(5, True), (4, False), (3, False), (6, False)])
    def test_other_factors_cut_slices(self, make_grid: GridOf, factor: int, whole: bool) -> None:
        scan = make_grid((20, 3, 4), (1.0, 1, 1))
        laid = lay(scan, scan.with_slices(0, 5, 4), factor)
        assert (laid.whole is not None) == whole
        np.testing.assert_allclose(np.diff(laid.thin_edges()), 5 / factor)

    def test_a_factor_that_would_invent_detail_is_refused(self, make_grid: GridOf) -> None:
        scan = make_grid((20, 3, 4), (1.0, 1, 1))
        named = "one of 5 thin slices gives 0.71 with a factor of 7: label.nii.gz$"
        with pytest.raises(ValueError, match=f"slices of at least 0.8 of the scan's, and {named}"):
            lay(scan, scan.with_slices(0, 5, 4), 7)

    def test_no_whole_slab_is_refused(self, make_grid: GridOf) -> None:
        scan = make_grid((4, 3, 4), (1.0, 1, 1))
        with pytest.raises(ValueError, match=r"and none of 3 lies wholly in its 4 slices: label.nii.gz$"):
            lay(scan, scan.with_slices(-3, 5, 3), 5)


class TestThickness:
    @pytest.mark.parametrize("thickness_mm", [None, 5, 5.03])
    def test_as_much_as_slices_are_apart(self, thickness_mm: float | None) -> None:
        assert slices_in_thickness(5, thickness_mm, file=FILE) == 1

    def test_of_overlapping_slices(self) -> None:
        assert slices_in_thickness(2.5, 5, file=FILE) == 2
        assert slices_in_thickness(2.5, 7.5, file=FILE) == 3

    @pytest.mark.parametrize(
        ("spacing_mm", "thickness_mm", "named"),
        [
            (10, 5, "must not leave gaps .* and slices of 5 mm lie 10 mm apart"),
            (5, 4.9, "must not leave gaps .* and slices of 4.9 mm lie 5 mm apart"),
            (4, 5, "that overlap must do so by whole slices, .* and slices of 5 mm lie 4 mm apart"),
            (1.5, 2, "that overlap must do so by whole slices, .* and slices of 2 mm lie 1.5 mm apart"),
        ],
    )
    def test_refuses_gaps_and_partial_overlaps(self, spacing_mm: float, thickness_mm: float, named: str) -> None:
        with pytest.raises(ValueError, match=f"^thick slices {named}: label.nii.gz$"):
            slices_in_thickness(spacing_mm, thickness_mm, file=FILE)


class TestOverlap:
    """Slices of 4 mm every 2 mm on a scan of 1 mm slices."""

    @pytest.mark.parametrize(
        ("foreground", "taken"),
        [
            ([0, 0, 0, 0, 0, 0, 0, 0, 0], range(1, 8, 2)),  # the even ones begin and end outside: one slab less
            ([0, 3, 0, 2, 0, 0, 0, 0, 0], range(1, 8, 2)),
            ([9, 3, 4, 2, 4, 0, 0, 0, 9], range(2, 7, 2)),
        ],
    )
    def test_takes_every_second_slice(self, make_grid: GridOf, foreground: list[int], taken: range) -> None:
        scan = make_grid((18, 3, 4), (1.0, 1, 1))
        laid = lay(scan, scan.with_slices(0, 2, 9), 4, foreground=foreground, thickness_mm=4)
        assert laid.taken == taken
        starts = [2 * first + 1 - 2 for first in taken]  # the slice's middle, less half of its thickness
        assert laid.whole == range(starts[0], starts[0] + 4 * len(taken))

    @given(counts=st.lists(st.integers(0, 3), min_size=4, max_size=9), step=st.integers(1, 3))
    @example(counts=[0, 0, 0, 0, 0], step=3)
    def test_commutes_with_flipping(self, make_grid: GridOf, counts: list[int], step: int) -> None:
        scan = make_grid((2 * len(counts), 3, 4), (1.0, 1, 1))
        thick = scan.with_slices(0, 2, len(counts))
        laid = lay(scan, thick, 2 * step, foreground=counts, thickness_mm=2 * step)
        flipped = lay(scan.flipped([0]), thick, 2 * step, foreground=counts[::-1], thickness_mm=2 * step, ascends=False)
        assert [len(counts) - 1 - i for i in reversed(flipped.taken)] == list(laid.taken)
        np.testing.assert_allclose(scan.shape[0] - flipped.edges[::-1], laid.edges)
