r"""Soft thin targets from the number of lesion slices in a slab, given its mark and the network's prediction.

An annotator marks a voxel when at least :math:`k = \lceil r \tau \rceil` of its slab's r slices are lesion. Let
:math:`p_s` be the network's probability of the class on slice s. If slices are independent given the image, the number
N of lesion slices follows the Poisson binomial distribution. The likelihood of a mark is :math:`P(N \ge k)`, that of no
mark :math:`P(N < k)`. Its gradient with respect to the logit of slice s is :math:`q_s - p_s`, where
:math:`q_s = P(s \text{ is lesion} \mid \text{mark})`: that of cross-entropy against the soft target q, which is the
expectation step of learning from incomplete labels (Dempster, Laird and Rubin 1977). It needs no temperature, and its
gradient stays large where the network sees no lesion yet, whereas the gradient of ``annotator`` vanishes there.

One mark does not say which slices are lesion. But slabs begin anywhere in a lesion, and the network does not see where,
so a surface that is predicted one slice too high is wrong in every r-th slab: the likelihood of all marks together
locates surfaces to the slice. The slabs before and after help a network that sees little of a lesion, because lesion
is more likely next to marked slabs than next to unmarked ones. Their marks change the log-odds of the first and the
last slice by ``coupling``, and by half as much with each slice further in.

A slab is open if the mark changes from slab to slab within ``reach`` voxels of it in the plane. Elsewhere surfaces are
vertical, and every slice has the label of its slab. A slice of an open slab can only have a label that was marked
within the same distance in the slab itself, in the one before or in the one after.

A network in training predicts less lesion than there is, and its errors must not become its targets. So its log-odds
are shifted by one number for each class, until the expected amount of lesion is the same before and after the marks are
known (Saerens et al. 2002, "Adjusting the outputs of a classifier to new a priori probabilities"); this shift maximises
the likelihood of the marks. It changes a little with each step. It is not a weight of the network, but it is in
``state_dict``, so that a training can be continued with it.

A network that does not know yet what a lesion is can satisfy marks in many ways. So training begins with the ramp of
:mod:`.linear_ramp` and moves to the likelihood: the target is a mixture of both, and the fraction of q grows from 0 to
1 between two points of the training, ``begin`` and ``end``.

With several classes, the slices of the marked class are counted, or, in a slab that is not marked, those of all of them
together.

Shapes: as in :mod:`.linear_ramp`.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from nnunetv2_cfseg.losses.label_space import LabelSpace
from nnunetv2_cfseg.losses.linear_ramp import LinearRampSlab, Marks
from nnunetv2_cfseg.losses.state import StepwiseState
from nnunetv2_cfseg.losses.targets import Target, in_full_precision

#: Lower limits of the ramp's and the network's probabilities, so that a mark can contradict them.
LEAST_OF_RAMP, LEAST_OF_NETWORK = 1e-3, 1e-6
#: Limit of the shift, in log-odds, and what a step adds to it for each unit that the marks add to the log-volume.
LARGEST_SHIFT, SHIFT_RATE = 4.0, 0.1
#: Limit of the summed log-odds of all slices of a slab, so that float32 can hold products of their probabilities.
LARGEST_LOG_ODDS = 80.0


class PoissonBinomialSlab(LinearRampSlab, StepwiseState):
    """The probability of each class on the slices of a slab, given its mark and the network's prediction.

    Args:
        factor: r.
        tau: fraction of a slab that must be lesion before it is marked, in (0, 1].
        begin: fraction of the training after which the network's prediction is used, in [0, 1].
        end: fraction of the training from which the ramp is no longer used, from ``begin`` to 1.
        reach: a slab is open if the mark changes from slab to slab within so many voxels in the plane, at least 0.
        coupling: log-odds that a slab's mark adds to the slice next to it, at least 0.

    Attributes:
        shift: added to the network's logits of each class, (G, C); a single 0 before the first call.

    Raises:
        ValueError: any of these out of range.
    """

    shift: Tensor
    follows = ("shift",)

    def __init__(
        self,
        *,
        factor: int,
        tau: float = 0.5,
        begin: float = 0.1,
        end: float = 0.3,
        reach: int = 2,
        coupling: float = 1.0,
    ) -> None:
        super().__init__(factor=factor, tau=tau)
        if not 0 <= begin <= end <= 1:
            raise ValueError(f"begin and end must be 0 <= begin <= end <= 1, got {begin} and {end}")
        if reach < 0:
            raise ValueError(f"reach must be >= 0 voxels, got {reach}")
        if not 0 <= coupling < math.inf:
            raise ValueError(f"coupling must be finite and >= 0, got {coupling}")
        self.begin, self.end, self.reach, self.coupling = begin, end, reach, coupling
        self.register_buffer("shift", torch.zeros(1, 1))

    def compare(
        self, thin_logits: Tensor, thick: Target, *, progress: float, seen: Tensor | None
    ) -> tuple[Tensor, Target]:
        """The unchanged thin logits, and the probability of each class on each slice; moves the shift.

        For a slice that was not seen, the ramp replaces the network's prediction.
        """
        fraction = self.fraction_of_likelihood(progress)
        if not fraction:
            return super().compare(thin_logits, thick, progress=progress, seen=seen)
        if seen is None:
            seen = torch.ones_like(thin_logits[:, :1], dtype=torch.bool)
        with torch.no_grad():
            marks = Marks.read(thick)
            possible = classes_nearby(thick, reach=self.reach)  # (N, G, C, D, Y, X)
            is_open = self._open(marks, possible)  # M slabs
            below, own, above = marks.at(is_open)
            ramp = self.ramp(below, own, above)  # (M, C, r)
            group = is_open.nonzero()[:, 1]
            is_possible = possible.movedim(2, -1)[is_open].unsqueeze(2)
            is_seen = self.columns(seen.unsqueeze(1)).expand(*is_open.shape, 1, self.factor)[is_open]
            predicted = self._predicted(
                thin_logits, thick.labels, is_open=is_open, is_possible=is_possible, group=group
            )
            odds = torch.where(counted(own).unsqueeze(2), self.odds_of_neighbours(below, own, above), 1)
            p = torch.where(is_seen, predicted * odds, ramp.clamp_min(LEAST_OF_RAMP)) * is_possible
            given_mark = posterior(p, own, marked=self.marked)
            self._follow(p / p.sum(1, keepdim=True) * is_seen, given_mark * is_seen, group)
            mixture = (1 - fraction) * ramp + fraction * given_mark
            return thin_logits, self.soft_target(marks, is_open, mixture)

    def _open(self, marks: Marks, possible: Tensor) -> Tensor:
        """Which slabs are open, (N, G, D, Y, X) bool, from their marks and the classes that are possible in them."""
        is_open = nearby(marks.change(), reach=self.reach) & (possible.sum(2) > 1)
        return is_open if marks.valid is None else is_open & marks.valid

    def _predicted(
        self, logits: Tensor, labels: LabelSpace, *, is_open: Tensor, is_possible: Tensor, group: Tensor
    ) -> Tensor:
        """The network's probabilities (M, C, r) of the possible classes in open slabs, shifted.

        Args:
            logits: (N, K, r D, Y, X).
            labels: what the K channels are.
            is_open: M slabs, (N, G, D, Y, X) bool.
            is_possible: (M, C, 1) bool.
            group: of each slab, (M,).
        """
        grouped = logits.unsqueeze(2 if labels.regions else 1)
        open_logits = in_full_precision(self.columns(grouped)[is_open])
        if labels.regions:
            open_logits = torch.cat([torch.zeros_like(open_logits), open_logits], dim=1)
        self.shift = self.shift.expand(is_open.shape[1], open_logits.shape[1])
        shifted = open_logits + self.shift[group].unsqueeze(2)
        return shifted.masked_fill(~is_possible, -math.inf).softmax(1).clamp_min(LEAST_OF_NETWORK)

    def odds_of_neighbours(self, below: Tensor, own: Tensor, above: Tensor) -> Tensor:
        """Odds of the counted classes, (M, 1, r), from the marks of the slabs before and after, (M, C)."""
        fades = self.coupling * 0.5 ** torch.arange(self.factor, device=own.device)
        from_below, from_above = (
            torch.where((side & counted(own)).any(1, keepdim=True), 1, -1) for side in (below, above)
        )
        return (from_below * fades + from_above * fades.flip(0)).exp().unsqueeze(1)

    def _follow(self, before: Tensor, after: Tensor, group: Tensor) -> None:
        """Move the shift by what the marks add to the volume of each class.

        Args:
            before: probabilities of the classes in M slabs, (M, C, r), before their marks are known.
            after: the same after their marks are known.
            group: of each slab, (M,).
        """
        groups, classes = len(self.shift), before.shape[1]
        log_before, log_after = (
            p.new_ones(groups, classes).index_add_(0, group, p.sum(2)).log() for p in (before, after)
        )
        change = log_after - log_before
        moved = self.shift + SHIFT_RATE * (change - change[:, :1])
        self.move("shift", moved.clamp(-LARGEST_SHIFT, LARGEST_SHIFT))

    def fraction_of_likelihood(self, progress: float) -> float:
        """Fraction of the target that comes from the likelihood, in [0, 1], at a point of the training."""
        if progress >= self.end:
            return 1.0
        span = self.end - self.begin
        return max(0.0, progress - self.begin) / span if span else 0.0


def counted(own: Tensor) -> Tensor:
    """Which classes are counted in slabs with these marks, (M, C) bool: the marked one, else all except the first."""
    first = torch.arange(own.shape[1], device=own.device) == 0
    return torch.where(own[:, :1], ~first, own)


def posterior(p: Tensor, own: Tensor, *, marked: int) -> Tensor:
    """Probability of each class on each slice, given the mark of the slab.

    Args:
        p: probabilities without the mark, (M, C, r), up to a factor for each slice; on each slice at least two classes
            are above 0, including the mark.
        own: the mark, one of C, (M, C) bool; the first class is background, or outside.
        marked: k, slices of lesion in a slab that is just marked.

    Returns:
        (M, C, r), summing to 1 over the classes.
    """
    is_counted = counted(own).unsqueeze(2)
    p_in, p_out = (p * is_counted).sum(1), (p * ~is_counted).sum(1)  # (M, r)
    inside = posterior_of_count(p_in.log() - p_out.log(), ~own[:, :1], marked=marked)
    return p * torch.where(is_counted, (inside / p_in).unsqueeze(1), ((1 - inside) / p_out).unsqueeze(1))


def posterior_of_count(logits: Tensor, is_marked: Tensor, *, marked: int) -> Tensor:
    """Probability that each slice is inside, given whether at least ``marked`` slices of its slab are.

    Args:
        logits: that each slice is inside, before the mark is known, (M, r); clamped to what float32 can hold.
        is_marked: (M, 1) bool.
        marked: k, from 1 to r.

    Returns:
        (M, r).
    """
    largest = LARGEST_LOG_ODDS / logits.shape[1]
    with torch.enable_grad():
        logits = logits.detach().clamp(-largest, largest).requires_grad_()
        counts = count_probabilities(logits.sigmoid(), (-logits).sigmoid())
        likelihood = torch.where(is_marked[:, 0], counts[:, marked:].sum(1), counts[:, :marked].sum(1))
        (gradient,) = torch.autograd.grad(likelihood.log().sum(), logits)
    return (logits.detach().sigmoid() + gradient).clamp(0, 1)


def count_probabilities(p_in: Tensor, p_out: Tensor) -> Tensor:
    """Probabilities of how many of r independent slices are inside: the Poisson binomial distribution.

    Args:
        p_in: probability that each slice is inside, (M, r).
        p_out: probability that it is outside, which is more precise than 1 - p_in.

    Returns:
        (M, r + 1), for 0 to r slices.
    """
    counts = p_in.new_ones(len(p_in), 1)
    for inside, outside in zip(p_in.split(1, 1), p_out.split(1, 1), strict=True):
        counts = F.pad(counts * outside, (0, 1)) + F.pad(counts * inside, (1, 0))
    return counts


def classes_nearby(thick: Target, *, reach: int) -> Tensor:
    """Which classes were marked in a slab or in the one before or after.

    Args:
        thick: of D + 2 slices.
        reach: voxels in the plane within which a mark counts.

    Returns:
        (N, G, C, D, Y, X) bool.
    """
    marks = thick.labels.one_hot_groups(thick.probabilities)  # (N, G, C, D + 2, Y, X)
    annotated = marks if thick.valid is None else marks & thick.valid.unsqueeze(1)
    in_plane = nearby(annotated.flatten(1, 2), reach=reach).unflatten(1, marks.shape[1:3])
    return in_plane[:, :, :, :-2] | in_plane[:, :, :, 1:-1] | in_plane[:, :, :, 2:]


def nearby(x: Tensor, *, reach: int) -> Tensor:
    """Whether x, (N, C, D, Y, X) bool, is true within ``reach`` voxels in the plane."""
    dilated = x.float()
    for window in ((1, 2 * reach + 1, 1), (1, 1, 2 * reach + 1)):
        dilated = F.max_pool3d(dilated, window, stride=1, padding=[size // 2 for size in window])
    return dilated > 0
