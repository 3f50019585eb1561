"""How weights are updated: the optimiser, the schedule of its learning rate, and the precision of a step.

The optimiser is Muon for the transformer's matrices and AdamW for all other weights.

Muon makes every update of a matrix orthogonal, so that all directions are learnt equally fast (Jordan et al. 2024,
"Muon: An optimizer for hidden layers in neural networks"). The scaling that lets it share AdamW's learning rate is that
of Liu et al. 2025, "Muon is scalable for LLM training", arXiv 2502.16982. Both optimisers are PyTorch's.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from nnunetv2.training.lr_scheduler.polylr import PolyLRScheduler
from torch import nn

from nnunetv2_cfseg.networks import BlockCenterTransformer


class MuonAdamW(torch.optim.Optimizer):
    """Two optimisers as one, with one learning rate.

    Args:
        matrices: weights with two axes, for Muon.
        others: parameter groups for AdamW.
        lr: learning rate of all weights.
        weight_decay: of the matrices; ``others`` have their own.
    """

    def __init__(
        self, matrices: list[nn.Parameter], others: list[dict[str, Any]], *, lr: float, weight_decay: float
    ) -> None:
        self.muon = torch.optim.Muon(matrices, lr=lr, weight_decay=weight_decay, adjust_lr_fn="match_rms_adamw")
        self.adamw = torch.optim.AdamW(others, lr=lr)
        super().__init__([*self.muon.param_groups, *self.adamw.param_groups], {})
        self._share_groups()

    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Do one step of both optimisers.

        Raises:
            ValueError: a closure was given; each optimiser would call it once.
        """
        if closure is not None:
            raise ValueError("MuonAdamW takes no closure")
        self.muon.step()
        self.adamw.step()

    def state_dict(self) -> dict[str, Any]:
        """Return both optimisers' states, under ``muon`` and ``adamw``."""
        return {"muon": self.muon.state_dict(), "adamw": self.adamw.state_dict()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Load both optimisers' states.

        Raises:
            ValueError: the state is another optimiser's.
        """
        if state_dict.keys() != {"muon", "adamw"}:
            raise ValueError(f"the optimiser's state must be that of muon and adamw, got {', '.join(state_dict)}")
        self.muon.load_state_dict(state_dict["muon"])
        self.adamw.load_state_dict(state_dict["adamw"])
        self._share_groups()

    def _share_groups(self) -> None:
        """Expose both optimisers' own groups, so that a schedule changes the rates they use."""
        self.param_groups = [*self.muon.param_groups, *self.adamw.param_groups]


def build_optimizer(network: BlockCenterTransformer, *, lr: float, weight_decay: float) -> MuonAdamW:
    """Return Muon for the matrices of embedding and encoder, AdamW for the rest.

    Biases, norms and position codes have no weight decay.
    """
    hidden = [p for part in (network.embedding, network.encoder) for p in part.parameters() if p.ndim == 2]
    undecayed = {p for p in network.parameters() if p.ndim < 2}.union(network.position.parameters())
    output = [p for p in network.parameters() if p not in undecayed.union(hidden)]
    others = [
        {"params": output, "weight_decay": weight_decay},
        {"params": [p for p in network.parameters() if p in undecayed], "weight_decay": 0.0},
    ]
    return MuonAdamW(hidden, others, lr=lr, weight_decay=weight_decay)


class WarmupPolyLR(PolyLRScheduler):
    """A learning rate that rises linearly to ``initial_lr``, then falls as in nnU-Net's schedule.

    Both follow the position, which is counted in epochs and may be fractional, so the length of epochs does not matter.

    Args:
        max_steps: length of the schedule in epochs.
        warmup_share: fraction of the schedule spent rising, in [0, 1).
    """

    def __init__(
        self, optimizer: torch.optim.Optimizer, initial_lr: float, max_steps: int, *, warmup_share: float
    ) -> None:
        self.warmup_share = warmup_share
        super().__init__(optimizer, initial_lr, max_steps)

    def step(self, current_step: float | None = None) -> None:
        """Set the learning rate for a position in [0, max_steps]."""
        super().step(current_step)
        warmup = self.warmup_share * self.max_steps
        if current_step is not None and 0 <= current_step < warmup:
            for group in self.optimizer.param_groups:
                # Never zero: such a step would change nothing.
                group["lr"] *= max(current_step / warmup, 0.01)
        self._last_lr = [group["lr"] for group in self.optimizer.param_groups]


def mixed_precision(device: torch.device) -> AbstractContextManager:
    """nnU-Net's autocast on a GPU, bfloat16 on a CPU that multiplies it natively, otherwise no autocast."""
    if device.type == "cuda":
        return torch.autocast("cuda")
    if device.type == "cpu" and multiplies_bfloat16():
        return torch.autocast("cpu", dtype=torch.bfloat16)
    return nullcontext()


def multiplies_bfloat16() -> bool:
    """Whether the CPU has instructions for bfloat16 products; emulated ones are slower than float32."""
    get_capabilities: Callable[[], dict[str, Any]] = getattr(torch.cpu, "get_capabilities", dict)  # not in old versions
    capabilities = get_capabilities()
    return any(capabilities.get(name, False) for name in ("avx512_bf16", "amx_bf16", "amx_tile"))
