"""Building the network, what it refuses, its features, and the keys nnU-Net relies on."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import product
from typing import Any

import pytest
import torch
from torch import nn

from nnunetv2_cfseg.networks import BlockCenterTransformer
from nnunetv2_cfseg.networks.decoders import LinearDecoder
from nnunetv2_cfseg.networks.position import sine_cosine_3d

NetworkFactory = Callable[..., BlockCenterTransformer]
CT = {"mean": 40.0, "std": 20.0, "windows_hu": [(0, 80)]}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"patch_size": 0}, r"patch_size must be one or three whole numbers >= 1 \(z, y, x\), got 0"),
        ({"patch_size": (2, 2)}, r"patch_size must be one or three whole numbers >= 1 \(z, y, x\), got \(2, 2\)"),
        ({"block_patches": -3}, "block_patches must be one or three whole numbers >= 1"),
        ({"center_patches": (1, 0, 1)}, "center_patches must be one or three whole numbers >= 1"),
        (
            {"center_patches": 5},
            r"center_patches must be at most block_patches and differ from it by an even number, "
            r"got \(5, 5, 5\) in \(3, 3, 3\)",
        ),
        ({"center_patches": (1, 2, 1)}, r"differ from it by an even number, got \(1, 2, 1\) in \(3, 3, 3\)"),
        ({"windows": [CT, None]}, "windows must have an entry for each of 1 channels, got 2"),
        ({"windows": []}, "windows must have an entry for each of 1 channels, got 0"),
        ({"windows": [{**CT, "windows_hu": [(80, 0)]}]}, r"windows_hu must be a list of \(lower, upper\)"),
        ({"windows": [{**CT, "std": 0.0}]}, "std that undoes CT normalisation must be > 0 HU, got 0.0"),
        ({"decoder": "unet"}, "decoder must be one of linear, voxel, all_tokens, got 'unet'"),
        ({"chunk_blocks": 0}, "chunk_blocks must be >= 1, got 0"),
        ({"deep_supervision": True}, "deep_supervision must be False: a block-centre network has one output"),
        ({"norm": "batch"}, "norm must be one of post, pre, got 'batch'"),
        ({"activation": "swish"}, "activation must be one of relu, gelu, got 'swish'"),
        ({"position": "relative"}, "position must be one of sine, learned, rotary, none, got 'relative'"),
        ({"position": "rotary", "num_heads": 3}, "rotary positions need heads of at least 6 numbers, got 4"),
        ({"attention_radius": 0, "position": "none"}, "attention_radius must be a whole number >= 1 or None, got 0"),
        ({"attention_radius": True, "position": "none"}, "a whole number >= 1 or None, got True"),
        ({"attention_radius": 1}, "attention_radius needs the position rotary or none, got 'sine'"),
        ({"attention_radius": 1, "position": "none", "decoder": "all_tokens"}, "needs the decoder linear or voxel"),
        ({"num_heads": 5}, "embed_dim must be a multiple of num_heads, got 12 and 5"),
        ({"depth": 0}, "depth must be >= 1, got 0"),
        ({"embed_dim": 4}, "needs embed_dim >= 6, got 4"),
    ],
)
def test_options_out_of_range_are_refused(options: dict[str, Any], message: str, tiny_network: NetworkFactory) -> None:
    with pytest.raises(ValueError, match=message):
        tiny_network(**options)


@pytest.mark.parametrize("centers_only", [False, True])
@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((1, 6, 6, 6), r"the input must have five axes \(B, C, Z, Y, X\), got 4"),
        ((1, 1, 1, 6, 6, 6), "the input must have five axes .* got 6"),
        ((1, 2, 6, 6, 6), "the network was built for 1 channels, got 2"),
    ],
)
def test_forward_refuses_other_axes_and_channels(
    shape: tuple[int, ...], message: str, centers_only: bool, tiny_network: NetworkFactory
) -> None:
    with pytest.raises(ValueError, match=message):
        tiny_network()(torch.zeros(shape), centers_only=centers_only)


@pytest.mark.parametrize(
    ("shape", "message"), [((1, 6, 6, 6), "must have five axes"), ((1, 2, 6, 6, 6), "was built for 1 channels, got 2")]
)
def test_forward_features_refuses_other_axes_and_channels(
    shape: tuple[int, ...], message: str, tiny_network: NetworkFactory
) -> None:
    with pytest.raises(ValueError, match=message):
        tiny_network().forward_features(torch.zeros(shape))


@pytest.mark.parametrize("size", [(6, 6, 8), (4, 6, 6), (12, 6, 6)])
def test_centers_only_needs_whole_blocks(size: tuple[int, int, int], tiny_network: NetworkFactory) -> None:
    message = r"blocks must be \(6, 6, 6\) voxels \(z, y, x\), got \({}, {}, {}\)".format(*size)
    with pytest.raises(ValueError, match=message):
        tiny_network()(torch.zeros(1, 1, *size), centers_only=True)


def test_block_and_centre_sizes_are_patches_times_voxels(tiny_network: NetworkFactory) -> None:
    network = tiny_network(patch_size=[1, 2, 3], block_patches=(3, 4, 5), center_patches=(1, 2, 3))
    assert network.block_size == (3, 8, 15)
    assert network.center_size == (1, 4, 9)


def test_sizes_and_kinds_reach_the_layers(tiny_network: NetworkFactory) -> None:
    network = tiny_network(
        2,
        5,
        patch_size=(1, 2, 3),
        embed_dim=18,
        depth=3,
        num_heads=3,
        ffn_ratio=1.5,
        activation="gelu",
        decoder="voxel",
        voxel_features=7,
        voxel_hidden=11,
        windows=[{**CT, "windows_hu": [(0, 80), (-160, 240)]}, None],
    )
    # Two windows and a channel without are 3 channels; a patch is 1 * 2 * 3 voxels.
    assert network.embedding.weight.shape == (18, 3 * 6)
    assert len(network.encoder.layers) == 3
    for layer in network.encoder.layers:
        assert layer.attention.num_heads == 3
        assert layer.feed_forward[0].out_features == 27
        assert isinstance(layer.feed_forward[1], nn.GELU)
    assert network.decoder.voxel_features.weight.shape == (7 * 6, 18)
    assert network.decoder.mix.weight.shape == (11, 7 + 3)
    assert network.decoder.seg_layers[0].weight.shape == (5 * 6, 18)
    assert network.decoder.seg_layers[1].weight.shape == (5, 11)


def test_the_defaults_are_the_papers(tiny_network: NetworkFactory) -> None:
    """Post-norm, ReLU, sine-cosine, a linear decoder of one centre patch, no windows."""
    network = tiny_network()
    assert network.center_patches == (1, 1, 1)
    layer = network.encoder.layers[0]
    assert not layer.pre_norm
    assert isinstance(layer.feed_forward[1], nn.ReLU)
    assert torch.equal(network.position.code, sine_cosine_3d((3, 3, 3), 12))
    assert isinstance(network.decoder, LinearDecoder)
    assert network.windows.channels == [None]


def test_initial_weights_are_xavier_and_biases_zero() -> None:
    torch.manual_seed(0)
    network = BlockCenterTransformer(1, 2, patch_size=2, block_patches=3, embed_dim=24, depth=2, num_heads=2)
    for module in network.modules():
        if isinstance(module, nn.Linear):
            bound = math.sqrt(6 / (module.in_features + module.out_features))
            assert 0.9 * bound < module.weight.abs().max() <= bound
            assert torch.all(module.bias == 0)
        if isinstance(module, nn.LayerNorm):
            assert torch.all(module.weight == 1)
            assert torch.all(module.bias == 0)


def test_initialize_can_be_applied_once_more_as_nnunet_does() -> None:
    torch.manual_seed(0)
    network = BlockCenterTransformer(1, 2, patch_size=2, block_patches=3, embed_dim=24, depth=1, num_heads=2)
    before = network.embedding.weight.clone()
    network.apply(network.initialize)
    assert not torch.equal(network.embedding.weight, before)
    assert torch.all(network.embedding.bias == 0)


@pytest.mark.parametrize("norm", ["post", "pre"])
@pytest.mark.parametrize(
    ("patch", "block", "center"), [((2, 2, 2), (3, 3, 3), (1, 1, 1)), ((1, 2, 3), (4, 3, 5), (2, 1, 3))]
)
@torch.no_grad()
def test_features_are_the_encoders_centre_tokens_on_their_grid(
    patch: tuple[int, int, int],
    block: tuple[int, int, int],
    center: tuple[int, int, int],
    norm: str,
    tiny_network: NetworkFactory,
) -> None:
    network = tiny_network(patch_size=patch, block_patches=block, center_patches=center, norm=norm, chunk_blocks=3)
    size = (5, 4, 7)
    x = torch.randn(2, 1, *size, generator=torch.Generator().manual_seed(0))
    blocks_per_axis = [math.ceil(s / (c * w)) for s, c, w in zip(size, center, patch, strict=True)]
    features = network.forward_features(x)
    grid = [k * c for k, c in zip(blocks_per_axis, center, strict=True)]
    assert features.shape == (2, 12, *grid)

    halo = [(n - c) // 2 for n, c in zip(block, center, strict=True)]
    # Patch (z, y, x) of the volume is token (z, y, x) + halo here; everything outside the volume is zero.
    whole = torch.zeros(2, 1, *((g + 2 * h) * w for g, h, w in zip(grid, halo, patch, strict=True)))
    z, y, x_ = (h * w for h, w in zip(halo, patch, strict=True))
    whole[:, :, z : z + size[0], y : y + size[1], x_ : x_ + size[2]] = x
    for batch, *place in product(range(2), *map(range, blocks_per_axis)):
        tokens = []
        for token in product(*map(range, block)):
            start = [(p * c + t) * w for p, c, t, w in zip(place, center, token, patch, strict=True)]
            box = tuple(slice(s, s + w) for s, w in zip(start, patch, strict=True))
            tokens.append(network.embedding(whole[(batch, 0, *box)].flatten()))
        encoded = network.position(torch.stack(tokens)[None])
        for layer in network.encoder.layers:
            encoded = layer(encoded)
        encoded = network.encoder.final_norm(encoded)[0].reshape(*block, 12)
        for inner in product(*map(range, center)):
            at = tuple(p * c + i for p, c, i in zip(place, center, inner, strict=True))
            expected = encoded[tuple(h + i for h, i in zip(halo, inner, strict=True))]
            torch.testing.assert_close(features[(batch, slice(None), *at)], expected, rtol=0, atol=1e-5)


@torch.no_grad()
def test_linear_decoder_of_the_features_is_the_dense_forward(tiny_network: NetworkFactory) -> None:
    network = tiny_network(num_classes=3)
    x = torch.randn(1, 1, 4, 6, 2, generator=torch.Generator().manual_seed(0))
    logits, features = network(x), network.forward_features(x)
    for z, y, x_ in product(range(2), range(3), range(1)):
        patch = network.decoder(features[:, :, z, y, x_][:, None], torch.empty(0)).reshape(3, 2, 2, 2)
        box = logits[0, :, 2 * z : 2 * z + 2, 2 * y : 2 * y + 2, 2 * x_ : 2 * x_ + 2]
        torch.testing.assert_close(box, patch, rtol=0, atol=1e-5)


@pytest.mark.parametrize("decoder", ["linear", "voxel", "all_tokens"])
@pytest.mark.parametrize("position", ["sine", "learned"])
def test_exactly_the_seg_layers_depend_on_the_number_of_classes(
    position: str, decoder: str, tiny_network: NetworkFactory
) -> None:
    """NnU-Net loads pretrained weights for all keys without ``.seg_layers.``: these must fit any classes."""
    three = {k: v.shape for k, v in tiny_network(1, 3, decoder=decoder, position=position).state_dict().items()}
    five = {k: v.shape for k, v in tiny_network(1, 5, decoder=decoder, position=position).state_dict().items()}
    outputs = {key for key in three if ".seg_layers." in key}
    assert three.keys() == five.keys()
    assert outputs
    assert {key for key in three if three[key] != five[key]} == outputs


@torch.no_grad()
def test_deep_supervision_of_the_decoder_can_be_set_and_there_is_one_output(tiny_network: NetworkFactory) -> None:
    network = tiny_network()
    x = torch.randn(1, 1, 3, 4, 5)
    before = network(x)
    network.decoder.deep_supervision = True
    assert network.decoder.deep_supervision is True
    assert torch.equal(network(x), before)


def test_state_dict_restores_the_output(tiny_network: NetworkFactory) -> None:
    trained = tiny_network(decoder="voxel", position="learned", norm="pre")
    other = tiny_network(decoder="voxel", position="learned", norm="pre")
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.zero_()
    x = torch.randn(1, 1, 3, 4, 5)
    assert not torch.equal(other(x), trained(x))
    other.load_state_dict(trained.state_dict())
    assert torch.equal(other(x), trained(x))
