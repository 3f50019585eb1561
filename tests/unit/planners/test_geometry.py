"""Sizes from spacings: near cubes in mm, whole centres, at least a block, no more voxels than asked for."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nnunetv2_cfseg.planners.geometry import choose_crop, choose_patch_size

Size3 = tuple[int, int, int]

spacings = st.tuples(*[st.floats(0.3, 12.0)] * 3)
shapes = st.tuples(*[st.integers(2, 700)] * 3)


class TestChoosePatchSize:
    @given(spacings, st.integers(1, 2000))
    def test_makes_a_patch_as_near_a_cube_as_whole_voxels_allow(
        self, spacing_mm: tuple[float, ...], voxels: int
    ) -> None:
        patch = np.array(choose_patch_size(spacing_mm, voxels))
        edges_mm = patch * spacing_mm
        assert (patch >= 1).all()
        # Each edge is rounded to whole voxels from one length, so two edges differ by at most half a voxel of each;
        # an axis of one voxel is as short as it can be and may be longer than the others.
        divided = patch > 1
        for i in np.flatnonzero(divided):
            for j in np.flatnonzero(divided):
                assert abs(edges_mm[i] - edges_mm[j]) <= (spacing_mm[i] + spacing_mm[j]) / 2 + 1e-9
            for j in np.flatnonzero(~divided):
                assert edges_mm[j] >= edges_mm[i] - (spacing_mm[i] / 2 + spacing_mm[j] / 2) - 1e-9

    @given(st.floats(0.3, 12.0), st.integers(1, 12))
    def test_makes_a_cube_of_cubic_voxels(self, spacing_mm: float, edge: int) -> None:
        assert choose_patch_size([spacing_mm] * 3, edge**3) == (edge, edge, edge)

    @given(spacings, st.integers(216, 2000))
    def test_holds_about_the_voxels_asked_for(self, spacing_mm: tuple[float, ...], voxels: int) -> None:
        # Rounding an edge of v voxels changes it by at most half a voxel.
        patch = np.array(choose_patch_size(spacing_mm, voxels))
        assert np.prod(patch - 0.5) <= voxels * 1.001
        if (patch > 1).all():
            assert np.prod(patch + 0.5) >= voxels * 0.999

    @given(spacings, st.integers(1, 2000), st.permutations([0, 1, 2]))
    def test_treats_all_axes_alike(self, spacing_mm: tuple[float, ...], voxels: int, order: list[int]) -> None:
        patch = choose_patch_size(spacing_mm, voxels)
        permuted = choose_patch_size([spacing_mm[i] for i in order], voxels)
        # Products of the same numbers in another order may differ in the last bit, which can tip a rounding.
        assert all(abs(permuted[k] - patch[i]) <= 1 for k, i in enumerate(order))

    @pytest.mark.parametrize(
        ("spacing_mm", "patch"),
        [
            ((1.0, 1.0, 1.0), (8, 8, 8)),
            ((2.5, 4.09, 4.09), (11, 7, 7)),  # head and neck planning CT
            ((5.0, 0.5, 0.5), (2, 17, 17)),  # head CT: edge 8.6 mm
            ((30.0, 1.0, 1.0), (1, 23, 23)),  # slices thicker than a patch: the plane takes all voxels
        ],
    )
    def test_of_usual_scans(self, spacing_mm: tuple[float, ...], patch: Size3) -> None:
        assert choose_patch_size(spacing_mm, 512) == patch


class TestChooseCrop:
    @given(
        spacings,
        shapes,
        st.tuples(*[st.integers(1, 10)] * 3),
        st.tuples(*[st.integers(1, 5)] * 3),
        st.integers(1000, 128**3),
    )
    def test_is_whole_centers_and_holds_a_block_if_scans_do(
        self, spacing_mm: tuple[float, ...], shape: Size3, center: Size3, patches: Size3, max_voxels: int
    ) -> None:
        block = tuple(c * n for c, n in zip(center, patches, strict=True))
        crop = np.array(choose_crop(spacing_mm, shape, center_size=center, block_size=block, max_voxels=max_voxels))
        assert (crop % center == 0).all()
        scan = np.ceil(np.array(shape) / center) * center
        assert (crop >= np.minimum(block, scan)).all()
        # No more padding than the last centre of the scan needs, or than the block forces.
        assert (crop <= np.maximum(scan, block)).all()

    @given(spacings, shapes, st.integers(1, 5), st.integers(1000, 128**3))
    def test_keeps_to_the_voxels_asked_for_to_half_a_center_unless_a_block_needs_more(
        self, spacing_mm: tuple[float, ...], shape: Size3, blocks: int, max_voxels: int
    ) -> None:
        center = choose_patch_size(spacing_mm, 512)
        block = tuple(c * blocks for c in center)
        crop = np.array(choose_crop(spacing_mm, shape, center_size=center, block_size=block, max_voxels=max_voxels))
        if (crop > block).all():
            assert (crop - np.array(center) / 2).prod() <= max_voxels * 1.001

    def test_is_a_cube_in_mm(self) -> None:
        crop = choose_crop(
            (3.0, 1.0, 1.0), (400, 400, 400), center_size=(2, 6, 6), block_size=(6, 18, 18), max_voxels=9 * 40**3
        )
        edges_mm = np.array(crop) * (3.0, 1.0, 1.0)
        assert np.ptp(edges_mm) <= 6
        assert 0.7 * 9 * 40**3 <= np.prod(crop) <= 9 * 40**3

    @pytest.mark.parametrize("edge", [64, 96, 112, 128])
    def test_takes_all_the_voxels_asked_for_where_they_are_a_cube_of_centers(self, edge: int) -> None:
        sizes = {"center_size": (8, 8, 8), "block_size": (24, 24, 24), "max_voxels": edge**3}
        assert choose_crop((1.0, 1.0, 1.0), (400, 400, 400), **sizes) == (edge, edge, edge)

    def test_gives_to_other_axes_what_a_thin_scan_cannot_take(self) -> None:
        crop = choose_crop(
            (1.0, 1.0, 1.0), (30, 400, 400), center_size=(8, 8, 8), block_size=(24, 24, 24), max_voxels=64**3
        )
        assert crop == (32, 88, 88)

    def test_counts_what_a_thin_scan_cannot_take_in_mm(self) -> None:
        # A cube of 48 mm needs 24 slices of 2 mm, and there are 20: a plane of 11059.2 voxels of 0.25 mm2 is 52.6 mm
        # wide, which is 105 voxels or 13 centres.
        crop = choose_crop(
            (2.0, 0.5, 0.5), (20, 400, 400), center_size=(2, 8, 8), block_size=(6, 24, 24), max_voxels=2 * 48**3
        )
        assert crop == (20, 104, 104)

    def test_leaves_room_in_a_scan_that_is_thicker_in_mm_than_in_slices(self) -> None:
        # A cube of 48 mm needs 12 slices of 4 mm, and there are 30.
        crop = choose_crop(
            (4.0, 1.0, 1.0), (30, 400, 400), center_size=(1, 4, 4), block_size=(3, 12, 12), max_voxels=48**3 // 4
        )
        assert crop == (12, 48, 48)

    def test_is_no_larger_than_the_scan(self) -> None:
        crop = choose_crop(
            (1.0, 1.0, 1.0), (20, 33, 40), center_size=(8, 8, 8), block_size=(24, 24, 24), max_voxels=128**3
        )
        assert crop == (24, 40, 40)
