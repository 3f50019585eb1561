"""Finding out which precision is faster on a machine, by a short trial of both."""

from __future__ import annotations

from copy import deepcopy
from time import perf_counter

import torch

from nnunetv2_cfseg.networks import BlockCenterTransformer

PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16}
#: bfloat16 has to be this much faster, since it costs some agreement.
GAIN = 1.1


def faster_precision(
    network: BlockCenterTransformer, *, chunk_blocks: int = 16, repeats: int = 2
) -> tuple[str, dict[str, float]]:
    """Encode a chunk of random blocks in each precision and compare the times.

    Args:
        network: on its device.
        chunk_blocks: blocks encoded at once; few, so that it takes a tenth of a second.

    Returns:
        The faster one, a key of :data:`PRECISIONS`, and microseconds per block for each.
    """
    seconds = {name: _seconds(network, dtype, chunk_blocks, repeats) for name, dtype in PRECISIONS.items()}
    best = "bfloat16" if seconds["bfloat16"] * GAIN < seconds["float32"] else "float32"
    return best, {name: value / chunk_blocks * 1e6 for name, value in seconds.items()}


@torch.inference_mode()
def _seconds(network: BlockCenterTransformer, dtype: torch.dtype, chunk_blocks: int, repeats: int) -> float:
    """Shortest time of ``repeats`` runs, after one to warm up."""
    encoder = deepcopy(network).to(dtype)
    weight = encoder.embedding.weight
    tokens = network.block_patches[0] * network.block_patches[1] * network.block_patches[2]
    blocks = torch.randn(chunk_blocks, tokens, network.embed_dim, device=weight.device).to(dtype)
    times = []
    for _ in range(repeats + 1):
        start = perf_counter()
        encoder.encode(blocks)
        if weight.device.type == "cuda":
            torch.cuda.synchronize(weight.device)
        times.append(perf_counter() - start)
    return min(times[1:])
