"""What the channels of a prediction mean: classes, of which a voxel has one, or regions, which may overlap.

Shapes: N blocks or crops, K classes (background first) or regions, Z Y X voxels. A group is a set of classes of which a
voxel has exactly one: all K classes are one group, and each of R regions is a group of two, outside and inside.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True)
class LabelSpace:
    """How to interpret logits and targets; the number of classes is the number of the logits' channels.

    Attributes:
        regions: the channels are regions, which may overlap, so that each has its own sigmoid. Otherwise they are
            classes, background first, which share a softmax.
        ignore_label: value of the voxels that nobody annotated, None if there are none. With regions it only means that
            targets have one more channel, the last one, which is true at these voxels.
    """

    regions: bool = False
    ignore_label: int | None = None

    def probabilities(self, logits: Tensor) -> Tensor:
        """Probability of each class or region, of the shape of the logits, (N, K, Z, Y, X)."""
        return logits.sigmoid() if self.regions else logits.softmax(1)

    def foreground(self, x: Tensor) -> Tensor:
        """The channels of (N, K, Z, Y, X) without background: all regions, or the last K - 1 classes."""
        return x if self.regions else x[:, 1:]

    def one_hot_groups(self, probabilities: Tensor) -> Tensor:
        """Split channels into groups.

        Args:
            probabilities: (N, K, Z, Y, X), or bool.

        Returns:
            Of the same type, (N, 1, K, Z, Y, X), or (N, R, 2, Z, Y, X) with outside first.
        """
        if not self.regions:
            return probabilities.unsqueeze(1)
        outside = ~probabilities if probabilities.dtype == torch.bool else 1 - probabilities
        return torch.stack([outside, probabilities], dim=2)

    def log_probabilities(self, logits: Tensor) -> Tensor:
        """Logarithm of the probabilities of logits (N, K, Z, Y, X), in groups as :meth:`one_hot_groups` makes them."""
        if not self.regions:
            return logits.log_softmax(1).unsqueeze(1)
        return torch.stack([F.logsigmoid(-logits), F.logsigmoid(logits)], dim=2)


#: Each voxel has exactly one class, and all voxels were annotated.
CLASSES = LabelSpace()
