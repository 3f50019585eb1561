"""What a target tensor says: which class is true where, and where anybody knows.

Shapes: N blocks or crops, K classes (background first) or regions, Z Y X voxels.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Annotation:
    """A target, read.

    Attributes:
        truth: (N, K, Z, Y, X) bool, class k or region k is there.
        labels: (N, 1, Z, Y, X) int64, 0 where nobody knows; None for regions.
        known: (N, 1, Z, Y, X), how much a voxel counts: 0 where the label is to be ignored; None where all count.
    """

    truth: Tensor
    labels: Tensor | None
    known: Tensor | None


def read_annotation(target: Tensor, logits: Tensor, *, regions: bool, ignore_label: int | None) -> Annotation:
    """Read a target as nnU-Net writes it.

    Args:
        target: labels (N, 1, Z, Y, X), or regions (N, R, Z, Y, X) with the ignored voxels as one more, last channel
            where there is an ignore label.
        logits: (N, K, Z, Y, X), the prediction it is compared with.
        regions: the channels of the target are regions, which may overlap.
        ignore_label: value of the voxels that nobody annotated; with regions it only says that there is a last channel.

    Raises:
        ValueError: the shapes do not fit.
    """
    expected = logits.shape[1] + (ignore_label is not None) if regions else 1
    if target.shape != (logits.shape[0], expected, *logits.shape[2:]):
        raise ValueError(
            f"a target must have the shape {(logits.shape[0], expected, *logits.shape[2:])} for logits of "
            f"{tuple(logits.shape)}, got {tuple(target.shape)}"
        )
    if regions:
        channels = target.bool()
        if ignore_label is None:
            return Annotation(channels, None, None)
        return Annotation(channels[:, :-1], None, ~channels[:, -1:])
    known = None if ignore_label is None else target != ignore_label
    labels = (target if known is None else torch.where(known, target, 0)).long()
    classes = torch.arange(logits.shape[1], device=target.device).view(1, -1, 1, 1, 1)
    return Annotation(labels == classes, labels, known)


def in_full_precision(x: Tensor) -> Tensor:
    """Half precision becomes float32, in which sums over thousands of voxels and logarithms are taken."""
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x
