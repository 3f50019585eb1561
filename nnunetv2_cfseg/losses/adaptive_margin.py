"""A margin on the logits, so that soft targets do not shrink the segmentation."""

from __future__ import annotations

import torch
from torch import Tensor

from nnunetv2_cfseg.losses.state import StepwiseState
from nnunetv2_cfseg.losses.targets import Target


class AdaptiveLogitMargin(StepwiseState):
    """Lets the network be more certain of a class than its soft targets, by as much as the class's volume needs.

    Thresholding soft targets at 0.5 under-segments convex ends: there the probability of lesion stays below one half,
    though it adds up to a volume. A network that cannot see the surface predicts the same probabilities and so loses
    these ends, most of all those of thin lesions. So the loss gets the logits of each class minus a margin where the
    target is soft. The margin follows the volumes: it grows as long as fewer of these voxels are segmented as the class
    than the targets add up to. It is not a weight of the network, but it is in ``state_dict``, so that a training can
    be continued with it.

    Args:
        rate: what a step adds to the margin for each unit of the logarithm of the ratio of the volumes.
        largest: limit of the margin, in either direction.

    Attributes:
        margin: for each class except background, or for each region, (K - 1, 1, 1, 1) or (K, 1, 1, 1); a single 0
            before the first step.
    """

    margin: Tensor
    follows = ("margin",)

    def __init__(self, *, rate: float = 0.05, largest: float = 2.0) -> None:
        super().__init__()
        self.rate, self.largest = rate, largest
        self.register_buffer("margin", torch.zeros(1, 1, 1, 1))

    def forward(self, logits: Tensor, target: Target) -> Tensor:
        """Return the logits that the loss should get, and move the margin.

        Args:
            logits: (N, K, Z, Y, X).
            target: of the same voxels.
        """
        if target.soft is None:
            return logits
        soft = target.soft if target.valid is None else target.soft & target.valid
        with torch.no_grad():
            self._follow(logits, target, soft)
        labels = target.labels
        shifted = labels.foreground(logits) - soft * self.margin
        return shifted if labels.regions else torch.cat([logits[:, :1], shifted], dim=1)

    def _follow(self, logits: Tensor, target: Target, soft: Tensor) -> None:
        """Move the margin by the ratio of the targets' volume to the segmented volume."""
        labels = target.labels
        # The likeliest class; an argmax takes ten times as long.
        segmented = logits > 0 if labels.regions else logits == logits.amax(1, keepdim=True)
        predicted, wanted = (
            (labels.foreground(values) * soft).sum((0, 2, 3, 4)) + 1 for values in (segmented, target.probabilities)
        )
        change = (wanted.log() - predicted.log()).clamp(-1, 1).view(-1, 1, 1, 1)
        self.move("margin", (self.margin + self.rate * change).clamp(-self.largest, self.largest))
