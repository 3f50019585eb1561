r"""A thin target out of a thick label and its neighbours: where within a slab one label gives way to the next.

A slab whose neighbours have its own label has it on every slice. Where a neighbour's label is another one, a surface
lies somewhere between the middles of the two slabs, and the slices on its far side have the neighbour's label: j
slices at the slab's lower end that of the slab below, k at its upper end that of the slab above, the rest its own. How
many there may be the annotator says, who marks a slab when a share tau of it is lesion: of a marked slab of r slices
at most :math:`r - \lceil r \tau \rceil` are of another label, of one not marked at most
:math:`\lceil r \tau \rceil - 1`.

Before the image is asked, every place of the surface is as likely as another; those within the neighbouring slab leave
this one whole, so that a side's j = 0 has the weight of 1 + the neighbour's most. That alone is a ramp from label to
label. The image is asked through the network: with :math:`p_s` its probabilities on slice s,

.. math:: P(j, k) \propto w_j w_k \left( \prod_{s < j} \frac{p_s(below)}{p_s(own)}
    \prod_{s \ge r - k} \frac{p_s(above)}{p_s(own)} \right)^\lambda

is which surface the network sees, given that the label is right: the expectation step of learning from labels that
are incomplete (Dempster, Laird and Rubin 1977). A slice's target is the probability of each label under P, and no
gradient goes through it. By default :math:`\lambda = 0`, the ramp: a network in training sees fewer
lesions than there are, and asked for its opinion it may be taught that they are short.

Shapes: N blocks or crops, K classes (background first) or regions, D slabs of r slices, Y X rows and columns; Q
questions of A answers, see :func:`~.annotation.as_questions`.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from nnunetv2_cfseg.losses.annotation import (
    Annotation,
    as_questions,
    in_full_precision,
    log_answers,
    read_annotation,
)
from nnunetv2_cfseg.losses.slab import SlabOperator
from nnunetv2_cfseg.losses.slices import repeat_slices, split_slabs


class SlabTransition(SlabOperator):
    """The thick label, repeated, with soft slices where it changes.

    Args:
        factor: r.
        regions: see :class:`~.slab.SlabOperator`.
        ignore_label: see :class:`~.slab.SlabOperator`.
        tau: share of a slab from which on it is marked, in (0, 1).
        evidence: lambda, at least 0; 0 asks the neighbouring labels alone.

    Raises:
        ValueError: any of these out of range.
    """

    reads_neighbours = True

    def __init__(
        self,
        *,
        factor: int,
        regions: bool = False,
        ignore_label: int | None = None,
        tau: float = 0.5,
        evidence: float = 0.0,
    ) -> None:
        super().__init__(factor=factor, regions=regions, ignore_label=ignore_label)
        if not isinstance(tau, (int, float)) or not 0 < tau < 1:
            raise ValueError(f"tau must be above 0 and below 1, got {tau}")
        if not 0 <= evidence < math.inf:
            raise ValueError(f"evidence must be at least 0 and finite, got {evidence}")
        marked = max(1, math.ceil(factor * tau))  # slices of a slab that is just marked
        self.most = (marked - 1, factor - marked)  # slices of another label in a slab that is not, or is, marked
        self.evidence = evidence

    def forward(self, thin_logits: Tensor, thick_target: Tensor) -> tuple[Tensor, Annotation]:
        """The thin logits as they are, and what the slices are likely to be.

        Args:
            thin_logits: (N, K, r D, Y, X).
            thick_target: labels (N, 1, D + 2, Y, X) or regions (N, R or R + 1, D + 2, Y, X), with the slab before and
                the one after.

        Raises:
            ValueError: the shapes do not fit, or the last slab is incomplete.
        """
        slabs = split_slabs(thin_logits, self.factor)  # (N, K, D, r, Y, X)
        shape = (*slabs.shape[:2], slabs.shape[2] + 2, *slabs.shape[4:])
        thick = read_annotation(thick_target, shape, regions=self.regions, ignore_label=self.ignore_label)
        with torch.no_grad():
            truth = as_questions(thick.truth, regions=self.regions)  # (N, Q, A, D + 2, Y, X)
            below, own, above = truth[:, :, :, :-2], truth[:, :, :, 1:-1], truth[:, :, :, 2:]
            known = None
            if thick.known is not None:  # nobody knows where a label that nobody gave begins
                known = thick.known[:, :, 1:-1]
                below = torch.where(thick.known[:, :, None, :-2], below, own)
                above = torch.where(thick.known[:, :, None, 2:], above, own)
                known = repeat_slices(known, self.factor)
            logits = in_full_precision(slabs.detach()).flatten(2, 3)
            log_p = split_slices(log_answers(logits, regions=self.regions), self.factor)  # (N, Q, A, D, r, Y, X)
            of_below, of_above = self._posterior(log_p, below, own, above)  # (N, Q, 1, D, r, Y, X)
            soft = (
                of_below * below.unsqueeze(4)
                + of_above * above.unsqueeze(4)
                + (1 - of_below - of_above) * own.unsqueeze(4)
            ).flatten(3, 4)
        return thin_logits, Annotation(soft[:, :, 1] if self.regions else soft[:, 0], known, self.regions)

    def _posterior(self, log_p: Tensor, below: Tensor, own: Tensor, above: Tensor) -> tuple[Tensor, Tensor]:
        """Probability of each slice to have the label of the slab below, and of the one above.

        Args:
            log_p: (N, Q, A, D, r, Y, X).
            below: one answer of A, (N, Q, A, D, Y, X) bool, and so ``own`` and ``above``.

        Returns:
            Two (N, Q, 1, D, r, Y, X).
        """
        r, (most_unmarked, most_marked) = self.factor, self.most
        of_own = (log_p * own.unsqueeze(4)).sum(2)
        # By how much the neighbour's label is likelier on the slab's outermost j slices: (N, Q, D, r, Y, X)
        gain_below = (((log_p * below.unsqueeze(4)).sum(2) - of_own) * self.evidence).cumsum(3)
        gain_above = (((log_p * above.unsqueeze(4)).sum(2) - of_own) * self.evidence).flip(3).cumsum(3)

        def most(answer: Tensor) -> Tensor:
            return torch.where(answer[:, :, 0], most_unmarked, most_marked)  # (N, Q, D, Y, X)

        changes_below, changes_above = ((own & side).sum(2) == 0 for side in (below, above))
        # The neighbour may hold the surface as well; then this slab has none of its label.
        prior_below = torch.where(changes_below, (1 + most(below)).to(log_p.dtype).log(), 0)
        prior_above = torch.where(changes_above, (1 + most(above)).to(log_p.dtype).log(), 0)
        impossible = log_p.new_tensor(-math.inf)
        scores, places = [], []
        for j in range(max(self.most) + 1):
            for k in range(max(self.most) + 1 - j):
                score = (gain_below[:, :, :, j - 1] if j else prior_below) + (
                    gain_above[:, :, :, k - 1] if k else prior_above
                )
                possible = most(own) >= j + k
                if j:
                    possible = possible & changes_below
                if k:
                    possible = possible & changes_above
                scores.append(torch.where(possible, score, impossible))
                places.append([[s < j for s in range(r)], [s >= r - k for s in range(r)]])
        posterior = torch.stack(scores, dim=-1).softmax(-1)  # (N, Q, D, Y, X, places)
        slices = posterior @ log_p.new_tensor(places, dtype=log_p.dtype).flatten(1)  # (N, Q, D, Y, X, 2 r)
        of_below, of_above = slices.unflatten(-1, (2, r)).movedim((-2, -1), (0, 4)).unsqueeze(3)
        return of_below, of_above


def split_slices(x: Tensor, factor: int) -> Tensor:
    """(N, Q, A, r D, Y, X) to (N, Q, A, D, r, Y, X)."""
    return x.unflatten(3, (-1, factor))
