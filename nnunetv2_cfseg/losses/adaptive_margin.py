"""Predictions that hold as much of each class as the labels say there is."""

from __future__ import annotations

import torch
from torch import Tensor

from nnunetv2_cfseg.losses.state import StepwiseState
from nnunetv2_cfseg.losses.targets import Target


class AdaptiveLogitMargin(StepwiseState):
    """Lets a network be as much surer of a class than its targets are as its segmentation needs for their volume.

    Where targets say how likely lesion is, a network that does not see the surface says the same, and what is likelier
    than one half is less than there is: ends of lesions that bulge are lost, and of thin ones most. So the loss looks
    at the network's logits of each class less a margin, where the target is a guess. The margin follows the volumes: as
    long as fewer of these voxels are segmented as the class than the targets add up to, it grows. It is no weight of
    the network, but part of ``state_dict``, so that a training can be continued with it.

    Args:
        rate: of the margin, for each step and unit of the logarithm of the volumes' ratio.
        most: largest margin, in either direction.

    Attributes:
        margin: of each class but background, or of each region, (K - 1, 1, 1, 1) or (K, 1, 1, 1); one 0 before the
            first step.
    """

    margin: Tensor
    follows = ("margin",)

    def __init__(self, *, rate: float = 0.05, most: float = 2.0) -> None:
        super().__init__()
        self.rate, self.most = rate, most
        self.register_buffer("margin", torch.zeros(1, 1, 1, 1))

    def forward(self, logits: Tensor, annotation: Target) -> Tensor:
        """The logits that the loss is to see; moves the margin.

        Args:
            logits: (N, K, Z, Y, X).
            annotation: of these voxels.
        """
        if annotation.unsure is None:
            return logits
        unsure = annotation.unsure if annotation.known is None else annotation.unsure & annotation.known
        first = 0 if annotation.regions else 1
        with torch.no_grad():
            # The likeliest class; an argmax takes ten times as long.
            found = logits > 0 if annotation.regions else logits == logits.amax(1, keepdim=True)
            found, wanted = ((values[:, first:] * unsure).sum((0, 2, 3, 4)) + 1 for values in (found, annotation.truth))
            change = (wanted.log() - found.log()).clamp(-1, 1).view(-1, 1, 1, 1)
            self.move("margin", (self.margin + self.rate * change).clamp(-self.most, self.most))
        shifted = logits[:, first:] - unsure * self.margin
        return shifted if annotation.regions else torch.cat([logits[:, :1], shifted], dim=1)
