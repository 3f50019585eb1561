"""How much memory a training step takes, from the plans alone.

Counts what PyTorch keeps for the backward pass, tensor by tensor, in float32. ``benchmarks/memory.py`` measures it.
"""

from __future__ import annotations

from typing import Any

from nnunetv2_cfseg.networks import BlockCenterTransformer

BYTES = 4
#: Weights, gradients and AdamW's two moments.
COPIES_OF_WEIGHTS = 4


def estimate_step_bytes(arch_kwargs: dict[str, Any], *, input_channels: int, num_classes: int, blocks: int) -> int:
    """Peak memory in bytes of one training step.

    Args:
        arch_kwargs: keyword arguments of the network, from the plans.
        blocks: M, blocks a step.
    """
    network = BlockCenterTransformer(input_channels, num_classes, **arch_kwargs)
    weights = sum(p.numel() for p in network.parameters())
    floats = COPIES_OF_WEIGHTS * weights + blocks * _floats_per_block(network)
    return floats * BYTES


def _floats_per_block(network: BlockCenterTransformer) -> int:
    """Floats that one block adds to the peak."""
    n, w = network.block_patches, network.patch_size
    tokens = n[0] * n[1] * n[2]
    queries = len(network.center_indices)
    voxels = w[0] * w[1] * w[2]
    d = network.embed_dim
    channels = network.windows.out_channels

    # The batch, its windowed copy and its patches (kept: the embedding's input).
    image = tokens * voxels * (network.input_channels + 2 * channels)
    layers = list(network.encoder.layers)
    hidden = layers[0].feed_forward[0].out_features
    kept = image + 2 * tokens * d
    # Per token: q, k, v, k and v before the split, heads, their merged copy, two sums, two norms; the hidden layer
    # before and after its activation.
    for layer_tokens in [tokens] * (len(layers) - 1) + [queries]:
        kept += layer_tokens * (7 * d + 2 * hidden) + tokens * 4 * d
    logits = queries * voxels * network.num_classes
    # Logits, their softmax and log-softmax, the one-hot target and the gradients of these.
    decoder = 6 * logits
    if hasattr(network.decoder, "mix"):
        features, mixed = network.decoder.features, network.decoder.mix.out_features
        decoder += queries * voxels * (2 * features + 2 * channels + 2 * mixed + 2 * mixed)
    return kept + decoder
