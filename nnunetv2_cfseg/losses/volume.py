"""Predictions that hold as much lesion as the labels say there is."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from nnunetv2_cfseg.losses.annotation import Annotation


class VolumeMatch(nn.Module):
    """Lets a network be as much surer of lesion than its targets are as its segmentation needs for their volume.

    Where targets say how likely lesion is, a network that does not see the surface says the same, and what is likelier
    than one half is less than there is: ends of lesions that bulge are lost. So the loss looks at the network's logits
    of lesion less a margin, one for all voxels whose target is a guess. The margin follows the volumes: as long as
    fewer of these voxels are segmented as lesion than the targets add up to, it grows. It is no weight of the network
    and in no checkpoint: a training that is continued begins without it and has it again after some tens of steps.

    Args:
        rate: of the margin, for each step and unit of the logarithm of the volumes' ratio.
        most: largest margin, in either direction.
    """

    margin: Tensor

    def __init__(self, *, rate: float = 0.05, most: float = 2.0) -> None:
        super().__init__()
        self.rate, self.most = rate, most
        self.register_buffer("margin", torch.zeros(()), persistent=False)

    def forward(self, logits: Tensor, annotation: Annotation) -> Tensor:
        """The logits that the loss is to see; moves the margin.

        Args:
            logits: (N, K, Z, Y, X).
            annotation: of these voxels.
        """
        if annotation.unsure is None:
            return logits
        unsure = annotation.unsure if annotation.known is None else annotation.unsure & annotation.known
        with torch.no_grad():
            if annotation.regions:
                found, wanted = (logits > 0), annotation.truth
            else:
                found = logits[:, 1:].amax(1, keepdim=True) > logits[:, :1]  # an argmax takes ten times as long
                wanted = 1 - annotation.truth[:, :1]
            found, wanted = (((x * unsure).sum() + 1) for x in (found, wanted))
            self.margin += self.rate * (wanted.log() - found.log()).clamp(-1, 1)
            self.margin.clamp_(-self.most, self.most)
        shift = unsure * self.margin
        if annotation.regions:
            return logits - shift
        return torch.cat([logits[:, :1], logits[:, 1:] - shift], dim=1)
