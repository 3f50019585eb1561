"""The transformer encoder (Eq. 4 to 9), read from the bottom up: attention, feed-forward, layer, encoder.

Vaswani et al. 2017, "Attention Is All You Need"; pre-norm after Xiong et al. 2020.
Shapes: M blocks, N tokens a block, Q of them queries, D width, H heads.
"""

from __future__ import annotations

from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nnunetv2_cfseg.networks.neighbourhood import BlockView

ACTIVATIONS = {"relu": nn.ReLU, "gelu": nn.GELU}
NORMS = ("post", "pre")


class MultiHeadAttention(nn.Module):
    """Multi-head attention with its own query tokens (Eq. 4 to 7).

    Raises:
        ValueError: the width is not whole heads.
    """

    def __init__(self, embed_dim: int, num_heads: int) -> None:
        super().__init__()
        if num_heads < 1 or embed_dim % num_heads:
            raise ValueError(f"embed_dim must be a multiple of num_heads, got {embed_dim} and {num_heads}")
        self.num_heads = num_heads
        self.query = nn.Linear(embed_dim, embed_dim)
        self.key_value = nn.Linear(embed_dim, 2 * embed_dim)
        self.out = nn.Linear(embed_dim, embed_dim)

    def forward(self, queries: Tensor, tokens: Tensor, view: BlockView | None = None) -> Tensor:
        """(M, Q, D) attends to (M, N, D) as ``view`` lets it; returns (M, Q, D)."""
        q = self._split_heads(self.query(queries))
        k, v = (self._split_heads(part) for part in self.key_value(tokens).chunk(2, dim=-1))
        if view is not None:
            q, k = view.rotate(q, k)
        q, k, v = (x.transpose(1, 2) for x in (q, k, v))  # (M, H, tokens, D / H)
        return self.merge_heads(attend(q, k, v, None if view is None else view.mask))

    def merge_heads(self, heads: Tensor) -> Tensor:
        """(M, H, Q, D / H) to (M, Q, D)."""
        return self.out(heads.transpose(1, 2).flatten(2))

    def _split_heads(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.num_heads, -1))  # (M, tokens, H, D / H)


def attend(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> Tensor:
    """Scaled dot-product attention (Eq. 5); in training on a CPU in float32, as its backward is slow in bfloat16.

    Args:
        mask: added to the scores, broadcast to (M, H, Q, N).
    """
    in_float32 = q.device.type == "cpu" and torch.is_grad_enabled()
    precision = torch.promote_types(q.dtype, torch.float32) if in_float32 else q.dtype
    mask = None if mask is None else mask.to(precision)
    if not in_float32:
        return F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
    with torch.autocast("cpu", enabled=False):
        heads = F.scaled_dot_product_attention(q.to(precision), k.to(precision), v.to(precision), attn_mask=mask)
    return heads.to(q.dtype)


class FeedForward(nn.Sequential):
    """Two linear maps with an activation between them (Eq. 8).

    Raises:
        ValueError: an unknown activation.
    """

    def __init__(self, embed_dim: int, hidden_dim: int, activation: str) -> None:
        if activation not in ACTIVATIONS:
            raise ValueError(f"activation must be one of {', '.join(ACTIVATIONS)}, got {activation!r}")
        super().__init__(nn.Linear(embed_dim, hidden_dim), ACTIVATIONS[activation](), nn.Linear(hidden_dim, embed_dim))


class EncoderLayer(nn.Module):
    """Attention and feed-forward, each with a residual connection and a layer normalisation (Eq. 9).

    Args:
        norm: ``post`` normalises after the sum (the paper's), ``pre`` the sub-layer's input.

    Raises:
        ValueError: an unknown norm.
    """

    def __init__(self, embed_dim: int, num_heads: int, hidden_dim: int, *, norm: str, activation: str) -> None:
        super().__init__()
        if norm not in NORMS:
            raise ValueError(f"norm must be one of {', '.join(NORMS)}, got {norm!r}")
        self.pre_norm = norm == "pre"
        self.attention = MultiHeadAttention(embed_dim, num_heads)
        self.feed_forward = FeedForward(embed_dim, hidden_dim, activation)
        self.attention_norm = nn.LayerNorm(embed_dim)
        self.feed_forward_norm = nn.LayerNorm(embed_dim)

    def forward(self, tokens: Tensor, query_indices: Tensor | None = None, view: BlockView | None = None) -> Tensor:
        """(M, N, D) to (M, Q, D): all tokens, or only those at ``query_indices``; ``view`` is theirs."""
        seen = self.seen_by_attention(tokens)
        attended = self.attention(select_tokens(seen, query_indices), seen, view)
        return self.after_attention(select_tokens(tokens, query_indices), attended)

    def seen_by_attention(self, tokens: Tensor) -> Tensor:
        """The tokens as attention sees them, normalised if that comes first; the same shape."""
        return self.attention_norm(tokens) if self.pre_norm else tokens

    def after_attention(self, queries: Tensor, attended: Tensor) -> Tensor:
        """All that follows attention, token by token: both residual sums, the norms and the feed-forward layer."""
        if self.pre_norm:
            queries = queries + attended
            return queries + self.feed_forward(self.feed_forward_norm(queries))
        queries = self.attention_norm(queries + attended)
        return self.feed_forward_norm(queries + self.feed_forward(queries))


class Encoder(nn.Module):
    """A stack of layers; the last one computes only the centre's tokens, unless the decoder reads all.

    Nothing reads the other tokens of the last layer then, so leaving them out does not change the result.
    """

    def __init__(
        self,
        embed_dim: int,
        depth: int,
        num_heads: int,
        hidden_dim: int,
        *,
        norm: str,
        activation: str,
        view: BlockView | None = None,
        center_view: BlockView | None = None,
    ) -> None:
        super().__init__()
        if depth < 1:
            raise ValueError(f"depth must be >= 1, got {depth}")
        self.layers = nn.ModuleList(
            EncoderLayer(embed_dim, num_heads, hidden_dim, norm=norm, activation=activation) for _ in range(depth)
        )
        # Post-norm layers end normalised; a pre-norm stack needs it once, at its end.
        self.final_norm = nn.LayerNorm(embed_dim) if norm == "pre" else nn.Identity()
        self.view, self.center_view = view, center_view

    def all_layers(self) -> list[EncoderLayer]:
        """The layers, first to last."""
        return [cast(EncoderLayer, layer) for layer in self.layers]

    def forward(self, tokens: Tensor, center_indices: Tensor | None) -> Tensor:
        """(M, N, D) to the centre tokens X^K, (M, Q, D); to all tokens, (M, N, D), if ``center_indices`` is None."""
        for layer in self.layers[:-1]:
            tokens = layer(tokens, view=self.view)
        view = self.view if center_indices is None else self.center_view
        return self.final_norm(self.layers[-1](tokens, center_indices, view))


def select_tokens(tokens: Tensor, indices: Tensor | None) -> Tensor:
    """(M, N, D) to (M, len(indices), D); ``None`` keeps all tokens."""
    return tokens if indices is None else tokens.index_select(1, indices)
