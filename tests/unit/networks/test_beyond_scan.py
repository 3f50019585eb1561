"""What lies beyond a scan, against numpy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from nnunetv2_cfseg.networks.beyond_scan import MODES, BeyondScan

AIR = (-2.5, -4.0)
NUMPY: dict[str, dict[str, Any]] = {
    "mean": {"constant_values": 0}, "edge": {"mode": "edge"}, "reflect": {"mode": "reflect"},
}  # fmt: skip
CT = {"mean": 40.0, "std": 20.0, "windows_hu": [(0, 80)]}
PADS = st.tuples(*[st.tuples(st.integers(0, 9), st.integers(0, 9))] * 3)
SHAPES = st.tuples(*[st.integers(1, 5)] * 3)


def beyond(mode: str) -> BeyondScan:
    return BeyondScan(mode, AIR if mode == "air" else ())


def by_numpy(volume: torch.Tensor, pads: tuple[tuple[int, int], ...], mode: str) -> np.ndarray:
    """(2, Z, Y, X), channel by channel."""
    return np.stack([
        np.pad(channel, pads, **({"constant_values": air} if mode == "air" else NUMPY[mode]))
        for channel, air in zip(volume.numpy(), AIR, strict=True)
    ])  # fmt: skip


@given(mode=st.sampled_from(MODES), shape=SHAPES, pads=PADS)
def test_extend_as_numpy_pads(mode: str, shape: tuple[int, int, int], pads: tuple[tuple[int, int], ...]) -> None:
    volume = torch.randn(2, *shape)
    np.testing.assert_array_equal(beyond(mode).extend(volume, pads).numpy(), by_numpy(volume, pads, mode))
    batch = beyond(mode).extend(volume.expand(3, *volume.shape), pads)
    assert torch.equal(batch, beyond(mode).extend(volume, pads).expand_as(batch))


@given(mode=st.sampled_from(["edge", "air", "reflect"]), shape=SHAPES, filled=PADS, pads=PADS)
def test_planes_of_zeros_at_the_ends_are_beyond_the_scan(
    mode: str, shape: tuple[int, int, int], filled: tuple[tuple[int, int], ...], pads: tuple[tuple[int, int], ...]
) -> None:
    """A scan that nnU-Net has filled up with zeros goes on as if it had not."""
    volume = torch.rand(2, *shape) + 1
    zeros = torch.from_numpy(by_numpy(volume, filled, "mean"))
    everything = tuple((a + c, b + d) for (a, b), (c, d) in zip(filled, pads, strict=True))
    expected = by_numpy(volume, everything, mode)
    np.testing.assert_array_equal(beyond(mode).extend(zeros, pads, zeros_end_it=True).numpy(), expected)


def test_zeros_inside_stay_and_so_does_a_volume_of_nothing_else() -> None:
    volume = torch.ones(1, 1, 5, 2, 2)
    volume[:, :, 2] = 0
    assert torch.equal(BeyondScan("edge").extend(volume, [(0, 0)] * 3, zeros_end_it=True), volume)
    nothing = torch.zeros(1, 1, 3, 3, 3)
    assert torch.equal(
        BeyondScan("reflect").extend(nothing, [(1, 1)] * 3, zeros_end_it=True), torch.zeros(1, 1, 5, 5, 5)
    )


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.int16, torch.bfloat16])
def test_extend_keeps_the_type(mode: str, dtype: torch.dtype) -> None:
    volume = torch.ones(2, 2, 2, 2, dtype=dtype)
    assert beyond(mode).extend(volume, [(1, 2)] * 3).dtype == dtype
    assert beyond(mode).extend(volume, [(0, 0)] * 3) is volume


def test_air_is_minus_1000_hu_in_each_channel() -> None:
    other = {**CT, "mean": 100.0, "std": 50.0}
    assert BeyondScan.of_windows("air", [CT, other]).air == (-52.0, -22.0)


@pytest.mark.parametrize("mode", ["zeros", "", "Edge", "constant", None, 3, True])
def test_unknown_modes_are_refused(mode: Any) -> None:
    with pytest.raises(ValueError, match=f"beyond_scan must be one of mean, edge, air, reflect, got {mode!r}"):
        BeyondScan.of_windows(mode, [CT])


@pytest.mark.parametrize("channels", [[None], [CT, None]])
def test_air_is_refused_where_a_channel_is_not_ct(channels: list[Any]) -> None:
    with pytest.raises(ValueError, match="'air' needs CT windows for every channel"):
        BeyondScan.of_windows("air", channels)
    with pytest.raises(ValueError, match="'air' needs the intensity of air"):
        BeyondScan("air")
