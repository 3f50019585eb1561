"""Rows of centres against the network's own dense forward."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from nnunetv2_cfseg.inference.lazy_volumes import Flipped, InMemoryVolume, read_all
from nnunetv2_cfseg.inference.patch_rows import Foreground
from nnunetv2_cfseg.inference.rowwise_logits import RowwiseLogits
from nnunetv2_cfseg.networks import BlockCenterTransformer
from nnunetv2_cfseg.networks.beyond_scan import MODES, ZEROS, BeyondScan

Build = Callable[..., BlockCenterTransformer]


CT = {"mean": 40.0, "std": 20.0, "windows_hu": [(0, 80), (-100, 100)]}
#: Voxels of a centre.
GRID = (4, 3, 4)


def volume(*shape: int) -> torch.Tensor:
    return torch.randn(1, *shape, generator=torch.Generator().manual_seed(1))


def dense(network: BlockCenterTransformer, scan: torch.Tensor) -> torch.Tensor:
    with torch.inference_mode():
        return network(scan[None])[0]


@settings(max_examples=40)
@given(
    shape=st.tuples(st.integers(1, 13), st.integers(1, 15), st.integers(1, 17)),
    depth=st.integers(1, 9),
    mode=st.sampled_from(MODES),
    shift=st.tuples(st.integers(0, 2), st.integers(0, 3), st.integers(0, 4)),
)
def test_any_slices_of_any_volume(
    shape: tuple[int, int, int], depth: int, mode: str, shift: tuple[int, int, int]
) -> None:
    """Equal to the dense forward, of a volume that was continued by hand where the grid begins before it."""
    torch.manual_seed(0)
    network = BlockCenterTransformer(
        1, 3, patch_size=(2, 3, 4), block_patches=(4, 3, 3), center_patches=(2, 1, 1), embed_dim=12, depth=2,
        num_heads=2, decoder="voxel", beyond_scan=mode, windows=[CT],
    ).eval()  # fmt: skip
    scan = volume(*shape)
    rows = RowwiseLogits(network, InMemoryVolume(scan), shift=shift, chunk_blocks=5)
    read = torch.cat([rows.read(z, min(z + depth, shape[0])) for z in range(0, shape[0], depth)], dim=1)
    z, y, x = shift
    if mode != "reflect":
        expected = dense(network, network.beyond_scan.extend(scan, [(voxels, 0) for voxels in shift]))
    else:  # a reflected volume has other outermost voxels than the scan, at which it would be reflected again
        network.beyond_scan = ZEROS
        wide = BeyondScan(mode).extend(
            scan, [(size * 2 + voxels, size * 2) for size, voxels in zip(GRID, shift, strict=True)]
        )
        expected = dense(network, wide)
        z, y, x = (size * 2 + voxels for size, voxels in zip(GRID, shift, strict=True))
    expected = expected[:, z : z + shape[0], y : y + shape[1], x : x + shape[2]]
    torch.testing.assert_close(read, expected, atol=1e-5, rtol=1e-4)


def test_each_row_is_computed_once(network: Build) -> None:
    rows = RowwiseLogits(network(), InMemoryVolume(volume(16, 9, 9)))
    for z in range(16):
        rows.read(z, z + 1)
    whole = RowwiseLogits(network(), InMemoryVolume(volume(16, 9, 9)))
    read_all(whole)
    assert rows.blocks_encoded == whole.blocks_encoded == rows.blocks


def test_read_backwards_as_flipped(network: Build) -> None:
    scan = volume(11, 9, 9)
    net = network()
    mirrored = Flipped(RowwiseLogits(net, Flipped(InMemoryVolume(scan), (0, 2))), (0, 2))
    pieces = torch.cat([mirrored.read(0, 4), mirrored.read(4, 11)], dim=1)
    expected = dense(net, scan.flip(1, 3)).flip(1, 3)
    torch.testing.assert_close(pieces, expected, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("decoder", ["linear", "voxel"])
def test_several_channels_and_windows(network: Build, decoder: str) -> None:
    windows = [{"mean": 40.0, "std": 20.0, "windows_hu": [(0, 80), (-100, 100)]}]
    net = network(windows=windows, decoder=decoder)
    scan = volume(7, 10, 10)
    torch.testing.assert_close(
        read_all(RowwiseLogits(net, InMemoryVolume(scan))), dense(net, scan), atol=1e-5, rtol=1e-4
    )


def test_blocks_of_air_alone_are_left_out(network: Build) -> None:
    """Foreground lies at one corner: centres whose block reaches it are as they were, all others background."""
    net = network()
    scan = torch.full((1, 24, 9, 9), -5.0)
    scan[:, :2] = 1.0
    rows = RowwiseLogits(net, InMemoryVolume(scan), foreground=Foreground([0.0], [2.0], [4.0, -4.0, -4.0]))
    logits, expected = read_all(rows), dense(net, scan)
    # The second centre begins at the fifth slice, and its block reaches one patch, two slices, before it.
    torch.testing.assert_close(logits[:, :4], expected[:, :4], atol=1e-5, rtol=1e-4)
    assert torch.equal(logits[:, 4:].flatten(1), torch.tensor([[4.0], [-4.0], [-4.0]]).expand(3, 20 * 81))
    assert 0 < rows.blocks_encoded < rows.blocks
    assert rows.read(20, 24).shape == (3, 4, 9, 9)


@pytest.mark.parametrize("value", [0.0, 2.0])
@pytest.mark.parametrize("place", [(0, 0, 0), (5, 6, 7), (6, 4, 12), (11, 11, 15)])
def test_blocks_with_a_voxel_of_foreground_are_encoded_and_no_others(
    network: Build, place: tuple[int, int, int], value: float
) -> None:
    """The voxel has the lowest or the highest intensity of foreground; zeros beyond the scan do not count."""
    net = network()
    scan = torch.full((1, 12, 12, 16), -5.0)
    scan[(0, *place)] = value
    encoded = torch.zeros(12, 12, 16, dtype=torch.bool)
    for center in product(range(3), range(2), range(2)):  # of 4 x 6 x 8 voxels; blocks reach 2 x 3 x 4 further
        axes = list(zip(center, (4, 6, 8), (2, 3, 4), place, strict=True))
        z, y, x = (slice(k * size, (k + 1) * size) for k, size, _, _ in axes)
        encoded[z, y, x] = all(k * size - reach <= at < (k + 1) * size + reach for k, size, reach, at in axes)
    rows = RowwiseLogits(net, InMemoryVolume(scan), foreground=Foreground([0.0], [2.0], [4.0, -4.0, -4.0]))
    background = torch.tensor([4.0, -4.0, -4.0]).reshape(3, 1, 1, 1)
    torch.testing.assert_close(read_all(rows), torch.where(encoded, dense(net, scan), background), atol=1e-5, rtol=1e-4)
    assert (rows.blocks_encoded, rows.blocks) == (int(encoded.sum()) / (4 * 6 * 8), 12)


def test_a_range_that_holds_everything_leaves_nothing_out(network: Build) -> None:
    scan = volume(9, 9, 9)
    net = network()
    rows = RowwiseLogits(net, InMemoryVolume(scan), foreground=Foreground([-99.0], [99.0], [4.0, -4.0, -4.0]))
    torch.testing.assert_close(read_all(rows), dense(net, scan), atol=1e-5, rtol=1e-4)
    assert rows.blocks_encoded == rows.blocks


@pytest.mark.parametrize(("mode", "looked_at"), [("mean", False), ("air", False), ("edge", True), ("reflect", True)])
def test_voxels_beyond_the_scan_count_as_those_they_repeat(network: Build, mode: str, looked_at: bool) -> None:
    """Foreground ends with the scan: the blocks beyond it are looked at where they show it again."""
    net = network(beyond_scan=mode, windows=[CT])
    scan = torch.full((1, 9, 9, 9), -60.0)
    scan[:, 4:] = 1.0
    everything = [(-1e9, 1e9), (0.0, 2.0)]
    rows = [
        RowwiseLogits(net, InMemoryVolume(scan), foreground=Foreground([low], [high], [4.0, -4.0, -4.0]))
        for low, high in everything
    ]
    (whole, some), expected = (read_all(one) for one in rows), dense(net, scan)
    torch.testing.assert_close(whole, expected, atol=1e-5, rtol=1e-4)
    # The last patches show slices 12 and 13, which a scan of nine has not: 8 again, or 4 and 3.
    torch.testing.assert_close(some[:, 4:], expected[:, 4:], atol=1e-5, rtol=1e-4)
    flags = rows[1]._rows.rows._flags  # the last row's
    assert bool(flags[max(flags)].any()) is looked_at
