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
surfaces to the slice.

A slab is open if the mark changes from slab to slab within ``reach`` voxels of it in the plane: elsewhere surfaces
stand upright, and slices are what was marked. In an open slab a slice can only have a label that was marked as near, in
the slab itself, in the one before or in the one after.

A network that has not learnt what a lesion is can satisfy marks in many ways. So training begins with the ramp of
:mod:`.transition` and moves to the likelihood: the target is a mixture of both, whose share of q grows from 0 to 1
between two points of the training, ``begin`` and ``end``.

Of several classes the one that was marked is counted, or, where none was, all of them together.

Shapes: as in :mod:`.transition`.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from nnunetv2_cfseg.losses.annotation import Annotation, as_questions, in_full_precision
from nnunetv2_cfseg.losses.transition import SlabTransition

#: Probability of what a ramp says cannot be; a mark may say otherwise.
LOG_IMPOSSIBLE = -7.0
#: Of the network's log-odds, when its volume is corrected.
LARGEST_SHIFT = 4.0


class SlabCount(SlabTransition):
    """What the slices of a slab are likely to be, given how it was marked and what the network sees.

    Args:
        factor: r.
        regions: see :class:`~.slab.SlabOperator`.
        ignore_label: see :class:`~.slab.SlabOperator`.
        tau: share of a slab from which on it is marked, in (0, 1).
        begin: share of the training after which the network is asked, in [0, 1].
        end: share of the training from which on only the network is asked, from ``begin`` to 1.
        reach: voxels in the plane within which a change from slab to slab leaves a slab's slices open, at least 0.

    Raises:
        ValueError: any of these out of range.
    """

    def __init__(
        self,
        *,
        factor: int,
        regions: bool = False,
        ignore_label: int | None = None,
        tau: float = 0.5,
        begin: float = 0.3,
        end: float = 0.5,
        reach: int = 2,
    ) -> None:
        super().__init__(factor=factor, regions=regions, ignore_label=ignore_label, tau=tau)
        if not 0 <= begin <= end <= 1:
            raise ValueError(f"begin and end must be 0 <= begin <= end <= 1, got {begin} and {end}")
        if reach < 0:
            raise ValueError(f"reach must be >= 0 voxels, got {reach}")
        self.begin, self.end, self.reach = begin, end, reach

    def forward(
        self, thin_logits: Tensor, thick_target: Tensor, *, progress: float = 1.0, seen: Tensor | None = None
    ) -> tuple[Tensor, Annotation]:
        """The thin logits as they are, and what the slices are likely to be.

        Args:
            thin_logits: (N, K, r D, Y, X).
            thick_target: as :class:`~.transition.SlabTransition` takes it.
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
            answers = as_questions(thick.truth, regions=self.regions)
            possible = answers_nearby(answers, thick.known, reach=self.reach)  # (N, Q, A, D, Y, X)
            is_open = nearby(marks.change(), reach=self.reach) & (possible.sum(2) > 1)  # M slabs
            if marks.known is not None:
                is_open = is_open & marks.known
            below, own, above = marks.at(is_open)
            ramp = self.ramp(below, own, above)  # (M, A, r)
            log_p = self._log_answers(thin_logits, is_open)
            if seen is not None:
                is_seen = self.columns(seen.unsqueeze(1)).expand(*is_open.shape, 1, self.factor)[is_open]
                log_p = torch.where(is_seen, log_p, ramp.log().clamp_min(LOG_IMPOSSIBLE))
            log_p = with_volume_of(ramp, log_p.masked_fill(~possible.movedim(2, -1)[is_open].unsqueeze(2), -torch.inf))
            likely = posterior(log_p, own, marked=self.marked)
            return thin_logits, self.annotate(marks, is_open, (1 - share) * ramp + share * likely)

    def _log_answers(self, logits: Tensor, is_open: Tensor) -> Tensor:
        """What the network sees in open slabs, (M, A, r)."""
        of_questions = logits.unsqueeze(2 if self.regions else 1)
        open_logits = in_full_precision(self.columns(of_questions)[is_open])
        if self.regions:
            return torch.cat([F.logsigmoid(-open_logits), F.logsigmoid(open_logits)], dim=1)
        return open_logits.log_softmax(1)

    def share_of_likelihood(self, progress: float) -> float:
        """Of the target, at a point of the training."""
        if progress >= self.end:
            return 1.0
        span = self.end - self.begin
        return max(0.0, progress - self.begin) / span if span else 0.0


def with_volume_of(ramp: Tensor, log_p: Tensor) -> Tensor:
    """Shift all answers but the first against it, by one number, until they have as many voxels as in the ramp.

    A network in training sees less lesion than there is, and its errors must not become its targets. Where the surface
    is, a ramp does not know, but how much lesion there is in all.

    Args:
        ramp: probability of each answer, (M, A, r).
        log_p: what the network sees, log-probabilities up to a constant of each slice, of the same shape.

    Returns:
        Log-probabilities, (M, A, r).
    """
    if not len(ramp):
        return log_p
    logits = log_p[:, 1:].logsumexp(1) - log_p[:, 0]
    wanted = 1 - ramp[:, 0].mean()
    low, high = logits.new_tensor(-LARGEST_SHIFT), logits.new_tensor(LARGEST_SHIFT)
    for _ in range(10):  # halves the interval
        middle = (low + high) / 2
        is_too_much = (logits + middle).sigmoid().mean() > wanted
        low, high = torch.where(is_too_much, low, middle), torch.where(is_too_much, middle, high)
    return torch.cat([log_p[:, :1], log_p[:, 1:] + middle], dim=1).log_softmax(1)


def posterior(log_p: Tensor, own: Tensor, *, marked: int) -> Tensor:
    """Probability of each answer on each slice, given the mark of the slab.

    Args:
        log_p: what is known without the mark, log-probabilities (M, A, r); of a slice at least of two answers above
            -inf, the mark among them.
        own: the mark, one of A, (M, A) bool; the first is background, or outside.
        marked: k, slices of a slab that is just marked.

    Returns:
        (M, A, r), summing to 1 over the answers.
    """
    is_marked = ~own[:, :1]
    # What is counted: the answer that was marked, or where none was, all but the first.
    first = torch.arange(own.shape[1], device=own.device) == 0
    counted = torch.where(is_marked, own, ~first).unsqueeze(2)
    log_in, log_out = (log_p.masked_fill(~kind, -torch.inf).logsumexp(1) for kind in (counted, ~counted))  # (M, r)
    inside = posterior_of_count(log_in - log_out, is_marked, marked=marked)
    change = torch.where(counted, (inside.log() - log_in).unsqueeze(1), ((1 - inside).log() - log_out).unsqueeze(1))
    return (log_p + change).exp()


def posterior_of_count(logits: Tensor, is_marked: Tensor, *, marked: int) -> Tensor:
    """Probability of each slice to be inside, given whether at least ``marked`` of its slab's slices are.

    Args:
        logits: of each slice to be inside, before the mark is known, (M, r).
        is_marked: (M, 1) bool.
        marked: k, from 1 to r.

    Returns:
        (M, r).
    """
    with torch.enable_grad():
        logits = logits.detach().requires_grad_()
        counts = log_count_probabilities(logits)
        log_likelihood = torch.where(is_marked[:, 0], counts[:, marked:].logsumexp(1), counts[:, :marked].logsumexp(1))
        (gradient,) = torch.autograd.grad(log_likelihood.sum(), logits)
    return (logits.detach().sigmoid() + gradient).clamp(0, 1)


def log_count_probabilities(logits: Tensor) -> Tensor:
    """Log-probabilities of how many of r independent slices are inside: the Poisson binomial distribution.

    Args:
        logits: of each slice to be inside, (M, r).

    Returns:
        (M, r + 1), of 0 to r slices.
    """
    counts = logits.new_zeros(len(logits), 1)
    for log_in, log_out in zip(F.logsigmoid(logits).split(1, 1), F.logsigmoid(-logits).split(1, 1), strict=True):
        stays, grows = counts + log_out, counts + log_in
        counts = torch.cat([stays[:, :1], torch.logaddexp(stays[:, 1:], grows[:, :-1]), grows[:, -1:]], dim=1)
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
