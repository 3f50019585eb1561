"""The dense forward is every block predicting its own centre: against blocks cut out and computed by hand."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from nnunetv2_cfseg.networks import BlockCenterTransformer
from nnunetv2_cfseg.networks.beyond_scan import MODES, BeyondScan

NetworkFactory = Callable[..., BlockCenterTransformer]
Size3 = tuple[int, int, int]

# What is outside the volume is 0 in normalised intensity, 30 HU, which neither of these windows shows as 0.
WINDOWS = [{"mean": 30.0, "std": 20.0, "windows_hu": [(0, 80), (-160, 240)]}, None]

GEOMETRIES: dict[str, tuple[dict[str, Any], Size3]] = {
    "one centre patch": ({"patch_size": 2, "block_patches": 3, "center_patches": 1}, (5, 6, 3)),
    "two centre patches": ({"patch_size": 2, "block_patches": 4, "center_patches": 2}, (9, 4, 5)),
    "three centre patches": ({"patch_size": 1, "block_patches": 5, "center_patches": 3}, (4, 7, 3)),
    "centre is the whole block": ({"patch_size": 3, "block_patches": 2, "center_patches": 2}, (7, 6, 2)),
    "one patch a block": ({"patch_size": 3, "block_patches": 1, "center_patches": 1}, (4, 3, 7)),
    "anisotropic patches": ({"patch_size": (1, 2, 3), "block_patches": 3, "center_patches": 1}, (3, 5, 7)),
    "anisotropic blocks": ({"patch_size": 2, "block_patches": (1, 3, 5), "center_patches": 1}, (3, 4, 5)),
    "centres differ by axis": (
        {"patch_size": (1, 2, 2), "block_patches": (4, 3, 5), "center_patches": (2, 1, 3)},
        (5, 4, 9),
    ),
    "smaller than a patch": ({"patch_size": 3, "block_patches": 3, "center_patches": 1}, (1, 1, 2)),
}


def random_volume(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(1))


def centre_by_hand(network: BlockCenterTransformer, block: Tensor) -> Tensor:
    """(C, *block_size) to (P, *center_size): a patch at a time, all tokens through all layers."""
    w, n, c = network.patch_size, network.block_patches, network.center_patches
    windowed = network.windows(block[None])[0]
    patches = []
    for token in product(*map(range, n)):
        z, y, x = (slice(t * size, (t + 1) * size) for t, size in zip(token, w, strict=True))
        patches.append(windowed[:, z, y, x].flatten())
    tokens = network.position(torch.stack([network.embedding(patch) for patch in patches])[None])
    for layer in network.encoder.layers:
        tokens = layer(tokens)
    tokens = network.encoder.final_norm(tokens)
    centre = torch.full((network.num_classes, *network.center_size), torch.nan)
    for number, inner in enumerate(product(*map(range, c))):
        iz, iy, ix = ((size - inside) // 2 + i for size, inside, i in zip(n, c, inner, strict=True))
        index = (iz * n[1] + iy) * n[2] + ix
        voxels = patches[index].reshape(1, 1, len(windowed), -1)
        z, y, x = (slice(i * size, (i + 1) * size) for i, size in zip(inner, w, strict=True))
        if network.decoder.reads_all_tokens:
            (everything,) = network.decoder.seg_layers
            logits = (everything.weight @ tokens.flatten() + everything.bias).chunk(c[0] * c[1] * c[2])[number]
        else:
            logits = network.decoder(tokens[:, index : index + 1], voxels)
        centre[:, z, y, x] = logits.reshape(-1, *w)
    return centre


def continued_by_numpy(x: np.ndarray, pads: list[tuple[int, int]], beyond_scan: BeyondScan) -> np.ndarray:
    """(B, C, Z, Y, X), each channel of each volume on its own."""
    ways: dict[str, dict[str, Any]] = {"mean": {}, "edge": {"mode": "edge"}, "reflect": {"mode": "reflect"}}
    return np.stack([
        np.stack([
            np.pad(values, pads, **ways.get(beyond_scan.mode, {"constant_values": air}))
            for values, air in zip(volume, beyond_scan.air or (0.0,) * len(volume), strict=True)
        ]) for volume in x
    ])  # fmt: skip


def dense_by_hand(network: BlockCenterTransformer, x: Tensor) -> Tensor:
    """Pad by hand, cut every block out, write its prediction to its centre; a voxel left out would stay NaN."""
    shape, size, centre = tuple(x.shape[2:]), network.block_size, network.center_size
    # A block starts (W - centre) / 2 voxels before its centre and ends at most W voxels after the volume.
    before = tuple((whole - inner) // 2 for whole, inner in zip(size, centre, strict=True))
    pads = [(b, whole) for b, whole in zip(before, size, strict=True)]
    padded = torch.from_numpy(continued_by_numpy(x.numpy(), pads, network.beyond_scan))
    out = torch.full((len(x), network.num_classes, *shape), torch.nan)
    starts = [range(0, s, step) for s, step in zip(shape, centre, strict=True)]
    for volume, z, y, x_ in product(range(len(x)), *starts):
        block = padded[volume, :, z : z + size[0], y : y + size[1], x_ : x_ + size[2]]
        prediction = centre_by_hand(network, block)
        target = out[volume, :, z : z + centre[0], y : y + centre[1], x_ : x_ + centre[2]]
        target.copy_(prediction[:, : target.shape[1], : target.shape[2], : target.shape[3]])
    return out


def assert_same(actual: Tensor, expected: Tensor) -> None:
    assert actual.shape == expected.shape
    assert actual.dtype == torch.float32
    assert expected.std() > 0.1  # a difference would show
    assert (actual - expected).abs().max() <= 1e-5


@pytest.mark.parametrize("name", GEOMETRIES)
@pytest.mark.parametrize("decoder", ["linear", "voxel", "all_tokens"])
@torch.no_grad()
def test_dense_forward_equals_blocks_cut_out_by_hand(name: str, decoder: str, tiny_network: NetworkFactory) -> None:
    options, size = GEOMETRIES[name]
    network = tiny_network(2, windows=WINDOWS, decoder=decoder, norm="pre", chunk_blocks=7, **options)
    x = random_volume(2, 2, *size)
    assert_same(network(x), dense_by_hand(network, x))


@settings(deadline=None, max_examples=40)
@given(mode=st.sampled_from(MODES), shape=st.tuples(*[st.integers(1, 9)] * 3), seed=st.integers(0, 99))
@torch.no_grad()
def test_dense_forward_equals_blocks_cut_out_of_a_continued_volume(
    mode: str, shape: Size3, seed: int, tiny_network: NetworkFactory
) -> None:
    network = tiny_network(
        2, windows=[WINDOWS[0]] * 2, decoder="voxel", patch_size=(1, 2, 3), block_patches=(4, 5, 3),
        center_patches=(2, 1, 1), beyond_scan=mode, chunk_blocks=7,
    )  # fmt: skip
    x = torch.randn(2, 2, *shape, generator=torch.Generator().manual_seed(seed))
    actual, expected = network(x), dense_by_hand(network, x)
    assert actual.shape == expected.shape
    assert (actual - expected).abs().max() <= 1e-5


@pytest.mark.parametrize("position", ["sine", "learned", "none"])
@pytest.mark.parametrize("norm", ["post", "pre"])
@torch.no_grad()
def test_dense_forward_equals_blocks_cut_out_with_every_norm_and_position(
    norm: str, position: str, tiny_network: NetworkFactory
) -> None:
    network = tiny_network(norm=norm, position=position)
    x = random_volume(1, 1, 3, 4, 5)
    assert_same(network(x), dense_by_hand(network, x))


@pytest.mark.parametrize("name", GEOMETRIES)
@pytest.mark.parametrize("decoder", ["linear", "voxel", "all_tokens"])
@torch.no_grad()
def test_centers_only_equals_each_block_by_hand(name: str, decoder: str, tiny_network: NetworkFactory) -> None:
    network = tiny_network(2, windows=WINDOWS, decoder=decoder, **GEOMETRIES[name][0])
    blocks = random_volume(3, 2, *network.block_size)
    centres = network(blocks, centers_only=True)
    assert_same(centres, torch.stack([centre_by_hand(network, block) for block in blocks]))


@torch.no_grad()
def test_centers_only_is_the_middle_of_the_dense_forward(tiny_network: NetworkFactory) -> None:
    network = tiny_network(patch_size=(1, 2, 3), decoder="voxel")
    block = random_volume(2, 1, 3, 6, 9)
    assert_same(network(block)[:, :, 1:2, 2:4, 3:6], network(block, centers_only=True))


@torch.no_grad()
def test_input_may_be_a_view_and_is_not_changed(tiny_network: NetworkFactory) -> None:
    network = tiny_network()
    x = random_volume(1, 5, 4, 3, 1).permute(0, 4, 3, 2, 1)
    copy = x.clone()
    assert_same(network(x), network(copy.contiguous()))
    assert torch.equal(x, copy)


@settings(deadline=None, derandomize=True, max_examples=25)
@given(
    size=st.tuples(*[st.integers(1, 8)] * 3),
    batch=st.integers(1, 2),
    chunk_blocks=st.integers(1, 70),
    geometry=st.sampled_from(["one centre patch", "centres differ by axis"]),
)
@torch.no_grad()
def test_result_does_not_depend_on_the_chunks(
    size: Size3, batch: int, chunk_blocks: int, geometry: str, tiny_network: NetworkFactory
) -> None:
    network = tiny_network(decoder="voxel", chunk_blocks=10**6, **GEOMETRIES[geometry][0])
    x = random_volume(batch, 1, *size)
    at_once, features = network(x), network.forward_features(x)
    network.chunk_blocks = chunk_blocks
    assert at_once.shape == (batch, 3, *size)
    torch.testing.assert_close(network(x), at_once, rtol=0, atol=1e-5)
    torch.testing.assert_close(network.forward_features(x), features, rtol=0, atol=1e-5)


@torch.no_grad()
def test_chunks_hold_no_more_blocks_than_asked_for(tiny_network: NetworkFactory) -> None:
    network = tiny_network(chunk_blocks=4)
    lengths: list[int] = []
    network.encoder.register_forward_pre_hook(lambda module, args: lengths.append(len(args[0])))
    network(random_volume(2, 1, 2, 4, 6))  # 2 volumes x 1 x 2 x 3 patches: 12 blocks
    assert lengths == [4, 4, 4]


@torch.no_grad()
def test_patches_are_embedded_once_however_many_blocks_hold_them(tiny_network: NetworkFactory) -> None:
    network = tiny_network()
    lengths: list[int] = []
    network.embedding.register_forward_pre_hook(lambda module, args: lengths.append(args[0][..., 0].numel()))
    network(random_volume(2, 1, 2, 4, 6))
    assert lengths == [2 * 3 * 4 * 5]  # 2 volumes of 1 x 2 x 3 patches and one more on every side


@pytest.mark.parametrize("decoder", ["linear", "voxel", "all_tokens"])
def test_a_voxel_sees_its_block_and_nothing_else(decoder: str, tiny_network: NetworkFactory) -> None:
    x = random_volume(2, 1, 12, 12, 12).requires_grad_()
    logits = tiny_network(decoder=decoder)(x)
    logits[1, :, 4, 7, 2].square().sum().backward()  # in the centre 4:6, 6:8, 2:4 of the block 2:8, 4:10, 0:6
    assert x.grad is not None
    seen = x.grad.abs()
    assert torch.all(seen[1, 0, 2:8, 4:10, 0:6] > 0)
    seen[1, 0, 2:8, 4:10, 0:6] = 0
    assert torch.all(seen == 0)
