r"""From thin predictions to what is compared with a thick label: operators on slabs.

A thick slice averages the ``factor`` r thin slices of its slab. For one voxel of it with label y let :math:`p_s` be
the thin probabilities of the class and f their mean.

``mean`` (the paper's, section 3.6) takes f for the probability of y. Its cross-entropy, :math:`-\log f` for y = 1 and
:math:`-\log(1 - f)` for y = 0, is strictly monotone in every :math:`p_s` and 0 at :math:`p_s = y` for all s only: the
label copied onto every thin slice is its only minimiser. The thin truth, of which three slices in five are lesion,
pays :math:`-\log 0.6 = 0.51`.

``annotator`` asks what was marked: an annotator marks a voxel when enough of its slab is lesion,
:math:`P(y = 1 | f) = \sigma((f - \tau) / T)`. Its cross-entropy is :math:`\log(1 + e^{-(f - \tau) / T})` for y = 1: at
most :math:`e^{-|f - \tau| / T}` for every thin map that lies on the label's side of :math:`\tau`, so that for small T
the copy gains nothing over the truth: at f = 0.6 and :math:`\tau` = 0.5 it gains 0.31 with T = 0.1, 0.007 with
T = 0.02. Which of these maps it is to be, the image has to tell, through weights shared with the thick prediction.

``copy`` repeats the label: the baseline. ``transition`` (:mod:`.linear_ramp`) repeats it where it does not change, and
``count`` (:mod:`.poisson_binomial`) asks what an annotator marked as ``annotator`` does, but exactly.

All return logits, not probabilities: the loss of :mod:`.segmentation` applies to them as it stands, and nothing
overflows or becomes -inf where a probability is 0 or 1.

Shapes: N blocks or crops, K classes (background first) or regions, D thick slices, r D thin ones, Y X rows and columns.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nnunetv2_cfseg.losses.slices import repeat_slices, slab_mean, split_slabs
from nnunetv2_cfseg.losses.targets import Target, in_full_precision


class SlabOperator(nn.Module):
    """Makes a thin prediction and a thick label comparable; :func:`~.operators.slab_operator` makes one by its name.

    Args:
        factor: r.
        regions: the channels are regions, which may overlap: sigmoid instead of softmax.
        ignore_label: see :func:`~.targets.read_target`.

    Attributes:
        reads_neighbours: the target is to have the slab before and the one after as well.

    Raises:
        ValueError: the factor is below 1.
    """

    reads_neighbours = False

    def __init__(self, *, factor: int, regions: bool = False, ignore_label: int | None = None) -> None:
        super().__init__()
        if factor < 1:
            raise ValueError(f"factor must be >= 1, got {factor}")
        self.factor = factor
        self.regions = regions
        self.ignore_label = ignore_label

    def forward(
        self, thin_logits: Tensor, thick_target: Tensor, *, progress: float = 1.0, seen: Tensor | None = None
    ) -> tuple[Tensor, Tensor | Target]:
        """Logits, and the target that they are to be compared with, on one grid.

        Args:
            thin_logits: (N, K, r D, Y, X).
            thick_target: labels (N, 1, D, Y, X) or regions (N, R or R + 1, D, Y, X).
            progress: share of the training that is done, in [0, 1].
            seen: slices that the network was asked for, (N, 1, r D, 1, 1) bool, all by default; the logits of the
                others mean nothing, and what is returned there, or for their slab, must not be used.

        Raises:
            ValueError: the last slab is incomplete.
        """
        raise NotImplementedError


class SlabMean(SlabOperator):
    """The mean probability of a slab."""

    def forward(
        self, thin_logits: Tensor, thick_target: Tensor, *, progress: float = 1.0, seen: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Logits (N, K, D, Y, X) whose softmax, or sigmoid, is the mean of the thin ones."""
        slabs = split_slabs(in_full_precision(thin_logits), self.factor)
        if self.regions:
            return F.logsigmoid(slabs).logsumexp(3) - F.logsigmoid(-slabs).logsumexp(3), thick_target
        return slabs.log_softmax(1).logsumexp(3), thick_target


class SlabAnnotator(SlabOperator):
    """What an annotator of thick slices would mark.

    Args:
        factor: r.
        regions: see :class:`SlabOperator`.
        ignore_label: see :class:`SlabOperator`.
        tau: share of the slab from which on a class is marked, in (0, 1]; one for all, or one for each foreground
            class or region.
        temperature: T, above 0; how far from tau annotators waver.

    Raises:
        ValueError: any of these out of range.
    """

    tau: Tensor

    def __init__(
        self,
        *,
        factor: int,
        regions: bool = False,
        ignore_label: int | None = None,
        tau: float | Sequence[float] = 0.5,
        temperature: float = 0.05,
    ) -> None:
        super().__init__(factor=factor, regions=regions, ignore_label=ignore_label)
        shares = torch.tensor(tau, dtype=torch.float32).reshape(1, -1, 1, 1, 1)
        if not shares.numel() or not bool(((shares > 0) & (shares <= 1)).all()):
            raise ValueError(f"tau must be above 0 and at most 1, got {tau}")
        if not 0 < temperature < float("inf"):
            raise ValueError(f"temperature must be above 0 and finite, got {temperature}")
        self.register_buffer("tau", shares, persistent=False)
        self.temperature = temperature

    def forward(
        self, thin_logits: Tensor, thick_target: Tensor, *, progress: float = 1.0, seen: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Logits (N, K, D, Y, X) of :func:`annotator_logits`."""
        logits = in_full_precision(thin_logits)
        fractions = slab_mean(logits.sigmoid() if self.regions else logits.softmax(1), self.factor)
        marked = annotator_logits(fractions, tau=self.tau, temperature=self.temperature, regions=self.regions)
        return marked, thick_target


class SlabCopy(SlabOperator):
    """The thick label repeated on every thin slice."""

    def forward(
        self, thin_logits: Tensor, thick_target: Tensor, *, progress: float = 1.0, seen: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """The thin logits as they are, and a thin target (N, 1 or R, r D, Y, X)."""
        split_slabs(thin_logits, self.factor)
        return thin_logits, repeat_slices(thick_target, self.factor)


def annotator_logits(fractions: Tensor, *, tau: Tensor | float, temperature: float, regions: bool) -> Tensor:
    r"""Logits of what an annotator marks, from the fractions of a slab.

    A region is marked with probability :math:`\sigma((f - \tau) / T)`. Of labels one is marked at most: any foreground
    with :math:`\sigma((F - \tau) / T)`, F the foreground's whole fraction, and then the class that fills most of the
    slab, softmax(:math:`f_k / T`). With one foreground class that is the formula for regions; with several no
    background voxel is marked more often because there are more classes; and as T falls to 0 it becomes
    :func:`nnunetv2_cfseg.imaging.slabs.annotate_slabs`. Each class's probability rises with its own fraction.

    Args:
        fractions: (N, K, D, Y, X), of labels they add up to 1 along K.
        tau: a number, or a tensor that broadcasts to the foreground classes or regions, (1, K - 1 or R, 1, 1, 1). A
            class with a lower one is marked earlier.
        temperature: T, above 0.
        regions: the channels are regions.

    Returns:
        (N, K, D, Y, X).

    Raises:
        ValueError: as many tau as there are neither foreground classes nor regions.
    """
    classes = fractions.shape[1] - (not regions)
    if isinstance(tau, Tensor) and tau.numel() not in (1, classes):
        raise ValueError(f"tau must be one number or {classes}, one a foreground class or region, got {tau.numel()}")
    if regions:
        return (fractions - tau) / temperature
    background, foreground = fractions[:, :1], fractions[:, 1:]
    anything = (foreground.sum(1, keepdim=True) - tau) / temperature  # (N, 1 or K - 1, D, Y, X)
    kind = (foreground / temperature).log_softmax(1)
    return torch.cat([torch.zeros_like(background), anything + kind], dim=1)
