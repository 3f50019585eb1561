r"""Operators on slabs, which compare a thin prediction with a thick label.

A thick slice is the average of the ``factor`` r thin slices of its slab. For one voxel of it with label y let
:math:`p_s` be the thin probabilities of the class and f their mean.

``mean`` (the paper's, section 3.6) takes f as the probability of y. Its cross-entropy is :math:`-\log f` for y = 1 and
:math:`-\log(1 - f)` for y = 0. It falls with every :math:`p_s` that gets closer to y, and is 0 only if all of them
equal y: it is minimised only by copying the label to every thin slice. If three slices of five are really lesion, the
true labels cost :math:`-\log 0.6 = 0.51`.

``annotator`` models the annotator, who marks a voxel when enough of its slab is lesion:
:math:`P(y = 1 | f) = \sigma((f - \tau) / T)`. Its cross-entropy for y = 1 is :math:`\log(1 + e^{-(f - \tau) / T})`, at
most :math:`e^{-|f - \tau| / T}` for every thin prediction on the label's side of :math:`\tau`. So for a small T the
copy costs hardly less than the true labels: at f = 0.6 and :math:`\tau` = 0.5 it is 0.31 less with T = 0.1, and 0.007
less with T = 0.02. The network has to learn from the image which of these predictions is right, through the weights
shared with the thick prediction.

``copy`` repeats the label on every thin slice: the baseline. ``transition`` (:mod:`.linear_ramp`) repeats it where it
does not change from slab to slab, and ``count`` (:mod:`.poisson_binomial`) models the annotator exactly.

All return logits rather than probabilities, so that the loss of :mod:`.segmentation` applies to them, and nothing
overflows or becomes infinite if a probability is 0 or 1.

Shapes: N blocks or crops, K classes (background first) or regions, D thick slices, r D thin ones, Y X rows and columns.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nnunetv2_cfseg.losses.label_space import LabelSpace
from nnunetv2_cfseg.losses.slices import slab_mean, split_slabs
from nnunetv2_cfseg.losses.targets import Target, in_full_precision


class SlabOperator(nn.Module):
    """Makes a thin prediction and a thick target comparable; :func:`~.operators.slab_operator` builds one by name.

    Args:
        factor: r.

    Attributes:
        reads_neighbours: the thick target must also have the slabs before and after.

    Raises:
        ValueError: the factor is below 1.
    """

    reads_neighbours = False

    def __init__(self, *, factor: int) -> None:
        super().__init__()
        if factor < 1:
            raise ValueError(f"factor must be >= 1, got {factor}")
        self.factor = factor

    def forward(
        self, thin_logits: Tensor, thick: Target, *, progress: float = 1.0, seen: Tensor | None = None
    ) -> tuple[Tensor, Target]:
        """Logits and the target to compare them with, both on the operator's own grid, thick or thin.

        Args:
            thin_logits: (N, K, r D, Y, X).
            thick: of D slices; of D + 2, with the slabs before and after, if the operator reads neighbours.
            progress: fraction of the training that is done, in [0, 1].
            seen: slices that the network predicted, (N, 1, r D, 1, 1) bool; all by default. The logits of the others
                are meaningless, and the results for them, or for their slab, must not be used.

        Raises:
            ValueError: the last slab is incomplete, or the target is on another grid.
        """
        n, channels, slabs, _, *in_plane = split_slabs(thin_logits, self.factor).shape
        shape = (n, channels, slabs + 2 * self.reads_neighbours, *in_plane)
        if thick.probabilities.shape != shape:
            raise ValueError(
                f"a thick target must have the shape {shape} for thin logits of {tuple(thin_logits.shape)}, got "
                f"{tuple(thick.probabilities.shape)}"
            )
        return self.compare(thin_logits, thick, progress=progress, seen=seen)

    def compare(
        self, thin_logits: Tensor, thick: Target, *, progress: float, seen: Tensor | None
    ) -> tuple[Tensor, Target]:
        """Compute what :meth:`forward` returns; the shapes are checked already."""
        raise NotImplementedError


class SlabMean(SlabOperator):
    """The mean probability of a slab."""

    def compare(
        self, thin_logits: Tensor, thick: Target, *, progress: float, seen: Tensor | None
    ) -> tuple[Tensor, Target]:
        """Thick logits (N, K, D, Y, X) whose softmax, or sigmoid, is the mean of the thin ones."""
        slabs = split_slabs(in_full_precision(thin_logits), self.factor)
        if thick.labels.regions:
            return F.logsigmoid(slabs).logsumexp(3) - F.logsigmoid(-slabs).logsumexp(3), thick
        return slabs.log_softmax(1).logsumexp(3), thick


class SlabAnnotator(SlabOperator):
    """What an annotator of thick slices would mark.

    Args:
        factor: r.
        tau: fraction of the slab that a class must fill to be marked, in (0, 1]; one for all, or one for each
            foreground class or region.
        temperature: T, above 0; the smaller, the more sharply annotators decide.

    Raises:
        ValueError: any of these out of range.
    """

    tau: Tensor

    def __init__(self, *, factor: int, tau: float | Sequence[float] = 0.5, temperature: float = 0.05) -> None:
        super().__init__(factor=factor)
        fractions = torch.tensor(tau, dtype=torch.float32).reshape(1, -1, 1, 1, 1)
        if not fractions.numel() or not bool(((fractions > 0) & (fractions <= 1)).all()):
            raise ValueError(f"tau must be above 0 and at most 1, got {tau}")
        if not 0 < temperature < float("inf"):
            raise ValueError(f"temperature must be above 0 and finite, got {temperature}")
        self.register_buffer("tau", fractions, persistent=False)
        self.temperature = temperature

    def compare(
        self, thin_logits: Tensor, thick: Target, *, progress: float, seen: Tensor | None
    ) -> tuple[Tensor, Target]:
        """Thick logits (N, K, D, Y, X) of :func:`annotator_logits`."""
        fractions = slab_mean(thick.labels.probabilities(in_full_precision(thin_logits)), self.factor)
        return annotator_logits(fractions, thick.labels, tau=self.tau, temperature=self.temperature), thick


class SlabCopy(SlabOperator):
    """The thick label repeated on every thin slice."""

    def compare(
        self, thin_logits: Tensor, thick: Target, *, progress: float, seen: Tensor | None
    ) -> tuple[Tensor, Target]:
        """The unchanged thin logits, and a thin target."""
        return thin_logits, thick.repeat(self.factor)


def annotator_logits(fractions: Tensor, labels: LabelSpace, *, tau: Tensor | float, temperature: float) -> Tensor:
    r"""Logits of what an annotator marks, from the fractions of a slab.

    A region is marked with probability :math:`\sigma((f - \tau) / T)`. At most one class is marked: any foreground
    with :math:`\sigma((F - \tau) / T)`, where F is the whole fraction of foreground, and then the class that fills most
    of the slab, softmax(:math:`f_k / T`). With one foreground class this is the formula for regions. With several, the
    background does not become less likely just because there are more classes. As T falls to 0, it becomes
    :func:`nnunetv2_cfseg.imaging.slabs.annotate_slabs`. Each class's probability rises with its own fraction.

    Args:
        fractions: (N, K, D, Y, X); those of classes add up to 1 along K.
        labels: what the K channels are.
        tau: a number, or a tensor that broadcasts to the foreground classes or regions, (1, K - 1 or R, 1, 1, 1). A
            class with a lower one is marked earlier.
        temperature: T, above 0.

    Returns:
        (N, K, D, Y, X).

    Raises:
        ValueError: there are neither one tau nor as many as foreground classes or regions.
    """
    foreground = labels.foreground(fractions)
    channels = foreground.shape[1]
    if isinstance(tau, Tensor) and tau.numel() not in (1, channels):
        raise ValueError(f"tau must be one number or {channels}, one for each foreground class or region, "
                         f"got {tau.numel()}")  # fmt: skip
    if labels.regions:
        return (fractions - tau) / temperature
    anything = (foreground.sum(1, keepdim=True) - tau) / temperature  # (N, 1 or K - 1, D, Y, X)
    kind = (foreground / temperature).log_softmax(1)
    return torch.cat([torch.zeros_like(fractions[:, :1]), anything + kind], dim=1)
