from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from nnunetv2_cfseg.networks.encoder import (
    Encoder,
    EncoderLayer,
    FeedForward,
    MultiHeadAttention,
    attend,
    select_tokens,
)

D, HEADS, HIDDEN = 12, 3, 20


def seeded(module: nn.Module) -> Any:
    """Move every parameter off its initial value: zero biases and unit norms hide mistakes."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(0.4 * torch.randn(parameter.shape, generator=generator))
            parameter += parameter.ndim == 1
    return module


def random_tokens(blocks: int = 2, tokens: int = 7) -> Tensor:
    return torch.randn(blocks, tokens, D, generator=torch.Generator().manual_seed(1))


def attention_by_hand(attention: MultiHeadAttention, queries: Tensor, tokens: Tensor) -> Tensor:
    """Eq. 4 to 7, a head and a block at a time, softmax written out."""
    size = D // HEADS
    key_weight, value_weight = attention.key_value.weight[:D], attention.key_value.weight[D:]
    key_bias, value_bias = attention.key_value.bias[:D], attention.key_value.bias[D:]
    blocks = []
    for query_block, token_block in zip(queries, tokens, strict=True):
        heads = []
        for head in range(HEADS):
            rows = slice(head * size, (head + 1) * size)
            q = query_block @ attention.query.weight[rows].T + attention.query.bias[rows]
            k = token_block @ key_weight[rows].T + key_bias[rows]
            v = token_block @ value_weight[rows].T + value_bias[rows]
            scores = torch.exp(q @ k.T / math.sqrt(size))
            heads.append(scores / scores.sum(dim=1, keepdim=True) @ v)
        blocks.append(torch.cat(heads, dim=1) @ attention.out.weight.T + attention.out.bias)
    return torch.stack(blocks)


def norm_by_hand(norm: nn.LayerNorm, x: Tensor) -> Tensor:
    centered = x - x.mean(dim=-1, keepdim=True)
    variance = (centered**2).mean(dim=-1, keepdim=True)
    return centered / torch.sqrt(variance + 1e-5) * norm.weight + norm.bias


def feed_forward_by_hand(feed_forward: FeedForward, x: Tensor) -> Tensor:
    first, _, second = feed_forward
    hidden = (x @ first.weight.T + first.bias).clamp(min=0)
    return hidden @ second.weight.T + second.bias


@pytest.mark.parametrize("query_indices", [None, [3], [6, 0, 2]])
def test_attention_equals_the_explicit_softmax_formula(query_indices: list[int] | None) -> None:
    attention = seeded(MultiHeadAttention(D, HEADS))
    tokens = random_tokens()
    queries = select_tokens(tokens, None if query_indices is None else torch.tensor(query_indices))
    torch.testing.assert_close(
        attention(queries, tokens), attention_by_hand(attention, queries, tokens), rtol=1e-5, atol=1e-5
    )


def test_one_head_attends_with_the_whole_width() -> None:
    attention = seeded(MultiHeadAttention(D, 1))
    tokens = random_tokens()
    q, (k, v) = attention.query(tokens), attention.key_value(tokens).split(D, dim=-1)
    expected = attention.out(torch.softmax(q @ k.mT / math.sqrt(D), dim=-1) @ v)
    torch.testing.assert_close(attention(tokens, tokens), expected, rtol=1e-5, atol=1e-5)


def test_attention_mixes_tokens_within_a_block_only() -> None:
    attention = seeded(MultiHeadAttention(D, HEADS))
    tokens = random_tokens()
    changed = tokens.clone()
    changed[1, 4] += 1
    before, after = attention(tokens, tokens), attention(changed, changed)
    assert torch.equal(before[0], after[0])
    assert torch.all((before[1] - after[1]).abs().amax(dim=1) > 1e-4)


@pytest.mark.parametrize(("device", "in_training"), [("cpu", torch.float32), ("meta", torch.bfloat16)])
def test_attention_is_computed_in_float32_only_in_training_on_a_cpu(
    device: str, in_training: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    computed_in: list[torch.dtype] = []

    def remember(q: Tensor, k: Tensor, v: Tensor, attn_mask: Tensor | None) -> Tensor:
        computed_in.append(q.dtype)
        return v

    monkeypatch.setattr("torch.nn.functional.scaled_dot_product_attention", remember)
    halves = torch.zeros(3, 1, 2, 5, 8, dtype=torch.bfloat16, device=device)
    assert attend(*halves).dtype == torch.bfloat16
    with torch.no_grad():
        attend(*halves)
    assert computed_in == [in_training, torch.bfloat16]


@pytest.mark.parametrize(("embed_dim", "num_heads"), [(10, 3), (12, 0), (12, -2), (4, 8)])
def test_attention_needs_whole_heads(embed_dim: int, num_heads: int) -> None:
    match = f"embed_dim must be a multiple of num_heads, got {embed_dim} and {num_heads}"
    with pytest.raises(ValueError, match=match):
        MultiHeadAttention(embed_dim, num_heads)


def test_relu_feed_forward_by_hand() -> None:
    feed_forward = FeedForward(2, 2, "relu")
    with torch.no_grad():
        feed_forward[0].weight.copy_(torch.tensor([[1.0, 2.0], [-1.0, -1.0]]))
        feed_forward[0].bias.copy_(torch.tensor([0.5, 1.0]))
        feed_forward[2].weight.copy_(torch.tensor([[2.0, 3.0], [1.0, 0.0]]))
        feed_forward[2].bias.copy_(torch.tensor([0.0, -1.0]))
    # x = (1, 2): hidden (1 + 4 + 0.5, -1 - 2 + 1) = (5.5, -2), ReLU (5.5, 0); out (11, 5.5 - 1).
    assert feed_forward(torch.tensor([1.0, 2.0])).tolist() == [11.0, 4.5]


def test_gelu_feed_forward_is_the_exact_gelu() -> None:
    feed_forward = FeedForward(1, 1, "gelu")
    with torch.no_grad():
        for parameter in feed_forward.parameters():
            parameter.fill_(parameter.ndim == 2)  # weights 1, biases 0
    x = torch.tensor([[-1.0], [0.5], [2.0]])
    expected = [[v * 0.5 * (1 + math.erf(v / math.sqrt(2)))] for v in (-1.0, 0.5, 2.0)]
    torch.testing.assert_close(feed_forward(x), torch.tensor(expected), rtol=0, atol=1e-6)


def test_unknown_activation_is_refused() -> None:
    with pytest.raises(ValueError, match="activation must be one of relu, gelu, got 'swish'"):
        FeedForward(4, 8, "swish")


def test_post_norm_layer_equals_the_paper_by_hand() -> None:
    layer = seeded(EncoderLayer(D, HEADS, HIDDEN, norm="post", activation="relu"))
    tokens = random_tokens()
    attended = norm_by_hand(layer.attention_norm, tokens + attention_by_hand(layer.attention, tokens, tokens))
    expected = norm_by_hand(layer.feed_forward_norm, attended + feed_forward_by_hand(layer.feed_forward, attended))
    torch.testing.assert_close(layer(tokens), expected, rtol=1e-5, atol=1e-5)


def test_pre_norm_layer_normalises_the_input_of_each_sub_layer() -> None:
    layer = seeded(EncoderLayer(D, HEADS, HIDDEN, norm="pre", activation="relu"))
    tokens = random_tokens()
    normed = norm_by_hand(layer.attention_norm, tokens)
    attended = tokens + attention_by_hand(layer.attention, normed, normed)
    expected = attended + feed_forward_by_hand(layer.feed_forward, norm_by_hand(layer.feed_forward_norm, attended))
    torch.testing.assert_close(layer(tokens), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("norm", ["post", "pre"])
@pytest.mark.parametrize("query_indices", [[3], [1, 2, 4], [6, 0]])
def test_layer_with_centre_queries_equals_the_full_layer_selected(norm: str, query_indices: list[int]) -> None:
    layer = seeded(EncoderLayer(D, HEADS, HIDDEN, norm=norm, activation="gelu"))
    tokens = random_tokens()
    centers = layer(tokens, torch.tensor(query_indices))
    assert centers.shape == (2, len(query_indices), D)
    torch.testing.assert_close(centers, layer(tokens)[:, query_indices], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("norm", ["post", "pre"])
@pytest.mark.parametrize("depth", [1, 3])
def test_encoder_equals_all_layers_in_full_then_selected(norm: str, depth: int) -> None:
    encoder = seeded(Encoder(D, depth, HEADS, HIDDEN, norm=norm, activation="relu"))
    tokens = random_tokens()
    expected = tokens
    for layer in encoder.layers:
        expected = layer(expected)
    if norm == "pre":
        expected = norm_by_hand(encoder.final_norm, expected)
    torch.testing.assert_close(encoder(tokens, torch.tensor([2, 5])), expected[:, [2, 5]], rtol=1e-5, atol=1e-5)


def test_post_norm_encoder_has_no_norm_after_its_layers() -> None:
    encoder = Encoder(D, 2, HEADS, HIDDEN, norm="post", activation="relu")
    assert not any("final_norm" in key for key in encoder.state_dict())


def test_encoder_layers_share_no_weights() -> None:
    encoder = Encoder(D, 3, HEADS, HIDDEN, norm="post", activation="relu")
    # A layer has query, key_value, out, two maps of the feed-forward and two norms, each with weight and bias.
    assert len({id(p) for p in encoder.parameters()}) == 3 * 2 * 7


def test_unknown_norm_is_refused() -> None:
    with pytest.raises(ValueError, match="norm must be one of post, pre, got 'batch'"):
        EncoderLayer(D, HEADS, HIDDEN, norm="batch", activation="relu")


@pytest.mark.parametrize("depth", [0, -1])
def test_encoder_needs_a_layer(depth: int) -> None:
    with pytest.raises(ValueError, match=f"depth must be >= 1, got {depth}"):
        Encoder(D, depth, HEADS, HIDDEN, norm="post", activation="relu")


def test_select_tokens_keeps_the_order_it_is_given() -> None:
    tokens = torch.arange(12).reshape(2, 3, 2)
    assert select_tokens(tokens, torch.tensor([2, 0])).tolist() == [[[4, 5], [0, 1]], [[10, 11], [6, 7]]]
    assert select_tokens(tokens, None) is tokens
