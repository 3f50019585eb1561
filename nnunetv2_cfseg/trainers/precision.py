"""Mixed precision of a training step."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

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
    ask: Callable[[], dict[str, Any]] = getattr(torch.cpu, "get_capabilities", dict)  # older versions cannot tell
    capabilities = ask()
    return any(capabilities.get(name, False) for name in ("avx512_bf16", "amx_bf16", "amx_tile"))
