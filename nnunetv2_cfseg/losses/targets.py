"""What a target tensor says: which class is true where, and where anybody knows.

Shapes: N blocks or crops, K classes (background first) or regions, Z Y X voxels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True)
class Target:
    """A target, read.

    Attributes:
        truth: (N, K, Z, Y, X), class k or region k is there: bool, or the probability that it is.
        known: (N, 1, Z, Y, X) bool, somebody said what is there; None where that is so everywhere.
        regions: the K are regions, which may overlap.
        unsure: (N, 1 or K, Z, Y, X) bool, where the truth is a guess; None where it is nowhere.
    """

    truth: Tensor
    known: Tensor | None
    regions: bool
    unsure: Tensor | None = None

    def only(self, where: Tensor) -> Target:
        """Nobody knows what is elsewhere; ``where`` is bool and broadcasts to (N, 1, Z, Y, X)."""
        known = where.expand(self.truth[:, :1].shape) if self.known is None else self.known & where
        return replace(self, known=known)


def read_target(target: Tensor, shape: Sequence[int], *, regions: bool, ignore_label: int | None) -> Target:
    """Read a target as nnU-Net writes it.

    Args:
        target: labels (N, 1, Z, Y, X), or regions (N, R, Z, Y, X) with the ignored voxels as one more, last channel
            where there is an ignore label.
        shape: (N, K, Z, Y, X), of the prediction it is compared with.
        regions: the channels of the target are regions, which may overlap.
        ignore_label: value of the voxels that nobody annotated; with regions it only says that there is a last channel.

    Raises:
        ValueError: the shapes do not fit.
    """
    channels = shape[1] + (ignore_label is not None) if regions else 1
    if target.shape != (shape[0], channels, *shape[2:]):
        raise ValueError(
            f"a target must have the shape {(shape[0], channels, *shape[2:])} for logits of {tuple(shape)}, got "
            f"{tuple(target.shape)}"
        )
    if regions:
        inside = target.bool()
        if ignore_label is None:
            return Target(inside, None, regions)
        return Target(inside[:, :-1], ~inside[:, -1:], regions)
    classes = torch.arange(shape[1], device=target.device).view(1, -1, 1, 1, 1)
    if ignore_label is None:
        return Target(target == classes, None, regions)
    known = target != ignore_label
    return Target(torch.where(known, target, 0) == classes, known, regions)


def one_hot_groups(truth: Tensor, *, regions: bool) -> Tensor:
    """One question for labels, which class; one for each region, outside or inside.

    Args:
        truth: (N, K, Z, Y, X), bool or probabilities.
        regions: the K are regions.

    Returns:
        Of the same kind, (N, 1, K, Z, Y, X), or (N, R, 2, Z, Y, X) with outside first.
    """
    if not regions:
        return truth.unsqueeze(1)
    return torch.stack([~truth if truth.dtype == torch.bool else 1 - truth, truth], dim=2)


def log_probabilities(logits: Tensor, *, regions: bool) -> Tensor:
    """Log-probabilities of the answers to :func:`one_hot_groups`, of the same shape, from logits (N, K, Z, Y, X)."""
    if not regions:
        return logits.log_softmax(1).unsqueeze(1)
    return torch.stack([F.logsigmoid(-logits), F.logsigmoid(logits)], dim=2)


def in_full_precision(x: Tensor) -> Tensor:
    """Half precision becomes float32, in which sums over thousands of voxels and logarithms are taken."""
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x
