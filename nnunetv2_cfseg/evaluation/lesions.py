"""Lesion detection: components of masks, matched by how much of each the other mask covers."""

from __future__ import annotations

from dataclasses import dataclass
from math import isnan, nan

import cc3d
import numpy as np


@dataclass(frozen=True)
class LesionMatch:
    """Counts of lesions.

    Attributes:
        predicted: components of the prediction.
        confirmed: predicted components that the truth covers enough.
        reference: components of the truth.
        found: true components that the prediction covers enough.
    """

    predicted: int
    confirmed: int
    reference: int
    found: int

    @property
    def precision(self) -> float:
        """Fraction of the predicted lesions that are confirmed; NaN if there are none."""
        return self.confirmed / self.predicted if self.predicted else nan

    @property
    def recall(self) -> float:
        """Fraction of the true lesions that are found; NaN if there are none."""
        return self.found / self.reference if self.reference else nan

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall; 0 if only one mask has lesions, NaN if neither has."""
        precision, recall = self.precision, self.recall
        if isnan(precision) and isnan(recall):
            return nan
        if not self.confirmed or not self.found:
            return 0.0
        return 2 * precision * recall / (precision + recall)


def match_lesions(truth: np.ndarray, prediction: np.ndarray, *, overlap: float) -> LesionMatch:
    """Count true and predicted lesions, and how many of them are found and confirmed.

    A lesion is a component of voxels that touch by a face, an edge or a corner. A true lesion is found if at least the
    fraction ``overlap`` of its voxels is predicted; a predicted lesion is confirmed if at least that fraction of its
    voxels is in the truth. Lesions are not paired one to one: merging two lesions, or splitting one, costs nothing.

    The detection threshold on the covered share, 10 % by default, and the F1 of both directions are those of Commowick
    et al. 2018 (Sci Rep 8:13650). We leave out their second condition, that the components which cover a lesion must
    not lie outside it by more than 70 %, and their smallest lesion volume; Dice and surface
    distances measure poor overlap.

    Args:
        truth: (Z, Y, X) bool.
        prediction: (Z, Y, X) bool.
        overlap: fraction of a lesion's voxels, in (0, 1].
    """
    predicted, confirmed = _components(prediction, truth, overlap)
    reference, found = _components(truth, prediction, overlap)
    return LesionMatch(predicted, confirmed, reference, found)


def _components(mask: np.ndarray, other: np.ndarray, overlap: float) -> tuple[int, int]:
    """The number of components of a mask, and of those that the other mask covers by ``overlap`` or more."""
    # As bytes: for bool, cc3d 4.1.1 allocates room for half of the voxels and fails on a single row such as # . #.
    # Contiguous: of a part of a larger array that is one voxel wide, it reads other voxels than its own.
    labels, count = cc3d.connected_components(np.ascontiguousarray(mask).view(np.uint8), connectivity=26, return_N=True)
    sizes = np.bincount(labels[mask], minlength=count + 1)[1:]
    covered = np.bincount(labels[mask & other], minlength=count + 1)[1:]
    # Compare the quotient: 7 / 100 is 0.07, but 0.07 * 100 is more than 7.
    return count, int(np.count_nonzero(covered / sizes >= overlap))
