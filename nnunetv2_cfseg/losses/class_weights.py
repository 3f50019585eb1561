r"""Class weights of the cross-entropy, for datasets with rare classes.

``inverse_frequency``: the weight of a class is inversely proportional to its voxels, up to a limit.

``dynamic``: Fernando and Tsokos 2022, "Dynamically Weighted Balanced Loss: Class Imbalanced Learning and Confidence
Calibration of Deep Neural Networks", IEEE TNNLS 33(7), 2940-2951, doi 10.1109/TNNLS.2020.3047335 (reference 11 of the
method's paper): with p the probability of the true class j and :math:`w_j = \log(\max_i n_i / n_j) + 1`, a voxel's
loss is :math:`-w_j^{1 - p} \log p - p (1 - p)`. A voxel of a rare class has its weight only as long as its prediction
is bad. The second term, for calibration, uses only the true class: with two classes the sum over both would be smallest
at p = 0.81, and certain predictions would be penalised.

Counts are voxels of each class in the training cases: (K,) for classes, background first; for regions (R, 2), voxels
outside and inside each of them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from nnunetv2_cfseg.losses.label_space import CLASSES, LabelSpace

Counts = Sequence[int] | Sequence[Sequence[int]] | Tensor

#: Names that plans may give as ``balance``.
BALANCES = ("none", "inverse_frequency", "dynamic")


class ClassWeights(nn.Module):
    """Turns log-probabilities into losses; :func:`make_class_weights` builds one from its name.

    Args:
        weights: (K,) of the classes, or (R, 2) for the outside and the inside of each region.
    """

    weights: Tensor

    def __init__(self, weights: Tensor) -> None:
        super().__init__()
        self.register_buffer("weights", weights.float().reshape(1, -1, weights.shape[-1], 1, 1, 1), persistent=False)

    def forward(self, log_p: Tensor) -> tuple[Tensor, Tensor]:
        """The loss of a voxel if a class is the true one, for each class, and the voxel's weight in the mean.

        Args:
            log_p: of :meth:`~.label_space.LabelSpace.log_probabilities`, (N, 1, K, Z, Y, X) or (N, R, 2, Z, Y, X).

        Returns:
            Two tensors that broadcast to that shape.

        Raises:
            ValueError: the weights are for another number of classes or regions.
        """
        if log_p.shape[1:3] != self.weights.shape[1:3]:
            raise ValueError(f"class counts must be for {_describe(log_p.shape)}, got {_describe(self.weights.shape)}")
        return self.losses(log_p)

    def losses(self, log_p: Tensor) -> tuple[Tensor, Tensor]:
        """Compute what :meth:`forward` returns; the shape is checked already."""
        raise NotImplementedError


def _describe(shape: Sequence[int]) -> str:
    return f"{shape[1]} regions" if shape[1] > 1 else f"{shape[2]} classes"


class InverseFrequency(ClassWeights):
    """Weighted cross-entropy, with a weighted mean as in ``torch.nn.CrossEntropyLoss``."""

    def losses(self, log_p: Tensor) -> tuple[Tensor, Tensor]:
        """The losses times the weights, and the weights."""
        return -self.weights * log_p, self.weights


class Dynamic(ClassWeights):
    """The dynamically weighted balanced loss.

    Args:
        weights: see :class:`ClassWeights`.
        calibration: weight of the second term; 0 leaves it out.
    """

    def __init__(self, weights: Tensor, *, calibration: float = 1.0) -> None:
        super().__init__(weights)
        self.calibration = calibration

    def losses(self, log_p: Tensor) -> tuple[Tensor, Tensor]:
        """The losses, and the same weight for all voxels."""
        p = log_p.exp()
        return -(self.weights ** (1 - p)) * log_p - self.calibration * p * (1 - p), log_p.new_ones(())


def make_class_weights(
    name: str, counts: Counts | None = None, *, labels: LabelSpace = CLASSES, **parameters: Any
) -> ClassWeights | None:
    """Build the class weights that plans name as ``balance``.

    Args:
        name: ``none``, ``inverse_frequency`` or ``dynamic``.
        counts: voxels of each class in the training cases; not needed for ``none``.
        labels: whether these are classes or regions.
        parameters: ``max_ratio`` of :func:`inverse_frequency_weights`; ``calibration`` of :class:`Dynamic`.

    Returns:
        ``None`` for equal weights.

    Raises:
        ValueError: an unknown name or parameter, a value out of range, no counts, or counts of another shape.
    """
    if name not in BALANCES:
        raise ValueError(f"balance must be one of {', '.join(BALANCES)}, got {name!r}")
    known = {"none": set(), "inverse_frequency": {"max_ratio"}, "dynamic": {"calibration"}}[name]
    if unknown := parameters.keys() - known:
        raise ValueError(f"balance {name} takes {sorted(known) or 'no parameters'}, got {', '.join(sorted(unknown))}")
    if name == "none":
        return None
    if counts is None:
        raise ValueError(f"balance {name} needs the voxels of each class in the training cases, got none")
    if torch.as_tensor(counts).ndim != 1 + labels.regions:
        shape = "(R, 2), outside and inside of each region" if labels.regions else "(K,), background first"
        raise ValueError(f"class counts must have the shape {shape}, got {tuple(torch.as_tensor(counts).shape)}")
    if name == "inverse_frequency":
        return InverseFrequency(inverse_frequency_weights(counts, **parameters))
    calibration = parameters.get("calibration", 1.0)
    if not 0 <= calibration <= 1:
        raise ValueError(f"calibration must be between 0 and 1, got {calibration}")
    return Dynamic(dynamic_weights(counts), calibration=calibration)


def inverse_frequency_weights(counts: Counts, *, max_ratio: float = 20.0) -> Tensor:
    """Weights inversely proportional to the counts; their mean over the classes that occur is 1.

    Args:
        counts: (K,) or (R, 2); each region has its own row.
        max_ratio: limit of the ratio of the largest weight to the smallest.

    Returns:
        Float64 of the same shape. A class that does not occur has the largest weight of those that do.

    Raises:
        ValueError: counts of another shape, negative or all zero; a ratio below 1.
    """
    if not 1 <= max_ratio < math.inf:
        raise ValueError(f"max_ratio must be at least 1 and finite, got {max_ratio}")
    n, present = _read_counts(counts)
    weights = (n.amax(-1, keepdim=True) / n.where(present, 1)).clamp(max=max_ratio)
    weights = _fill_absent(weights, present)
    mean = (weights * present).sum(-1, keepdim=True) / present.sum(-1, keepdim=True)
    return weights / mean


def dynamic_weights(counts: Counts) -> Tensor:
    """log(max n / n_j) + 1, which is 1 for the most frequent class.

    Args:
        counts: (K,) or (R, 2); each region has its own row.

    Returns:
        Float64 of the same shape. A class that does not occur has the largest weight of those that do.

    Raises:
        ValueError: counts of another shape, negative or all zero.
    """
    n, present = _read_counts(counts)
    weights = (n.amax(-1, keepdim=True) / n.where(present, 1)).log() + 1
    return _fill_absent(weights, present)


def _read_counts(counts: Counts) -> tuple[Tensor, Tensor]:
    """Counts as float64, and which classes occur."""
    n = torch.as_tensor(counts, dtype=torch.float64)
    if n.ndim not in (1, 2) or n.shape[-1] < 2 or (n.ndim == 2 and n.shape[-1] != 2):
        raise ValueError(f"class counts must be (K,), K >= 2, or (R, 2), got the shape {tuple(n.shape)}")
    if not bool(n.isfinite().all()) or bool((n < 0).any()) or bool((n.sum(-1) == 0).any()):
        raise ValueError(f"class counts must be at least 0 and not all 0, got {n.tolist()}")
    return n, n > 0


def _fill_absent(weights: Tensor, present: Tensor) -> Tensor:
    largest = weights.where(present, 0).amax(-1, keepdim=True)
    return weights.where(present, largest)
