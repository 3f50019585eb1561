"""Voxel counts of two masks, with Dice and IoU, as in nnU-Net."""

from __future__ import annotations

from dataclasses import dataclass
from math import nan

import numpy as np


@dataclass(frozen=True)
class Overlap:
    """Voxels in both masks, only in the prediction, only in the truth, and in neither.

    Values agree with ``compute_metrics`` of nnU-Net 2.8: Dice and IoU are NaN if both masks are empty.
    """

    true_positives: int
    false_positives: int
    false_negatives: int
    true_negatives: int

    @property
    def predicted(self) -> int:
        """Number of voxels in the prediction."""
        return self.true_positives + self.false_positives

    @property
    def reference(self) -> int:
        """Number of voxels in the truth."""
        return self.true_positives + self.false_negatives

    @property
    def dice(self) -> float:
        """Twice the overlap divided by the sum of both masks; NaN if both are empty."""
        total = self.predicted + self.reference
        return 2 * self.true_positives / total if total else nan

    @property
    def iou(self) -> float:
        """The overlap divided by the union; NaN if both masks are empty."""
        union = self.predicted + self.false_negatives
        return self.true_positives / union if union else nan


def count_overlap(truth: np.ndarray, prediction: np.ndarray, *, ignore: np.ndarray | None = None) -> Overlap:
    """Count the voxels in both masks, in one of them, and in neither.

    Args:
        truth: (Z, Y, X) bool.
        prediction: (Z, Y, X) bool.
        ignore: (Z, Y, X) bool, voxels not to count.

    Source: nnunetv2/evaluation/evaluate_predictions.py of nnU-Net 2.8, ``compute_tp_fp_fn_tn``.
    """
    scored = truth.size
    if ignore is not None:
        keep = ~ignore
        truth, prediction, scored = truth & keep, prediction & keep, _count(keep)
    both = _count(truth & prediction)
    predicted, reference = _count(prediction), _count(truth)
    return Overlap(both, predicted - both, reference - both, scored - predicted - reference + both)


def _count(mask: np.ndarray) -> int:
    return int(np.count_nonzero(mask))
