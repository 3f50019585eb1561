from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from nnunetv2_cfseg.inference.lazy_volumes import Flipped, InMemoryVolume, read_all
from nnunetv2_cfseg.inference.patch_rows import Foreground
from nnunetv2_cfseg.inference.rowwise_logits import RowwiseLogits
from nnunetv2_cfseg.inference.shared_rows import dilated
from nnunetv2_cfseg.networks import BlockCenterTransformer

TOLERANCE = {"atol": 1e-5, "rtol": 1e-4}
BACKGROUND = [4.0, -4.0, -4.0]


def network(radius: int = 1, depth: int = 2, block: int = 4, center: int = 2) -> BlockCenterTransformer:
    torch.manual_seed(3)
    return BlockCenterTransformer(
        1, 3, patch_size=2, block_patches=block, center_patches=center, embed_dim=24, depth=depth, num_heads=2,
        norm="pre", activation="gelu", position="rotary", attention_radius=radius, decoder="voxel", beyond_scan="edge",
    ).eval()  # fmt: skip


def volume(*shape: int) -> Tensor:
    return torch.randn(1, *shape, generator=torch.Generator().manual_seed(sum(shape)))


def dense(net: BlockCenterTransformer, scan: Tensor) -> Tensor:
    with torch.no_grad():
        return net(scan[None])[0]


@settings(max_examples=15)
@given(
    shape=st.tuples(st.integers(1, 30), st.integers(1, 12), st.integers(1, 12)), radius=st.integers(1, 2),
    center=st.sampled_from([(4, 2), (6, 4), (3, 1)]), step=st.integers(1, 9),
)  # fmt: skip
def test_read_a_few_slices_at_a_time_equals_the_dense_forward(
    shape: tuple[int, int, int], radius: int, center: tuple[int, int], step: int
) -> None:
    net, scan = network(radius, block=center[0], center=center[1]), volume(*shape)
    rows = RowwiseLogits(net, InMemoryVolume(scan))
    read = torch.cat([rows.read(z, min(z + step, shape[0])) for z in range(0, shape[0], step)], dim=1)
    torch.testing.assert_close(read, dense(net, scan), **TOLERANCE)


def test_read_backwards_as_flipped() -> None:
    net, scan = network(), volume(11, 9, 9)
    mirrored = Flipped(RowwiseLogits(net, Flipped(InMemoryVolume(scan), (0, 2))), (0, 2))
    pieces = torch.cat([mirrored.read(0, 4), mirrored.read(4, 11)], dim=1)
    torch.testing.assert_close(pieces, dense(net, scan.flip(1, 3)).flip(1, 3), **TOLERANCE)


def test_memory_does_not_grow_with_the_slices() -> None:
    """Layers keep the rows that the next one reads, and patches those that may still be asked for."""
    kept = []
    for slices in (40, 120):
        rows = RowwiseLogits(network(), InMemoryVolume(volume(slices, 6, 6)))
        most = 0
        for z in range(0, slices, 4):
            rows.read(z, z + 4)
            shared = rows._rows
            most = max(most, len(shared.rows._kept) + sum(len(part.tokens) for part in shared._kept.values()))
        kept.append(most)
    assert kept[0] == kept[1]


def test_each_patch_is_encoded_once() -> None:
    rows = RowwiseLogits(network(), InMemoryVolume(volume(16, 9, 9)))
    for z in range(16):
        rows.read(z, z + 1)
    assert rows.blocks_encoded == rows.blocks == 8 * 6 * 6


@pytest.mark.parametrize("place", [(0, 0, 0), (12, 6, 7), (29, 11, 15)])
def test_patches_around_foreground_are_encoded_as_in_the_dense_forward(place: tuple[int, int, int]) -> None:
    """Those that show it, or have it within the halo of one patch; all others are background."""
    net = network(depth=3)
    scan = torch.full((1, 30, 12, 16), -5.0) + volume(30, 12, 16) * 0.1
    scan[(0, *place)] = 1.0
    encoded = torch.zeros(15, 6, 8, dtype=torch.bool)
    z, y, x = (index // 2 for index in place)
    encoded[max(0, z - 1) : z + 2, max(0, y - 1) : y + 2, max(0, x - 1) : x + 2] = True
    rows = RowwiseLogits(net, InMemoryVolume(scan), foreground=Foreground([0.0], [2.0], BACKGROUND))
    voxels = encoded.repeat_interleave(2, 0).repeat_interleave(2, 1).repeat_interleave(2, 2)
    expected = torch.where(voxels, dense(net, scan), torch.tensor(BACKGROUND).reshape(3, 1, 1, 1))
    torch.testing.assert_close(read_all(rows), expected, **TOLERANCE)


def test_air_alone_is_background() -> None:
    scan = torch.full((1, 12, 8, 8), -5.0)
    rows = RowwiseLogits(network(), InMemoryVolume(scan), foreground=Foreground([0.0], [2.0], BACKGROUND))
    assert torch.equal(read_all(rows), torch.tensor(BACKGROUND).reshape(3, 1, 1, 1).expand(3, 12, 8, 8))
    assert rows.blocks_encoded == 0


def test_dilated_reaches_along_every_axis() -> None:
    marked = torch.zeros(5, 5, 5, dtype=torch.bool)
    marked[0, 2, 4] = True
    expected = torch.zeros(5, 5, 5, dtype=torch.bool)
    expected[:2, 1:4, 3:] = True
    assert torch.equal(dilated(marked, 1), expected)
    assert dilated(marked, 0) is marked
