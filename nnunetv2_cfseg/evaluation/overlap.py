"""Overlap of two masks, counted as nnU-Net counts it."""

from __future__ import annotations

from dataclasses import dataclass
from math import nan

import numpy as np


@dataclass(frozen=True)
class Overlap:
    """Voxels of which mask and reference say: both yes, only the prediction, only the truth, both no.

    The values are those of nnU-Net 2.8's ``compute_metrics``: Dice and IoU of a class that neither mask holds are NaN.
    """

    true_positives: int
    false_positives: int
    false_negatives: int
    true_negatives: int

    @property
    def predicted(self) -> int:
        """Voxels of the prediction."""
        return self.true_positives + self.false_positives

    @property
    def reference(self) -> int:
        """Voxels of the truth."""
        return self.true_positives + self.false_negatives

    @property
    def dice(self) -> float:
        """Twice the overlap divided by the sum of both; NaN if both are empty."""
        total = self.predicted + self.reference
        return 2 * self.true_positives / total if total else nan

    @property
    def iou(self) -> float:
        """The overlap divided by the union; NaN if both are empty."""
        union = self.predicted + self.false_negatives
        return self.true_positives / union if union else nan


def count_overlap(truth: np.ndarray, prediction: np.ndarray, *, ignore: np.ndarray | None = None) -> Overlap:
    """Count the voxels of two masks.

    Args:
        truth: (Z, Y, X) bool.
        prediction: (Z, Y, X) bool.
        ignore: (Z, Y, X) bool, voxels that are not counted.

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
