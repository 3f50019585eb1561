"""Only whole slabs are cut off, and what nnU-Net notes of a case follows."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nnunetv2_cfseg.planners.thin_thick_preprocessor import keep_whole_slabs


def case(first: int, last: int) -> tuple[np.ndarray, np.ndarray, dict]:
    """What nnU-Net leaves of a scan whose slices from ``first`` to before ``last`` are not all zero."""
    number = np.arange(first, last, dtype=np.float32).reshape(1, -1, 1, 1)
    locations = np.array([[0, z, 0, 0] for z in range(last - first)])
    properties = {
        "bbox_used_for_cropping": [[first, last], [2, 5], [1, 4]],
        "shape_after_cropping_and_before_resampling": (last - first, 3, 3),
        "class_locations": {1: locations, 2: []},
    }
    return np.broadcast_to(number, (1, last - first, 3, 3)), np.zeros((1, last - first, 3, 3), np.int8), properties


@given(first=st.integers(0, 20), length=st.integers(1, 40), factor=st.integers(1, 7))
def test_what_is_left_begins_and_ends_with_a_slab(first: int, length: int, factor: int) -> None:
    data, seg, properties = case(first, first + length)
    whole = (first + length) // factor - -(-first // factor)
    if whole <= 0:
        with pytest.raises(ValueError, match="must hold a whole slab"):
            keep_whole_slabs(data, seg, properties, factor)
        return
    data, seg, properties = keep_whole_slabs(data, seg, properties, factor)
    slices = data[0, :, 0, 0].astype(int)
    assert slices[0] % factor == 0
    assert len(slices) == len(seg[0]) == whole * factor
    assert properties["bbox_used_for_cropping"] == [[slices[0], slices[-1] + 1], [2, 5], [1, 4]]
    assert properties["shape_after_cropping_and_before_resampling"] == (len(slices), 3, 3)


def test_class_locations_follow_their_voxels() -> None:
    data, seg, properties = case(4, 14)  # slices 4, 5 and 12, 13 are parts of slabs
    data, seg, properties = keep_whole_slabs(data, seg, properties, 3)
    assert data[0, :, 0, 0].tolist() == [6, 7, 8, 9, 10, 11]
    assert properties["class_locations"][1][:, 1].tolist() == [0, 1, 2, 3, 4, 5]
    assert list(properties["class_locations"][2]) == []


def test_nothing_is_changed_in_place() -> None:
    data, seg, properties = case(1, 8)
    keep_whole_slabs(data, seg, properties, 2)
    assert properties["bbox_used_for_cropping"][0] == [1, 8]
    assert len(properties["class_locations"][1]) == 7
