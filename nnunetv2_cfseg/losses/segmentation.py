"""The supervised loss: soft Dice and cross-entropy on logits.

The values are those of nnU-Net's ``DC_and_CE_loss`` and ``DC_and_BCE_loss`` as its trainer builds them (Isensee et al.
2021, "nnU-Net: a self-configuring method for deep learning-based biomedical image segmentation"), a contract test
says so. What nnU-Net's do not offer is a choice of class weights (:mod:`.class_weights`) and float32 arithmetic
however the logits come; there is no branch on data, so that ``torch.compile`` makes one graph.

Shapes: N blocks or crops, K classes (background first) or regions, Z Y X voxels.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from nnunetv2_cfseg.losses.class_weights import Balance
from nnunetv2_cfseg.losses.targets import Target, in_full_precision, log_probabilities, one_hot_groups, read_target

#: nnU-Net's; a class that is neither there nor predicted has a Dice of 1.
SMOOTH = 1e-5


class SegmentationLoss(nn.Module):
    """Minus the mean soft Dice of the foreground plus the cross-entropy.

    Args:
        regions: the channels are regions, which may overlap: sigmoid instead of softmax, no background.
        ignore_label: value of the voxels that nobody annotated; they carry no gradient.
        batch_dice: one Dice a class over all N, instead of one for each of them.
        balance: what :func:`~.class_weights.class_balance` makes, for the cross-entropy; ``None`` for equal weights.
    """

    def __init__(
        self,
        *,
        regions: bool = False,
        ignore_label: int | None = None,
        batch_dice: bool = False,
        balance: Balance | None = None,
    ) -> None:
        super().__init__()
        self.regions = regions
        self.ignore_label = ignore_label
        self.batch_dice = batch_dice
        self.balance = balance

    def forward(self, logits: Tensor, target: Tensor | Target) -> Tensor:
        """The loss, a scalar; at its least -1.

        Args:
            logits: (N, K, Z, Y, X).
            target: labels (N, 1, Z, Y, X), or regions (N, K, Z, Y, X) with the ignored voxels as one more, last
                channel where there is an ignore label; or an annotation of the same voxels, which may be unsure.

        Raises:
            ValueError: the shapes do not fit.
        """
        logits = in_full_precision(logits)
        annotation = target if isinstance(target, Target) else self.read(target, logits.shape)
        dice = soft_dice_loss(logits, annotation, batch_dice=self.batch_dice)
        cross_entropy = cross_entropy_loss(logits, annotation, balance=self.balance)
        if self.regions and self.ignore_label is not None:
            # nnU-Net takes the mean over regions, but with an ignore label the sum.
            cross_entropy = cross_entropy * logits.shape[1]
        return dice + cross_entropy

    def read(self, target: Tensor, shape: Sequence[int]) -> Target:
        """The annotation in a target, for logits of that shape."""
        return read_target(target, shape, regions=self.regions, ignore_label=self.ignore_label)


def soft_dice_loss(logits: Tensor, annotation: Target, *, batch_dice: bool = False) -> Tensor:
    """Minus the mean soft Dice over the foreground classes or the regions.

    Args:
        logits: (N, K, Z, Y, X) in full precision.
        annotation: of the same voxels.
        batch_dice: one Dice a class over all N, instead of one for each of them.

    Returns:
        A scalar in [-1, 0].
    """
    truth = annotation.truth.to(logits.dtype)
    if annotation.regions:
        probabilities = logits.sigmoid()
    else:
        probabilities, truth = logits.softmax(1)[:, 1:], truth[:, 1:]
    if annotation.known is not None:
        known = annotation.known.to(logits.dtype)
        probabilities, truth = probabilities * known, truth * known
    axes = (0, 2, 3, 4) if batch_dice else (2, 3, 4)
    intersection = (probabilities * truth).sum(axes)
    dice = (2 * intersection + SMOOTH) / (probabilities.sum(axes) + truth.sum(axes) + SMOOTH)
    return -dice.mean()


def cross_entropy_loss(logits: Tensor, annotation: Target, *, balance: Balance | None = None) -> Tensor:
    """Cross-entropy of classes, or the mean binary one of regions, over the voxels that count.

    Args:
        logits: (N, K, Z, Y, X) in full precision.
        annotation: of the same voxels.
        balance: class weights; ``None`` for equal ones.

    Returns:
        A scalar, 0 if no voxel counts.
    """
    log_p = log_probabilities(logits, regions=annotation.regions)  # (N, 1, K, Z, Y, X) or (N, R, 2, Z, Y, X)
    truth = one_hot_groups(annotation.truth, regions=annotation.regions).to(logits.dtype)
    losses, shares = (-log_p, log_p.new_ones(())) if balance is None else balance(log_p)
    losses, shares = (truth * losses).sum(2), (truth * shares).sum(2)
    if annotation.known is not None:
        known = annotation.known.to(logits.dtype)
        losses, shares = losses * known, shares * known
    return losses.sum() / shares.sum().clamp_min(1e-8)
