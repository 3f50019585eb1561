r"""What a thick label says of the thin slices below it, as a likelihood: how many of them are lesion.

An annotator marks a voxel when at least :math:`k = \lceil r \tau \rceil` of its slab's r slices are lesion. Let
:math:`p_s` be the network's probability of the class on slice s. The slices being independent given the image, their
count N follows the Poisson binomial distribution, and a marked voxel has the likelihood :math:`P(N \ge k)`, one that is
not marked :math:`P(N < k)`. Its gradient with respect to the logit of slice s is :math:`q_s - p_s`, where
:math:`q_s = P(s \text{ is lesion} \mid \text{mark})`: cross-entropy against the soft target q, which is what the
expectation step of learning from incomplete labels asks for (Dempster, Laird and Rubin 1977). No temperature is needed,
and a network that does not see a lesion yet is told so with full force, where the gradient of ``annotator`` vanishes.

A single mark leaves open which slices they are. Slabs begin anywhere in a lesion, though, and the network does not see
where: a surface drawn one slice too high is wrong in every r-th slab. So the likelihood of all marks together knows
surfaces to the slice. A network that sees little of a lesion is helped by the slabs before and after: lesion lies where
they are marked rather than where they are not. Their marks shift the log-odds of the first and the last slice by
``coupling``, and by half as much with each slice further in.

A slab is open if the mark changes from slab to slab within ``reach`` voxels of it in the plane: elsewhere surfaces
stand upright, and slices are what was marked. In an open slab a slice can only have a label that was marked as near, in
the slab itself, in the one before or in the one after.

A network in training sees less lesion than there is, and its errors must not become its targets. So its log-odds are
shifted, by one number a class, until as much lesion is expected before marks are known as thereafter (Saerens et al.
2002, "Adjusting the outputs of a classifier to new a priori probabilities"): then marks are as likely as a shift can
make them. The shift follows from step to step. It is no weight of the network, but part of ``state_dict``, so that a
training can be continued with it.

A network that has not learnt what a lesion is can satisfy marks in many ways. So training begins with the ramp of
:mod:`.linear_ramp` and moves to the likelihood: the target is a mixture of both, whose share of q grows from 0 to 1
between two points of the training, ``begin`` and ``end``.

Of several classes the one that was marked is counted, or, where none was, all of them together.

Shapes: as in :mod:`.linear_ramp`.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from nnunetv2_cfseg.losses.linear_ramp import LinearRampSlab
from nnunetv2_cfseg.losses.state import StepwiseState
from nnunetv2_cfseg.losses.targets import Target, in_full_precision, one_hot_groups

#: Least probability of what the ramp or the network says cannot be; a mark may say otherwise.
LEAST_OF_RAMP, LEAST_OF_NETWORK = 1e-3, 1e-6
#: Of the network's log-odds, and what a step adds to it for each unit of what the marks add to the log-volume.
LARGEST_SHIFT, SHIFT_RATE = 4.0, 0.1
#: Of the log-odds of all slices of a slab together: float32 holds products of their probabilities.
LARGEST_LOG_ODDS = 80.0


class PoissonBinomialSlab(LinearRampSlab, StepwiseState):
    """What the slices of a slab are likely to be, given how it was marked and what the network sees.

    Args:
        factor: r.
        regions: see :class:`~.slab.SlabOperator`.
        ignore_label: see :class:`~.slab.SlabOperator`.
        tau: share of a slab from which on it is marked, in (0, 1].
        begin: share of the training after which the network is asked, in [0, 1].
        end: share of the training from which on only the network is asked, from ``begin`` to 1.
        reach: voxels in the plane within which a change from slab to slab leaves a slab's slices open, at least 0.
        coupling: log-odds that a slab's mark adds to the slice next to it, at least 0.

    Attributes:
        shift: what is added to the network's logits of each answer, (Q, A), or one 0 before the first call.

    Raises:
        ValueError: any of these out of range.
    """

    shift: Tensor
    follows = ("shift",)

    def __init__(
        self,
        *,
        factor: int,
        regions: bool = False,
        ignore_label: int | None = None,
        tau: float = 0.5,
        begin: float = 0.1,
        end: float = 0.3,
        reach: int = 2,
        coupling: float = 1.0,
    ) -> None:
        super().__init__(factor=factor, regions=regions, ignore_label=ignore_label, tau=tau)
        if not 0 <= begin <= end <= 1:
            raise ValueError(f"begin and end must be 0 <= begin <= end <= 1, got {begin} and {end}")
        if reach < 0:
            raise ValueError(f"reach must be >= 0 voxels, got {reach}")
        if not 0 <= coupling < math.inf:
            raise ValueError(f"coupling must be finite and >= 0, got {coupling}")
        self.begin, self.end, self.reach, self.coupling = begin, end, reach, coupling
        self.register_buffer("shift", torch.zeros(1, 1))

    def forward(
        self, thin_logits: Tensor, thick_target: Tensor, *, progress: float = 1.0, seen: Tensor | None = None
    ) -> tuple[Tensor, Target]:
        """The thin logits as they are, and what the slices are likely to be.

        Args:
            thin_logits: (N, K, r D, Y, X).
            thick_target: as :class:`~.linear_ramp.LinearRampSlab` takes it.
            progress: share of the training that is done, in [0, 1].
            seen: see :class:`~.slab.SlabOperator`; what is not seen is taken to be as the ramp has it.

        Raises:
            ValueError: the shapes do not fit, or the last slab is incomplete.
        """
        share = self.share_of_likelihood(progress)
        if not share:
            return super().forward(thin_logits, thick_target)
        with torch.no_grad():
            thick = self.read_slabs(thin_logits, thick_target)
            marks = self.read_marks(thick)
            answers = one_hot_groups(thick.truth, regions=self.regions)
            possible = answers_nearby(answers, thick.known, reach=self.reach)  # (N, Q, A, D, Y, X)
            is_open = nearby(marks.change(), reach=self.reach) & (possible.sum(2) > 1)  # M slabs
            if marks.known is not None:
                is_open = is_open & marks.known
            below, own, above = marks.at(is_open)
            ramp = self.ramp(below, own, above)  # (M, A, r)
            is_possible = possible.movedim(2, -1)[is_open].unsqueeze(2)
            question = is_open.nonzero()[:, 1]
            p = self._seen_answers(thin_logits, is_open, is_possible, question)
            p = p * torch.where(counted(own).unsqueeze(2), self.odds_of_neighbours(below, own, above), 1)
            if seen is None:
                seen = torch.ones_like(thin_logits[:, :1], dtype=torch.bool)
            is_seen = self.columns(seen.unsqueeze(1)).expand(*is_open.shape, 1, self.factor)[is_open]
            p = torch.where(is_seen, p, ramp.clamp_min(LEAST_OF_RAMP)) * is_possible
            likely = posterior(p, own, marked=self.marked)
            self._follow(p / p.sum(1, keepdim=True) * is_seen, likely * is_seen, question)
            return thin_logits, self.annotate(marks, is_open, (1 - share) * ramp + share * likely)

    def _seen_answers(self, logits: Tensor, is_open: Tensor, is_possible: Tensor, question: Tensor) -> Tensor:
        """Probabilities (M, A, r) that the network gives to what is possible in open slabs, with the shift.

        Args:
            logits: (N, K, r D, Y, X).
            is_open: M slabs, (N, Q, D, Y, X) bool.
            is_possible: (M, A, 1) bool.
            question: of each slab, (M,).
        """
        of_questions = logits.unsqueeze(2 if self.regions else 1)
        answers = in_full_precision(self.columns(of_questions)[is_open])
        if self.regions:
            answers = torch.cat([torch.zeros_like(answers), answers], dim=1)
        self.shift = self.shift.expand(is_open.shape[1], answers.shape[1])
        answers = answers + self.shift[question].unsqueeze(2)
        return answers.masked_fill(~is_possible, -math.inf).softmax(1).clamp_min(LEAST_OF_NETWORK)

    def odds_of_neighbours(self, below: Tensor, own: Tensor, above: Tensor) -> Tensor:
        """Odds of what is counted in a slab, (M, 1, r), from how the slabs before and after were marked, (M, A)."""
        fades = self.coupling * 0.5 ** torch.arange(self.factor, device=own.device)
        from_below, from_above = (
            torch.where((side & counted(own)).any(1, keepdim=True), 1, -1) for side in (below, above)
        )
        return (from_below * fades + from_above * fades.flip(0)).exp().unsqueeze(1)

    def _follow(self, before: Tensor, after: Tensor, question: Tensor) -> None:
        """Move the shift towards what the marks say in all.

        Args:
            before: probabilities of the answers in M slabs, (M, A, r), before their marks are known.
            after: and thereafter.
            question: of each slab, (M,).
        """
        questions, answers = len(self.shift), before.shape[1]
        log_before, log_after = (
            p.new_ones(questions, answers).index_add_(0, question, p.sum(2)).log() for p in (before, after)
        )
        change = log_after - log_before
        moved = self.shift + SHIFT_RATE * (change - change[:, :1])
        self.move("shift", moved.clamp(-LARGEST_SHIFT, LARGEST_SHIFT))

    def share_of_likelihood(self, progress: float) -> float:
        """Of the target, at a point of the training."""
        if progress >= self.end:
            return 1.0
        span = self.end - self.begin
        return max(0.0, progress - self.begin) / span if span else 0.0


def counted(own: Tensor) -> Tensor:
    """Which answers are counted in slabs so marked, (M, A) bool: the mark, or without one all but the first."""
    first = torch.arange(own.shape[1], device=own.device) == 0
    return torch.where(own[:, :1], ~first, own)


def posterior(p: Tensor, own: Tensor, *, marked: int) -> Tensor:
    """Probability of each answer on each slice, given the mark of the slab.

    Args:
        p: what is known without the mark, probabilities up to a factor of each slice, (M, A, r); of a slice at least
            two answers are above 0, the mark among them.
        own: the mark, one of A, (M, A) bool; the first is background, or outside.
        marked: k, slices of a slab that is just marked.

    Returns:
        (M, A, r), summing to 1 over the answers.
    """
    is_counted = counted(own).unsqueeze(2)
    p_in, p_out = (p * is_counted).sum(1), (p * ~is_counted).sum(1)  # (M, r)
    inside = posterior_of_count(p_in.log() - p_out.log(), ~own[:, :1], marked=marked)
    return p * torch.where(is_counted, (inside / p_in).unsqueeze(1), ((1 - inside) / p_out).unsqueeze(1))


def posterior_of_count(logits: Tensor, is_marked: Tensor, *, marked: int) -> Tensor:
    """Probability of each slice to be inside, given whether at least ``marked`` of its slab's slices are.

    Args:
        logits: of each slice to be inside, before the mark is known, (M, r); what is surer than float32 can tell is
            taken to be as sure as that.
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
        p_in: of each slice to be inside, (M, r).
        p_out: of each slice to be outside, as precise.

    Returns:
        (M, r + 1), of 0 to r slices.
    """
    counts = p_in.new_ones(len(p_in), 1)
    for inside, outside in zip(p_in.split(1, 1), p_out.split(1, 1), strict=True):
        counts = F.pad(counts * outside, (0, 1)) + F.pad(counts * inside, (1, 0))
    return counts


def answers_nearby(own: Tensor, known: Tensor | None, *, reach: int) -> Tensor:
    """Which answers were given in a slab, in the one before or in the one after.

    Args:
        own: one of A, (N, Q, A, D + 2, Y, X) bool.
        known: (N, 1, D + 2, Y, X) bool, where there is an answer; None for everywhere.
        reach: voxels in the plane within which an answer counts.

    Returns:
        (N, Q, A, D, Y, X) bool.
    """
    given = own if known is None else own & known.unsqueeze(1)
    in_plane = nearby(given.flatten(1, 2), reach=reach).unflatten(1, own.shape[1:3])
    return in_plane[:, :, :, :-2] | in_plane[:, :, :, 1:-1] | in_plane[:, :, :, 2:]


def nearby(x: Tensor, *, reach: int) -> Tensor:
    """Whether x, (N, C, D, Y, X) bool, is true within so many voxels in the plane."""
    found = x.float()
    for window in ((1, 2 * reach + 1, 1), (1, 1, 2 * reach + 1)):
        found = F.max_pool3d(found, window, stride=1, padding=[size // 2 for size in window])
    return found > 0
