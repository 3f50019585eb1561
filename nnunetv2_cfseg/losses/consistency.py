"""Terms of thin-thick training that need no label: agreement of features, and certainty of thin predictions.

Shapes: N blocks or crops, K classes (background first) or regions, Z Y X voxels, r thin slices in a thick one, E
features, d y x tokens of a thick block; G groups of C classes, see :mod:`.label_space`.
"""

from __future__ import annotations

import math

import torch.nn.functional as F
from torch import Tensor

from nnunetv2_cfseg.losses.label_space import LabelSpace
from nnunetv2_cfseg.losses.slices import slab_mean
from nnunetv2_cfseg.losses.targets import in_full_precision

FEATURE_LOSSES = ("mse", "cosine")
STOP_GRADIENTS = ("thick", "thin", "none")


def feature_loss(
    thin: Tensor, thick: Tensor, *, factor: int, kind: str = "mse", stop_gradient: str = "thick"
) -> Tensor:
    """Distance between a slab's mean thin token and the thick token (the paper's section 3.6, third sentence).

    Args:
        thin: (N, E, r d, y, x).
        thick: (N, E, d, y, x).
        factor: r.
        kind: ``mse``, the mean of squares over tokens and features, or ``cosine``, the mean of 1 - cos.
        stop_gradient: the side that gets no gradient: ``thick``, ``thin`` or ``none``. With ``none``, the features of
            both sides may collapse to a constant.

    Returns:
        A scalar, at least 0.

    Raises:
        ValueError: shapes that do not fit, or an unknown choice.
    """
    _check_choice("feature", kind, FEATURE_LOSSES)
    _check_choice("stop_gradient", stop_gradient, STOP_GRADIENTS)
    thin, thick = in_full_precision(thin), in_full_precision(thick)
    slabs = slab_mean(thin, factor)
    if slabs.shape != thick.shape:
        raise ValueError(
            f"thin features must be the thick ones' {tuple(thick.shape)} with {factor} times the tokens along z, "
            f"got {tuple(thin.shape)}"
        )
    if stop_gradient == "thick":
        thick = thick.detach()
    elif stop_gradient == "thin":
        slabs = slabs.detach()
    if kind == "mse":
        return F.mse_loss(slabs, thick)
    return (1 - F.cosine_similarity(slabs, thick, dim=1)).mean()


def thin_entropy(logits: Tensor, labels: LabelSpace, *, valid: Tensor | None = None) -> Tensor:
    """Mean entropy of a prediction; a voxel has 1 if all classes are equally likely and 0 if it is certain.

    Slices with probabilities near one half can give a slab the right fraction; this term asks for certain slices
    (Grandvalet and Bengio 2004, "Semi-supervised learning by entropy minimization").

    Args:
        logits: (N, K, Z, Y, X), of thin slices.
        labels: what the K channels are.
        valid: voxels that count, (N, 1, Z, Y, X) bool; all by default.

    Returns:
        A scalar in [0, 1], 0 if no voxel counts.
    """
    log_p = labels.log_probabilities(in_full_precision(logits))  # (N, G, C, Z, Y, X)
    entropy = -(log_p.exp() * log_p).sum(2).mean(1, keepdim=True) / math.log(log_p.shape[2])
    if valid is None:
        return entropy.mean()
    return (entropy * valid).sum() / valid.sum().clamp_min(1)


def _check_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(choices)}, got {value!r}")
