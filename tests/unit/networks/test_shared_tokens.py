"""The dense forward of networks whose tokens are shared, against blocks that are cut out by hand."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from nnunetv2_cfseg.networks import BlockCenterTransformer
from nnunetv2_cfseg.networks.patches import pad_for_blocks
from nnunetv2_cfseg.networks.shared_tokens import Rows

TOLERANCE = {"atol": 1e-5, "rtol": 1e-4}


def network(**changes: Any) -> BlockCenterTransformer:
    """Weights are the same whatever the block and the radius."""
    torch.manual_seed(3)
    arguments: dict[str, Any] = {
        "patch_size": 2, "block_patches": 4, "center_patches": 2, "embed_dim": 24, "depth": 2, "num_heads": 2,
        "norm": "pre", "activation": "gelu", "position": "rotary", "attention_radius": 1, "decoder": "voxel",
        "beyond_scan": "edge",
    }  # fmt: skip
    return BlockCenterTransformer(1, 3, **{**arguments, **changes}).eval()


def scan(*shape: int) -> Tensor:
    return torch.randn(1, 1, *shape, generator=torch.Generator().manual_seed(sum(shape)))


@pytest.mark.parametrize(("radius", "depth"), [(1, 1), (1, 3), (2, 2)])
@pytest.mark.parametrize("norm", ["pre", "post"])
def test_a_patch_is_predicted_by_the_block_that_its_layers_can_see(radius: int, depth: int, norm: str) -> None:
    """Of 2 K r + 1 patches, and nothing beyond it matters."""
    patches = 2 * depth * radius + 1
    net = network(attention_radius=radius, depth=depth, norm=norm)
    alone = network(attention_radius=radius, depth=depth, norm=norm, block_patches=patches, center_patches=1)
    image = scan(2 * (patches + 1), 2 * (patches + 2), 2 * patches)
    z, y, x = 2, 4, 0  # first voxel of the block
    block = image[:, :, z : z + 2 * patches, y : y + 2 * patches, x : x + 2 * patches]
    at = [start + 2 * depth * radius for start in (z, y, x)]
    with torch.no_grad():
        expected = alone(block, centers_only=True)
        dense = net(image)[:, :, at[0] : at[0] + 2, at[1] : at[1] + 2, at[2] : at[2] + 2]
    torch.testing.assert_close(dense, expected, **TOLERANCE)


@settings(max_examples=15)
@given(
    shape=st.tuples(*[st.integers(1, 21)] * 3), radius=st.integers(1, 2), chunk=st.sampled_from([1, 3, 64]),
    center=st.sampled_from([(4, 2), (6, 4), (3, 1), (5, 5)]),
)  # fmt: skip
def test_dense_forward_is_one_block_of_the_whole_scan(
    shape: tuple[int, int, int], radius: int, chunk: int, center: tuple[int, int]
) -> None:
    block, middle = center
    net = network(attention_radius=radius, chunk_blocks=chunk, block_patches=block, center_patches=middle)
    image = scan(*shape)
    padded = pad_for_blocks(image, net.patch_size, net.block_patches, net.center_patches, net.beyond_scan)
    grid = [size // 2 for size in padded.shape[2:]]
    whole = network(
        attention_radius=radius, block_patches=grid, center_patches=[n - (block - middle) for n in grid]
    )  # fmt: skip
    z, y, x = shape
    with torch.no_grad():
        torch.testing.assert_close(net(image), whole(padded, centers_only=True)[:, :, :z, :y, :x], **TOLERANCE)


def test_volumes_of_a_batch_do_not_mix() -> None:
    net = network()
    first, second = scan(9, 8, 7), scan(9, 8, 7) * 2
    with torch.no_grad():
        both = net(torch.cat([first, second]))
        torch.testing.assert_close(both, torch.cat([net(first), net(second)]), **TOLERANCE)


def test_features_are_the_tokens_behind_the_last_layer() -> None:
    net = network()
    image = scan(9, 8, 7)
    with torch.no_grad():
        features = net.forward_features(image)
        assert features.shape == (1, 24, 6, 4, 4)  # whole centres of two patches
        patches, tokens = net._shared_features(image[0])
        torch.testing.assert_close(features[0], tokens.movedim(-1, 0))
        assert patches.shape == (6, 4, 4, 8)


def test_rows_with_their_halo_are_as_in_the_whole_grid() -> None:
    """Only wanted tokens are computed."""
    net = network()
    layer = net.shared_layers()[0]
    tokens = torch.randn(9, 6, 5, 24)
    with torch.no_grad():
        whole = layer(Rows(tokens), 0, 9)
        torch.testing.assert_close(layer(Rows(tokens[3:8], 3), 4, 7), whole[4:7], **TOLERANCE)
        wanted = torch.zeros(9, 6, 5, dtype=torch.bool)
        wanted[8, 5, 4] = True
        some = layer(Rows(tokens), 0, 9, wanted)
    torch.testing.assert_close(some[8, 5, 4], whole[8, 5, 4], **TOLERANCE)
    assert not some[:4].any()


def test_a_network_of_whole_blocks_shares_nothing() -> None:
    with pytest.raises(ValueError, match="attention_radius must be a number for tokens that blocks share, got None"):
        network(attention_radius=None).shared_layers()


def test_gradients_reach_all_weights_of_the_dense_forward() -> None:
    net = network()
    net(scan(8, 8, 8)).sum().backward()
    gradients = [parameter.grad for parameter in net.parameters()]
    assert all(gradient is not None and gradient.isfinite().all() and gradient.any() for gradient in gradients)


def test_blocks_compile_to_one_graph() -> None:
    net = network()
    blocks = torch.randn(3, 1, *net.block_size)
    compiled = torch.compile(net, backend="eager", fullgraph=True)
    with torch.no_grad():
        torch.testing.assert_close(compiled(blocks, centers_only=True), net(blocks, centers_only=True), **TOLERANCE)


def test_blocks_in_bfloat16_are_near_float32() -> None:
    net = network()
    blocks = torch.randn(3, 1, *net.block_size)
    exact = net(blocks, centers_only=True)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rounded = net(blocks, centers_only=True)
    assert (rounded.float() - exact).abs().mean() < 0.05 * exact.std()


def test_a_prediction_sees_what_its_layers_reach() -> None:
    assert network(depth=3, attention_radius=2).seen_size == (26, 26, 26)
    assert network(attention_radius=None).seen_size == (8, 8, 8)
