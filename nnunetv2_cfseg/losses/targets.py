"""What a prediction is compared with: the true class of each voxel, where it is known, and where it is only a guess.

Shapes: N blocks or crops, K classes (background first) or regions, Z Y X voxels.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import KW_ONLY, dataclass, replace

import torch
from torch import Tensor

from nnunetv2_cfseg.losses.label_space import LabelSpace
from nnunetv2_cfseg.losses.slices import repeat_slices


@dataclass(frozen=True)
class Target:
    """What is true at each voxel, on the grid of the prediction that it is compared with.

    Attributes:
        probabilities: (N, K, Z, Y, X) of each class or region; bool if nothing is soft.
        labels: what the K channels are.
        valid: (N, 1, Z, Y, X) bool, voxels that were annotated; None if all were.
        soft: (N, 1 or K, Z, Y, X) bool, voxels whose probabilities are a guess; None if none are.
    """

    probabilities: Tensor
    labels: LabelSpace
    _: KW_ONLY
    valid: Tensor | None = None
    soft: Tensor | None = None

    def only(self, where: Tensor) -> Target:
        """The same target, valid only where ``where`` is true, too; it is bool and broadcasts to (N, 1, Z, Y, X)."""
        valid = where.expand(self.probabilities[:, :1].shape) if self.valid is None else self.valid & where
        return replace(self, valid=valid)

    def repeat(self, factor: int) -> Target:
        """The thin target, (N, K, r Z, Y, X), that repeats each slice r times."""
        return self._along_z(lambda x: repeat_slices(x, factor))

    def without_neighbours(self) -> Target:
        """The target without its first and its last slice."""
        return self._along_z(lambda x: x[:, :, 1:-1])

    def _along_z(self, change: Callable[[Tensor], Tensor]) -> Target:
        valid, soft = (None if mask is None else change(mask) for mask in (self.valid, self.soft))
        return replace(self, probabilities=change(self.probabilities), valid=valid, soft=soft)


def read_target(target: Tensor, shape: Sequence[int], labels: LabelSpace) -> Target:
    """Read a target as nnU-Net writes it.

    Args:
        target: labels (N, 1, Z, Y, X), or regions (N, R, Z, Y, X); regions have the ignored voxels as one more channel
            at the end if there is an ignore label.
        shape: (N, K, Z, Y, X), of the prediction that it is compared with.
        labels: what its channels and values are.

    Raises:
        ValueError: the shapes do not fit.
    """
    ignore_label = labels.ignore_label
    channels = shape[1] + (ignore_label is not None) if labels.regions else 1
    if target.shape != (shape[0], channels, *shape[2:]):
        raise ValueError(
            f"a target must have the shape {(shape[0], channels, *shape[2:])} for logits of {tuple(shape)}, got "
            f"{tuple(target.shape)}"
        )
    if labels.regions:
        inside = target.bool()
        return Target(inside, labels) if ignore_label is None else Target(inside[:, :-1], labels, valid=~inside[:, -1:])
    classes = torch.arange(shape[1], device=target.device).view(1, -1, 1, 1, 1)
    if ignore_label is None:
        return Target(target == classes, labels)
    valid = target != ignore_label
    return Target(torch.where(valid, target, 0) == classes, labels, valid=valid)


def in_full_precision(x: Tensor) -> Tensor:
    """Convert half precision to float32, for logarithms and sums over thousands of voxels; others are unchanged."""
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x
