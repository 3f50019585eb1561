from __future__ import annotations

from collections import Counter

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
from nnunetv2_cfseg.networks.shared_tokens import Rows, SharedLayer

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


@pytest.mark.parametrize("backwards", [False, True])
@pytest.mark.parametrize("foreground", [None, Foreground([0.0], [2.0], BACKGROUND)])
def test_memory_does_not_grow_with_the_slices(backwards: bool, foreground: Foreground | None) -> None:
    """Layers keep the rows that the next one reads, and patches those that may still be asked for."""
    most = {40: 0, 120: 0}
    for slices in most:
        rows = RowwiseLogits(network(), InMemoryVolume(volume(slices, 6, 6)), foreground=foreground)
        starts = list(range(0, slices, 4))
        for z in reversed(starts) if backwards else starts:
            rows.read(z, z + 4)
            shared = rows._rows
            patches = len(shared.rows._patches) + len(shared.rows._windows)
            most[slices] = max(most[slices], patches + sum(len(part.tokens) for part in shared._kept.values()))
    assert most[40] == most[120] <= 25


def test_each_token_is_computed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = RowwiseLogits(network(), InMemoryVolume(volume(16, 9, 9)))
    computed: list[int] = []
    compute = SharedLayer.__call__

    def count(layer: SharedLayer, source: Rows, start: int, stop: int, wanted: Tensor | None = None) -> Tensor:
        computed.extend(range(start, stop))
        return compute(layer, source, start, stop, wanted)

    monkeypatch.setattr(SharedLayer, "__call__", count)
    for z in range(16):
        rows.read(z, z + 1)
    assert max(Counter(computed).values()) == 2  # of two layers
    assert rows.blocks_encoded == rows.blocks == 8 * 6 * 6


@settings(max_examples=15)
@given(
    shift=st.tuples(st.integers(0, 2), st.integers(0, 3), st.integers(0, 4)),
    mode=st.sampled_from(["edge", "reflect", "mean", "air"]), bright=st.tuples(*[st.integers(0, 8)] * 3),
)  # fmt: skip
def test_moved_grids_and_other_ends_of_the_scan(
    shift: tuple[int, int, int], mode: str, bright: tuple[int, int, int]
) -> None:
    """Patches, blocks and their halos have other sizes along each axis."""
    torch.manual_seed(3)
    net = BlockCenterTransformer(
        1, 3, patch_size=(2, 3, 4), block_patches=(3, 4, 5), center_patches=(1, 2, 1), embed_dim=24, depth=2,
        num_heads=2, norm="pre", position="rotary", attention_radius=1, beyond_scan=mode,
        windows=[{"mean": 0.0, "std": 100.0, "windows_hu": [(-1000, 1000)]}],
    ).eval()  # fmt: skip
    scan = torch.full((1, 9, 9, 9), -9.0) + volume(9, 9, 9)
    scan[(0, *bright)] = 1.0
    plain = RowwiseLogits(net, InMemoryVolume(scan), shift=shift)
    skipping = RowwiseLogits(net, InMemoryVolume(scan), shift=shift, foreground=Foreground([0.0], [2.0], BACKGROUND))
    whole, some = read_all(plain), read_all(skipping)
    if shift == (0, 0, 0):
        torch.testing.assert_close(whole, dense(net, scan), **TOLERANCE)
    skipped = (some == torch.tensor(BACKGROUND).reshape(3, 1, 1, 1)).all(0)
    assert not skipped[bright]
    torch.testing.assert_close(some[:, ~skipped], whole[:, ~skipped], **TOLERANCE)


def test_bfloat16_is_near_float32() -> None:
    net, scan = network(depth=3), volume(14, 10, 9)
    exact = dense(net, scan)
    rounded = read_all(RowwiseLogits(net.to(torch.bfloat16), InMemoryVolume(scan)))
    assert rounded.dtype == torch.float32
    assert (rounded - exact).abs().mean() < 0.05 * exact.std()


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
