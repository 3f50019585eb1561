"""The supervised loss: soft Dice and cross-entropy on logits.

The values are those of nnU-Net's ``DC_and_CE_loss`` and ``DC_and_BCE_loss`` as its trainer builds them (Isensee et al.
2021, "nnU-Net: a self-configuring method for deep learning-based biomedical image segmentation"); a contract test
compares them. In addition it offers class weights (:mod:`.class_weights`) and always computes in float32, whatever the
precision of the logits. No branch depends on the data, so that ``torch.compile`` makes one graph.

Shapes: N blocks or crops, K classes (background first) or regions, Z Y X voxels.
"""

from __future__ import annotations

from torch import Tensor, nn

from nnunetv2_cfseg.losses.class_weights import ClassWeights
from nnunetv2_cfseg.losses.label_space import CLASSES, LabelSpace
from nnunetv2_cfseg.losses.targets import Target, in_full_precision, read_target

#: As in nnU-Net; a class that is neither in the target nor predicted gets a Dice of 1.
SMOOTH = 1e-5


class SegmentationLoss(nn.Module):
    """Minus the mean soft Dice of the foreground plus the cross-entropy.

    Args:
        labels: what the channels are; ignored voxels carry no gradient.
        batch_dice: one Dice for each class over all N, instead of one for each of the N.
        class_weights: for the cross-entropy, from :func:`~.class_weights.make_class_weights`; ``None`` for equal
            weights.
    """

    def __init__(
        self, labels: LabelSpace = CLASSES, *, batch_dice: bool = False, class_weights: ClassWeights | None = None
    ) -> None:
        super().__init__()
        self.labels = labels
        self.batch_dice = batch_dice
        self.class_weights = class_weights

    def forward(self, logits: Tensor, target: Tensor | Target) -> Tensor:
        """The loss, a scalar of at least -1.

        Args:
            logits: (N, K, Z, Y, X).
            target: of the same voxels, as :func:`~.targets.read_target` takes or returns it.

        Raises:
            ValueError: the shapes do not fit.
        """
        logits = in_full_precision(logits)
        if isinstance(target, Tensor):
            target = read_target(target, logits.shape, self.labels)
        dice = soft_dice_loss(logits, target, batch_dice=self.batch_dice)
        cross_entropy = cross_entropy_loss(logits, target, class_weights=self.class_weights)
        if self.labels.regions and self.labels.ignore_label is not None:
            # nnU-Net takes the mean over regions, but with an ignore label the sum.
            cross_entropy = cross_entropy * logits.shape[1]
        return dice + cross_entropy


def soft_dice_loss(logits: Tensor, target: Target, *, batch_dice: bool = False) -> Tensor:
    """Minus the mean soft Dice over the foreground classes or the regions.

    Args:
        logits: (N, K, Z, Y, X) in full precision.
        target: of the same voxels.
        batch_dice: one Dice for each class over all N, instead of one for each of the N.

    Returns:
        A scalar in [-1, 0].
    """
    labels = target.labels
    predicted = labels.foreground(labels.probabilities(logits))
    wanted = labels.foreground(target.probabilities.to(logits.dtype))
    if target.valid is not None:
        valid = target.valid.to(logits.dtype)
        predicted, wanted = predicted * valid, wanted * valid
    axes = (0, 2, 3, 4) if batch_dice else (2, 3, 4)
    intersection = (predicted * wanted).sum(axes)
    dice = (2 * intersection + SMOOTH) / (predicted.sum(axes) + wanted.sum(axes) + SMOOTH)
    return -dice.mean()


def cross_entropy_loss(logits: Tensor, target: Target, *, class_weights: ClassWeights | None = None) -> Tensor:
    """Cross-entropy of classes, or mean binary cross-entropy of regions, over the valid voxels.

    Args:
        logits: (N, K, Z, Y, X) in full precision.
        target: of the same voxels.
        class_weights: ``None`` for equal weights.

    Returns:
        A scalar, 0 if no voxel is valid.
    """
    log_p = target.labels.log_probabilities(logits)  # (N, 1, K, Z, Y, X) or (N, R, 2, Z, Y, X)
    wanted = target.labels.one_hot_groups(target.probabilities).to(logits.dtype)
    losses, weights = (-log_p, log_p.new_ones(())) if class_weights is None else class_weights(log_p)
    losses, weights = (wanted * losses).sum(2), (wanted * weights).sum(2)
    if target.valid is not None:
        valid = target.valid.to(logits.dtype)
        losses, weights = losses * valid, weights * valid
    return losses.sum() / weights.sum().clamp_min(1e-8)
