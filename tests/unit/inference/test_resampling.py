"""Maps of an axis against torch's interpolation."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

from nnunetv2_cfseg.inference.resampling import AxisResampling, axis_maps, linear_map, nearest_map, resampled_shape

sizes = st.integers(1, 40)


def apply(axis: AxisResampling, line: torch.Tensor) -> torch.Tensor:
    return torch.lerp(line[axis.first], line[axis.second], axis.weight)


@given(old=sizes, new=sizes)
def test_linear_is_torchs(old: int, new: int) -> None:
    line = torch.rand(old, generator=torch.Generator().manual_seed(old))
    expected = F.interpolate(line[None, None], new, mode="linear", align_corners=False)[0, 0]
    torch.testing.assert_close(apply(linear_map(old, new), line), expected, atol=1e-5, rtol=0)


@given(old=sizes, new=sizes)
def test_nearest_is_torchs(old: int, new: int) -> None:
    line = torch.arange(old, dtype=torch.float32)
    expected = F.interpolate(line[None, None], new, mode="nearest-exact")[0, 0]
    off = (apply(nearest_map(old, new), line) != expected).nonzero().flatten()
    # torch computes places in float32, and may fall on the other side of a tie.
    positions = (off.double() + 0.5) * (old / new)
    torch.testing.assert_close(positions, positions.round(), atol=1e-4, rtol=0)


def test_the_same_size_is_left_alone() -> None:
    assert not linear_map(7, 7).interpolates
    assert linear_map(7, 7).first.tolist() == list(range(7))
    assert linear_map(7, 8).interpolates


@pytest.mark.parametrize(
    ("old_mm", "new_mm", "force", "nearest_axis"),
    [
        ((1.0, 1.0, 1.0), (2.0, 2.0, 2.0), None, None),
        ((5.0, 1.0, 1.0), (2.0, 2.0, 2.0), None, 0),
        ((2.0, 2.0, 2.0), (1.0, 1.0, 4.0), None, 2),
        ((3.0, 1.0, 1.0), (1.0, 1.0, 1.0), None, None),  # not more than three times
        ((0.2, 1.0, 1.0), (1.0, 1.0, 1.0), None, None),  # two coarsest axes
        ((2.0, 1.0, 1.0), (1.0, 1.0, 1.0), True, 0),
        ((9.0, 1.0, 1.0), (1.0, 1.0, 1.0), False, None),
    ],
)
def test_thick_slices_are_not_interpolated_between(
    old_mm: tuple[float, ...], new_mm: tuple[float, ...], force: bool | None, nearest_axis: int | None
) -> None:
    maps = axis_maps((8, 8, 8), (12, 12, 12), old_spacing_mm=old_mm, new_spacing_mm=new_mm, force_separate_z=force)
    assert [not axis.interpolates for axis in maps] == [axis == nearest_axis for axis in range(3)]


def test_a_scan_may_have_two_to_the_32_voxels_and_no_more() -> None:
    spacing_mm = (1.0, 1.0, 1.0)
    assert resampled_shape((512, 2048, 2048), spacing_mm, (0.5, 1.0, 1.0)) == (1024, 2048, 2048)  # 2 ** 32
    with pytest.raises(ValueError, match="1025 x 2048 x 2048 voxels on the grid of the plans, and at most 4294967296"):
        resampled_shape((1025, 2048, 2048), spacing_mm, spacing_mm)


def test_shapes_are_rounded() -> None:
    assert resampled_shape((10, 11, 12), (1.0, 1.0, 2.5), (2.0, 2.0, 2.5)) == (5, 6, 12)
