"""Components touch by face, edge or corner, and know where they lie."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import ndimage

from nnunetv2_cfseg.quantify.components import fewest_voxels, find_components

MASKS = hnp.arrays(bool, hnp.array_shapes(min_dims=3, max_dims=3, max_side=6))


def test_of_an_empty_mask_are_none() -> None:
    assert find_components(np.zeros((3, 4, 5), bool)) is None


def test_touch_by_a_corner() -> None:
    mask = np.zeros((5, 5, 5), bool)
    mask[1, 1, 1] = mask[2, 2, 2] = mask[4, 4, 4] = True
    components = find_components(mask)
    assert components is not None
    assert [one.voxels for one in components.at_least(1)] == [2, 1]


def test_know_their_place() -> None:
    mask = np.zeros((6, 7, 8), bool)
    mask[2:4, 3:4, 5:8] = True
    mask[0, 0, 0] = True
    components = find_components(mask)
    assert components is not None
    (large,) = components.at_least(2)
    assert large.mask.shape == (2, 1, 3)
    assert large.mask.all()
    assert large.corner.tolist() == [2, 3, 5]
    assert large.centroid.tolist() == [2.5, 3, 6]


@given(MASKS)
def test_are_those_of_scipy(mask: np.ndarray) -> None:
    labels, count = ndimage.label(mask, np.ones((3, 3, 3)))
    components = find_components(mask)
    found = [] if components is None else list(components.at_least(1))
    assert len(found) == count
    for one in found:
        whole = np.zeros(mask.shape, bool)
        whole[tuple(slice(low, low + n) for low, n in zip(one.corner, one.mask.shape, strict=True))] = one.mask
        assert one.voxels == whole.sum()
        assert np.array_equal(whole, labels == labels[tuple(np.argwhere(whole)[0])])
        np.testing.assert_allclose(one.centroid, np.argwhere(whole).mean(axis=0), atol=1e-4)


@pytest.mark.parametrize("voxels", range(1, 9))
def test_in_a_single_row_of_voxels_are_found(voxels: int) -> None:
    """cc3d alone fails on some of them."""
    components = find_components((np.arange(voxels) % 2 == 0).reshape(1, 1, -1))
    assert components is not None
    assert len(list(components.at_least(1))) == (voxels + 1) // 2


@given(st.integers(1, 10000), st.floats(1e-5, 1))
def test_of_just_the_smallest_volume_are_large_enough(voxels: int, voxel_ml: float) -> None:
    assert fewest_voxels(voxels * voxel_ml, voxel_ml) == voxels
    assert fewest_voxels((voxels - 0.5) * voxel_ml, voxel_ml) == voxels


def test_without_a_smallest_volume_are_all_large_enough() -> None:
    assert fewest_voxels(0, 0.001) == 1
