"""Rows of centres against the network's own dense forward."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from nnunetv2_cfseg.inference.center_rows import CenterRows, Foreground
from nnunetv2_cfseg.inference.slices import Flipped, WholeVolume, read_all
from nnunetv2_cfseg.networks import BlockCenterTransformer

Build = Callable[..., BlockCenterTransformer]


def volume(*shape: int) -> torch.Tensor:
    return torch.randn(1, *shape, generator=torch.Generator().manual_seed(1))


def dense(network: BlockCenterTransformer, scan: torch.Tensor) -> torch.Tensor:
    with torch.inference_mode():
        return network(scan[None])[0]


@settings(max_examples=15)
@given(shape=st.tuples(st.integers(1, 13), st.integers(1, 15), st.integers(1, 17)), depth=st.integers(1, 9))
def test_any_slices_of_any_volume(shape: tuple[int, int, int], depth: int) -> None:
    torch.manual_seed(0)
    network = BlockCenterTransformer(
        1, 3, patch_size=(2, 3, 4), block_patches=(4, 3, 3), center_patches=(2, 1, 1), embed_dim=12, depth=2,
        num_heads=2, decoder="voxel",
    ).eval()  # fmt: skip
    scan = volume(*shape)
    rows = CenterRows(network, WholeVolume(scan), chunk_blocks=5)
    read = torch.cat([rows.read(z, min(z + depth, shape[0])) for z in range(0, shape[0], depth)], dim=1)
    torch.testing.assert_close(read, dense(network, scan), atol=1e-5, rtol=1e-4)


def test_each_row_is_computed_once(network: Build) -> None:
    rows = CenterRows(network(), WholeVolume(volume(16, 9, 9)))
    for z in range(16):
        rows.read(z, z + 1)
    whole = CenterRows(network(), WholeVolume(volume(16, 9, 9)))
    read_all(whole)
    assert rows.blocks_encoded == whole.blocks_encoded == rows.blocks


def test_read_backwards_as_flipped(network: Build) -> None:
    scan = volume(11, 9, 9)
    net = network()
    mirrored = Flipped(CenterRows(net, Flipped(WholeVolume(scan), (0, 2))), (0, 2))
    pieces = torch.cat([mirrored.read(0, 4), mirrored.read(4, 11)], dim=1)
    expected = dense(net, scan.flip(1, 3)).flip(1, 3)
    torch.testing.assert_close(pieces, expected, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("decoder", ["linear", "voxel"])
def test_several_channels_and_windows(network: Build, decoder: str) -> None:
    windows = [{"mean": 40.0, "std": 20.0, "windows_hu": [(0, 80), (-100, 100)]}]
    net = network(windows=windows, decoder=decoder)
    scan = volume(7, 10, 10)
    torch.testing.assert_close(read_all(CenterRows(net, WholeVolume(scan))), dense(net, scan), atol=1e-5, rtol=1e-4)


def test_blocks_of_air_alone_are_left_out(network: Build) -> None:
    """Foreground lies at one corner: centres whose block reaches it are as they were, all others background."""
    net = network()
    scan = torch.full((1, 24, 9, 9), -5.0)
    scan[:, :2] = 1.0
    rows = CenterRows(net, WholeVolume(scan), foreground=Foreground([0.0], [2.0], [4.0, -4.0, -4.0]))
    logits, expected = read_all(rows), dense(net, scan)
    # The second centre begins at the fifth slice, and its block reaches one patch, two slices, before it.
    torch.testing.assert_close(logits[:, :4], expected[:, :4], atol=1e-5, rtol=1e-4)
    assert torch.equal(logits[:, 4:].flatten(1), torch.tensor([[4.0], [-4.0], [-4.0]]).expand(3, 20 * 81))
    assert 0 < rows.blocks_encoded < rows.blocks
    assert rows.read(20, 24).shape == (3, 4, 9, 9)


def test_a_range_that_holds_everything_leaves_nothing_out(network: Build) -> None:
    scan = volume(9, 9, 9)
    net = network()
    rows = CenterRows(net, WholeVolume(scan), foreground=Foreground([-99.0], [99.0], [4.0, -4.0, -4.0]))
    torch.testing.assert_close(read_all(rows), dense(net, scan), atol=1e-5, rtol=1e-4)
    assert rows.blocks_encoded == rows.blocks
