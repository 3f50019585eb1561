"""The optimiser: Muon for the transformer's matrices, AdamW for all other weights.

Muon makes every update of a matrix orthogonal, so that all directions are learnt alike (Jordan et al. 2024, "Muon: An
optimizer for hidden layers in neural networks"; the scale that lets it share AdamW's learning rate is that of Liu et
al. 2025, "Muon is scalable for LLM training", arXiv 2502.16982). Both are PyTorch's.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from nnunetv2_cfseg.networks import BlockCenterTransformer


class MuonAdamW(torch.optim.Optimizer):
    """Two optimisers as one, with one learning rate.

    Args:
        matrices: weights with two axes, for Muon.
        others: parameter groups for AdamW.
        lr: learning rate of all.
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
        """One step of both.

        Raises:
            ValueError: a closure, which each would call for itself.
        """
        if closure is not None:
            raise ValueError("MuonAdamW takes no closure")
        self.muon.step()
        self.adamw.step()

    def state_dict(self) -> dict[str, Any]:
        """Those of both."""
        return {"muon": self.muon.state_dict(), "adamw": self.adamw.state_dict()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Those of both.

        Raises:
            ValueError: another optimiser's.
        """
        if state_dict.keys() != {"muon", "adamw"}:
            raise ValueError(f"the optimiser's state must be that of muon and adamw, got {', '.join(state_dict)}")
        self.muon.load_state_dict(state_dict["muon"])
        self.adamw.load_state_dict(state_dict["adamw"])
        self._share_groups()

    def _share_groups(self) -> None:
        """A schedule sets the rates in the groups that the two read."""
        self.param_groups = [*self.muon.param_groups, *self.adamw.param_groups]


def build_optimizer(network: BlockCenterTransformer, *, lr: float, weight_decay: float) -> MuonAdamW:
    """Muon for the matrices of embedding and encoder; no weight decay for biases, norms and position codes."""
    hidden = [p for part in (network.embedding, network.encoder) for p in part.parameters() if p.ndim == 2]
    undecayed = {p for p in network.parameters() if p.ndim < 2}.union(network.position.parameters())
    output = [p for p in network.parameters() if p not in undecayed.union(hidden)]
    others = [
        {"params": output, "weight_decay": weight_decay},
        {"params": [p for p in network.parameters() if p in undecayed], "weight_decay": 0.0},
    ]
    return MuonAdamW(hidden, others, lr=lr, weight_decay=weight_decay)
