"""Mixed precision of a training step."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch


def mixed_precision(device: torch.device) -> AbstractContextManager:
    """Autocast as nnU-Net has it on a GPU, and bfloat16 on a processor that multiplies matrices faster with it."""
    if device.type == "cuda":
        return torch.autocast("cuda")
    if device.type == "cpu" and multiplies_bfloat16():
        return torch.autocast("cpu", dtype=torch.bfloat16)
    return nullcontext()


def multiplies_bfloat16() -> bool:
    """Whether the processor has instructions for products of bfloat16; emulated ones are slower than float32."""
    capabilities = getattr(torch.cpu, "get_capabilities", dict)()  # not in every version that nnU-Net runs with
    return any(capabilities.get(name, False) for name in ("avx512_bf16", "amx_bf16", "amx_tile"))
