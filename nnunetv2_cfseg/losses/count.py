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

A slice can only have a label that was marked within ``reach`` voxels in its slab, in the one before or in the one
after. Where they all are the same, so are the slices.

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

from nnunetv2_cfseg.losses.annotation import Annotation, as_questions, in_full_precision, log_answers
from nnunetv2_cfseg.losses.transition import SlabTransition

#: Probability of what a ramp says cannot be; a mark may say otherwise.
LOG_IMPOSSIBLE = -7.0


class SlabCount(SlabTransition):
    """What the slices of a slab are likely to be, given how it was marked and what the network sees.

    Args:
        factor: r.
        regions: see :class:`~.slab.SlabOperator`.
        ignore_label: see :class:`~.slab.SlabOperator`.
        tau: share of a slab from which on it is marked, in (0, 1).
        begin: share of the training after which the network is asked, in [0, 1].
        end: share of the training from which on only the network is asked, from ``begin`` to 1.
        reach: voxels in the plane within which another mark leaves a slab's slices open, at least 0.

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
        begin: float = 0.25,
        end: float = 0.5,
        reach: int = 1,
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
        _, ramp = super().forward(thin_logits, thick_target)
        share = self.share_of_likelihood(progress)
        if not share:
            return thin_logits, ramp
        with torch.no_grad():
            thick = self.read_slabs(thin_logits, thick_target)
            own = as_questions(thick.truth, regions=self.regions)  # (N, Q, A, D + 2, Y, X)
            possible = answers_nearby(own, thick.known, reach=self.reach)  # (N, Q, A, D, Y, X)
            is_open = possible.sum(2) > 1  # (N, Q, D, Y, X), M of them
            if thick.known is not None:
                is_open = is_open & thick.known[:, :, 1:-1]
            own, possible = (answers.movedim(2, -1)[is_open] for answers in (own[:, :, :, 1:-1], possible))
            log_p = self._columns(log_answers(in_full_precision(thin_logits), regions=self.regions))[is_open]
            truth = self._columns(as_questions(ramp.truth, regions=self.regions)).clone()
            of_ramp = truth[is_open]  # (M, A, r)
            if seen is not None:
                is_seen = self._columns(seen.unsqueeze(1)).expand(*is_open.shape, 1, self.factor)[is_open]
                log_p = torch.where(is_seen, log_p, of_ramp.log().clamp_min(LOG_IMPOSSIBLE))
            likely = posterior(log_p, own, possible, marked=self.marked)
            truth[is_open] = (1 - share) * of_ramp + share * likely.to(of_ramp.dtype)
            truth = truth.permute(0, 1, 5, 2, 6, 3, 4).flatten(3, 4)  # (N, Q, A, r D, Y, X)
        return thin_logits, Annotation(truth[:, :, 1] if self.regions else truth[:, 0], ramp.known, self.regions)

    def _columns(self, answers: Tensor) -> Tensor:
        """(N, Q, A, r D, Y, X) to (N, Q, D, Y, X, A, r)."""
        return answers.unflatten(3, (-1, self.factor)).permute(0, 1, 3, 5, 6, 2, 4)

    def share_of_likelihood(self, progress: float) -> float:
        """Of the target, at a point of the training."""
        if progress >= self.end:
            return 1.0
        return max(0.0, progress - self.begin) / (self.end - self.begin) if progress > self.begin else 0.0


def posterior(log_p: Tensor, own: Tensor, possible: Tensor, *, marked: int) -> Tensor:
    """Probability of each answer on each slice, given the mark of the slab.

    Args:
        log_p: what the network sees, log-probabilities (M, A, r).
        own: the mark, one of A, (M, A) bool; the first is background, or outside.
        possible: answers that slices may have, the mark and at least another one, (M, A) bool.
        marked: k, slices of a slab that is just marked.

    Returns:
        (M, A, r), summing to 1 over the answers.
    """
    log_p = log_p.masked_fill(~possible.unsqueeze(2), -torch.inf)
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
    size, padding = (3, 2 * reach + 1, 2 * reach + 1), (0, reach, reach)
    nearby = F.max_pool3d(given.flatten(1, 2).float(), size, stride=1, padding=padding) > 0
    return nearby.unflatten(1, own.shape[1:3])
