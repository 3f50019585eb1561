"""Keeps what a loss learns from step to step in the checkpoint."""

from __future__ import annotations

from typing import Any, ClassVar

from torch import Tensor, nn


class StepwiseState(nn.Module):
    """A module with buffers that get their shape in the first step and change with every step.

    ``state_dict`` holds them, and ``load_state_dict`` restores them in the shape that was saved.

    Attributes:
        follows: names of these buffers.
    """

    follows: ClassVar[tuple[str, ...]] = ()

    def move(self, name: str, value: Tensor) -> None:
        """Set a buffer to its next value; entries that are not finite, as after an overflow, keep their old value."""
        setattr(self, name, value.where(value.isfinite(), getattr(self, name)))

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        for name in self.follows:
            own, saved = getattr(self, name), state_dict.get(prefix + name)
            if isinstance(saved, Tensor) and saved.ndim == own.ndim:
                setattr(self, name, own.new_empty(saved.shape))
        super()._load_from_state_dict(state_dict, prefix, *args)
