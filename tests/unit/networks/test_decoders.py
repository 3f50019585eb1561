from __future__ import annotations

import math
from itertools import product

import pytest
import torch
from torch import Tensor, nn

from nnunetv2_cfseg.networks.decoders import DECODERS, AllTokensDecoder, LinearDecoder, VoxelDecoder, build_decoder

D, CLASSES, VOXELS, CHANNELS, FEATURES, HIDDEN = 5, 3, 8, 2, 4, 6


def build(kind: str) -> LinearDecoder | VoxelDecoder:
    torch.manual_seed(0)
    if kind == "linear":
        return LinearDecoder(D, CLASSES, VOXELS)
    return VoxelDecoder(D, CLASSES, VOXELS, in_channels=CHANNELS, features=FEATURES, hidden=HIDDEN)


def inputs() -> tuple[Tensor, Tensor]:
    """Two blocks of three centre tokens, and their voxels."""
    torch.manual_seed(1)
    return torch.randn(2, 3, D), torch.randn(2, 3, CHANNELS, VOXELS)


def linear_by_hand(layer: nn.Linear, token: Tensor) -> Tensor:
    """(P, w^3): the row of class p and voxel v is p w^3 + v."""
    logits = torch.empty(CLASSES, VOXELS)
    for p in range(CLASSES):
        for v in range(VOXELS):
            logits[p, v] = layer.weight[p * VOXELS + v] @ token + layer.bias[p * VOXELS + v]
    return logits


def voxel_by_hand(decoder: VoxelDecoder, token: Tensor, intensities: Tensor) -> Tensor:
    """(P, w^3), a voxel at a time."""
    logits = linear_by_hand(decoder.seg_layers[0], token)
    last = decoder.seg_layers[1]
    for v in range(VOXELS):
        rows = slice(v * FEATURES, (v + 1) * FEATURES)
        said = decoder.voxel_features.weight[rows] @ token + decoder.voxel_features.bias[rows]
        hidden = decoder.mix.weight @ torch.cat([said, intensities[:, v]]) + decoder.mix.bias
        hidden = hidden * 0.5 * (1 + torch.erf(hidden / math.sqrt(2)))  # GELU
        logits[:, v] += last.weight @ hidden + last.bias
    return logits


@torch.no_grad()
def test_linear_decoder_equals_its_formula() -> None:
    decoder, (tokens, voxels) = build("linear"), inputs()
    logits = decoder(tokens, voxels)
    assert logits.shape == (2, 3, CLASSES, VOXELS)
    for block in range(2):
        for token in range(3):
            expected = linear_by_hand(decoder.seg_layers[0], tokens[block, token])
            torch.testing.assert_close(logits[block, token], expected, rtol=1e-5, atol=1e-6)


@torch.no_grad()
def test_voxel_decoder_equals_its_formula() -> None:
    decoder, (tokens, voxels) = build("voxel"), inputs()
    logits = decoder(tokens, voxels)
    assert logits.shape == (2, 3, CLASSES, VOXELS)
    for block in range(2):
        for token in range(3):
            expected = voxel_by_hand(decoder, tokens[block, token], voxels[block, token])
            torch.testing.assert_close(logits[block, token], expected, rtol=1e-5, atol=1e-6)


@torch.no_grad()
def test_all_tokens_decoder_equals_its_formula() -> None:
    """The row of centre q, class p and voxel v is (q P + p) w^3 + v; it weighs the tokens one behind the other."""
    torch.manual_seed(0)
    decoder = AllTokensDecoder(D, CLASSES, VOXELS, tokens=4, centers=2)
    tokens, layer = torch.randn(2, 4, D), decoder.seg_layers[0]
    assert decoder.deep_supervision is False
    assert layer.weight.shape == (2 * CLASSES * VOXELS, 4 * D)
    logits = decoder(tokens, torch.full((2, 2, CHANNELS, VOXELS), torch.nan))
    assert logits.shape == (2, 2, CLASSES, VOXELS)
    for block, q, p, v in product(range(2), range(2), range(CLASSES), range(VOXELS)):
        row = (q * CLASSES + p) * VOXELS + v
        expected = layer.bias[row] + sum(layer.weight[row, t * D : (t + 1) * D] @ tokens[block, t] for t in range(4))
        torch.testing.assert_close(logits[block, q, p, v], expected, rtol=1e-5, atol=1e-6)


@torch.no_grad()
def test_linear_decoder_does_not_look_at_the_voxels() -> None:
    decoder, (tokens, voxels) = build("linear"), inputs()
    assert torch.equal(decoder(tokens, voxels), decoder(tokens, torch.full_like(voxels, torch.nan)))


@torch.no_grad()
def test_no_voxel_looks_at_another_one() -> None:
    decoder, (tokens, voxels) = build("voxel"), inputs()
    changed = voxels.clone()
    changed[1, 2, 0, 5] += 1
    difference = (decoder(tokens, changed) - decoder(tokens, voxels)).abs()
    assert difference[1, 2, :, 5].min() > 1e-4
    difference[1, 2, :, 5] = 0
    assert torch.all(difference == 0)


def test_voxel_decoder_takes_intensities_of_another_precision() -> None:
    decoder, (tokens, voxels) = build("voxel"), inputs()
    torch.testing.assert_close(decoder(tokens, voxels.double()), decoder(tokens, voxels))


@pytest.mark.parametrize("kind", ["linear", "voxel"])
def test_deep_supervision_can_be_switched_and_changes_nothing(kind: str) -> None:
    decoder, (tokens, voxels) = build(kind), inputs()
    before = decoder(tokens, voxels)
    assert decoder.deep_supervision is False
    decoder.deep_supervision = True
    assert decoder.deep_supervision is True
    assert torch.equal(decoder(tokens, voxels), before)
    assert build(kind).deep_supervision is False


@pytest.mark.parametrize(
    ("kind", "outputs"),
    [
        ("linear", {"seg_layers.0": CLASSES * VOXELS}),
        ("voxel", {"seg_layers.0": CLASSES * VOXELS, "seg_layers.1": CLASSES}),
    ],
)
def test_layers_that_depend_on_the_classes_are_named_seg_layers(kind: str, outputs: dict[str, int]) -> None:
    state = build(kind).state_dict()
    biases = {key.removesuffix(".bias"): len(value) for key, value in state.items() if key.endswith(".bias")}
    assert {key: length for key, length in biases.items() if key.startswith("seg_layers.")} == outputs


def build_by_name(kind: str) -> nn.Module:
    return build_decoder(
        kind, D, CLASSES, VOXELS, tokens=4, centers=2, in_channels=CHANNELS, features=FEATURES, hidden=HIDDEN
    )


def test_every_name_builds_its_decoder() -> None:
    kinds = {kind: type(build_by_name(kind)) for kind in DECODERS}
    assert kinds == {"linear": LinearDecoder, "voxel": VoxelDecoder, "all_tokens": AllTokensDecoder}
    assert [kind for kind in DECODERS if build_by_name(kind).reads_all_tokens] == ["all_tokens"]


@pytest.mark.parametrize("kind", ["", "conv", "unet"])
def test_unknown_decoder_is_refused(kind: str) -> None:
    with pytest.raises(ValueError, match=f"decoder must be one of linear, voxel, all_tokens, got '{kind}'"):
        build_by_name(kind)
