"""Terms of thin-thick training that need no label: features that agree, and thin predictions that are sure.

Shapes: N blocks or crops, K classes (background first) or regions, D thick slices, r D thin ones, Y X rows and
columns, E features, d y x tokens of a thick view.
"""

from __future__ import annotations

import math

import torch.nn.functional as F
from torch import Tensor

from nnunetv2_cfseg.losses.slices import repeat_slices, slab_mean
from nnunetv2_cfseg.losses.targets import in_full_precision, read_target

FEATURE_LOSSES = ("mse", "cosine")
STOP_GRADIENTS = ("thick", "thin", "none")


def feature_loss(
    thin: Tensor, thick: Tensor, *, factor: int, kind: str = "mse", stop_gradient: str = "thick"
) -> Tensor:
    """Distance of the slab's mean thin token from the thick token (the paper's section 3.6, third sentence).

    Args:
        thin: (N, E, r d, y, x).
        thick: (N, E, d, y, x).
        factor: r.
        kind: ``mse``, the mean of squares over tokens and features, or ``cosine``, the mean of 1 - cos.
        stop_gradient: the side that is taken as given, ``thick``, ``thin`` or ``none``. With ``none`` the two sides
            may agree on saying nothing.

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


def thin_entropy(
    thin_logits: Tensor,
    thick_target: Tensor,
    *,
    factor: int,
    regions: bool,
    ignore_label: int | None,
    seen: Tensor | None = None,
) -> Tensor:
    """Mean entropy of the thin prediction, 1 where it says nothing and 0 where it is certain.

    A slab's fraction may be reached by half-sure slices; this asks for sure ones (Grandvalet and Bengio 2004,
    "Semi-supervised learning by entropy minimization").

    Args:
        thin_logits: (N, K, r D, Y, X).
        thick_target: labels (N, 1, D, Y, X) or regions; ignored voxels are left out.
        factor: r.
        regions: the channels are regions.
        ignore_label: see :func:`~.targets.read_target`.
        seen: slices that count, bool, broadcasts to (N, 1, r D, Y, X); all by default.

    Returns:
        A scalar in [0, 1], 0 if no voxel counts.

    Raises:
        ValueError: the shapes do not fit.
    """
    logits = in_full_precision(thin_logits)
    target = repeat_slices(thick_target, factor)
    annotation = read_target(target, logits.shape, regions=regions, ignore_label=ignore_label)
    known = annotation.known if seen is None else annotation.only(seen).known
    if regions:
        inside, outside = F.logsigmoid(logits), F.logsigmoid(-logits)
        entropy = -(inside.exp() * inside + outside.exp() * outside).mean(1, keepdim=True) / math.log(2)
    else:
        log_p = logits.log_softmax(1)
        entropy = -(log_p.exp() * log_p).sum(1, keepdim=True) / math.log(logits.shape[1])
    if known is None:
        return entropy.mean()
    return (entropy * known).sum() / known.sum().clamp_min(1)


def _check_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(choices)}, got {value!r}")
