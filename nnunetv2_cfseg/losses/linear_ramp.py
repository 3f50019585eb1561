r"""Soft thin targets from a thick label and its neighbours: a ramp where one label changes to the next within a slab.

A slab whose neighbours have the same label has that label on every slice. Where a neighbour's label differs, there is a
surface somewhere between the middles of the two slabs, and the slices beyond it have the neighbour's label: j slices at
the slab's lower end have the label of the slab below, k at its upper end that of the slab above, and the rest its own.
How large j and k may be follows from how annotators mark: they mark a slab if a fraction tau of it is lesion, and give
it the class that fills most of the lesion. So in a marked slab of r slices at most :math:`r - \lceil r \tau \rceil` are
background, and at most half of the others have another class than its own; in an unmarked slab at most
:math:`\lceil r \tau \rceil - 1` are lesion.

Every position of the surface is equally likely. If it lies within the neighbouring slab, this slab is not split, so
j = 0 has the weight of 1 + the largest number of slices that the neighbour may give up. A slice's target is the
probability of each label: a ramp from one to the other.

Shapes: N blocks or crops, K classes (background first) or regions, D slabs of r slices, Y X rows and columns; G groups
of C classes, see :mod:`.label_space`.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from math import ceil

import torch
from torch import Tensor

from nnunetv2_cfseg.losses.label_space import LabelSpace
from nnunetv2_cfseg.losses.slab import SlabOperator
from nnunetv2_cfseg.losses.slices import repeat_slices
from nnunetv2_cfseg.losses.targets import Target

#: A neighbouring slab has the same label, another label without a mark, or another label with a mark.
SAME, BACKGROUND, LESION = 0, 1, 2


@dataclass(frozen=True)
class Marks:
    """How slabs were marked, each as one of C classes, (N, G, C, D, Y, X) bool.

    Attributes:
        below: the slab before; the slab's own mark if that was not annotated.
        own: the slab itself.
        above: the slab after, as ``below``.
        valid: (N, 1, D, Y, X) bool, slabs that were annotated; None if all were.
        labels: what the groups are.
    """

    below: Tensor
    own: Tensor
    above: Tensor
    valid: Tensor | None
    labels: LabelSpace

    @classmethod
    def read(cls, thick: Target) -> Marks:
        """Read the marks of D slabs from a thick target of D + 2 slices."""
        marks = thick.labels.one_hot_groups(thick.probabilities)  # (N, G, C, D + 2, Y, X)
        below, own, above = marks[:, :, :, :-2], marks[:, :, :, 1:-1], marks[:, :, :, 2:]
        if thick.valid is None:
            return cls(below, own, above, None, thick.labels)
        valid = thick.valid.unsqueeze(1)  # it is unknown where the label of a slab without annotation begins
        below = torch.where(valid[:, :, :, :-2], below, own)
        above = torch.where(valid[:, :, :, 2:], above, own)
        return cls(below, own, above, thick.valid[:, :, 1:-1], thick.labels)

    def change(self) -> Tensor:
        """Where the slab before or after has another mark, (N, G, D, Y, X) bool."""
        return ~((self.below & self.own).any(2) & (self.above & self.own).any(2))

    def at(self, is_open: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Below, own and above, (M, C), of the M slabs where ``is_open`` (N, G, D, Y, X)."""
        below, own, above = (mark.movedim(2, -1)[is_open] for mark in (self.below, self.own, self.above))
        return below, own, above


class LinearRampSlab(SlabOperator):
    """The thick label, repeated, with soft slices where it changes.

    Args:
        factor: r.
        tau: fraction of a slab that must be lesion before it is marked, in (0, 1].

    Attributes:
        marked: slices of lesion in a slab that is just marked.

    Raises:
        ValueError: any of these out of range.
    """

    reads_neighbours = True
    ramps: Tensor

    def __init__(self, *, factor: int, tau: float = 0.5) -> None:
        super().__init__(factor=factor)
        if not isinstance(tau, (int, float)) or not 0 < tau <= 1:
            raise ValueError(f"tau must be above 0 and at most 1, got {tau}")
        self.marked = max(1, ceil(factor * tau))
        self.register_buffer("ramps", ramps(factor, self.marked), persistent=False)

    def compare(
        self, thin_logits: Tensor, thick: Target, *, progress: float, seen: Tensor | None
    ) -> tuple[Tensor, Target]:
        """The unchanged thin logits, and the probability of each class on each slice."""
        marks = Marks.read(thick)
        is_open = marks.change()
        return thin_logits, self.soft_target(marks, is_open, self.ramp(*marks.at(is_open)))

    def ramp(self, below: Tensor, own: Tensor, above: Tensor) -> Tensor:
        """Probability of each class on each slice, (M, C, r), of slabs with these marks, (M, C) each."""
        fractions = self.ramps[(~own[:, 0]).long(), _kind(below, own), _kind(above, own)]  # (M, 3, r)
        return torch.stack([below, own, above], dim=2).to(fractions.dtype) @ fractions

    def soft_target(self, marks: Marks, is_open: Tensor, probabilities: Tensor) -> Target:
        """The target of thin slices: each slab's own mark, repeated, except in open slabs.

        Args:
            marks: of the slabs.
            is_open: which M slabs are open, (N, G, D, Y, X) bool.
            probabilities: of the classes on the slices of open slabs, (M, C, r).
        """
        groups = marks.own.to(probabilities.dtype).repeat_interleave(self.factor, dim=3)
        self.columns(groups)[is_open] = probabilities
        valid = None if marks.valid is None else repeat_slices(marks.valid, self.factor)
        soft = is_open.repeat_interleave(self.factor, dim=2)
        channels = groups[:, :, 1] if marks.labels.regions else groups[:, 0]
        return Target(channels, marks.labels, valid=valid, soft=soft)

    def columns(self, x: Tensor) -> Tensor:
        """A view of (N, G, C, r D, Y, X) as (N, G, D, Y, X, C, r)."""
        return x.unflatten(3, (-1, self.factor)).permute(0, 1, 3, 5, 6, 2, 4)


def ramps(factor: int, marked: int) -> Tensor:
    """Probability that each slice of a slab has the label of the slab below, its own, or that of the slab above.

    Args:
        factor: r.
        marked: slices of lesion in a slab that is just marked.

    Returns:
        (2, 3, 3, 3, r): whether the slab is marked; kind of the slab below; kind of the one above; whose label; slices.
    """

    def fits(own: int, background: int, lesion: int) -> bool:
        """Whether a slab with these numbers of slices of other labels still gets its own mark."""
        if own == BACKGROUND:
            return lesion < marked
        return background <= factor - marked and 2 * lesion <= factor - background

    def places_within(neighbour: int, own: int) -> int:
        """Number of places of a surface within the neighbouring slab, including its border with this one."""
        counts = ((n, 0) if own == BACKGROUND else (0, n) for n in range(factor + 1))
        return sum(fits(neighbour, background, lesion) for background, lesion in counts)

    table = torch.zeros(2, 3, 3, 3, factor)
    for own, below, above in product((BACKGROUND, LESION), range(3), range(3)):
        here, total = table[own - BACKGROUND, below, above], 0
        for j, k in product(range(factor + 1), repeat=2):
            if j + k > factor or (j and below == SAME) or (k and above == SAME):
                continue
            background = j * (below == BACKGROUND) + k * (above == BACKGROUND)
            if not fits(own, background, j + k - background):
                continue
            # The surface may also lie in the neighbour; then this slab has no slice of its label.
            weight = 1 if j or below == SAME else places_within(below, own)
            weight *= 1 if k or above == SAME else places_within(above, own)
            here[0, :j] += weight
            here[1, j : factor - k] += weight
            here[2, factor - k :] += weight
            total += weight
        here /= total
    return table


def _kind(side: Tensor, own: Tensor) -> Tensor:
    """The kind of a neighbouring slab (``SAME``, ``BACKGROUND`` or ``LESION``), (M,), from marks (M, C)."""
    return torch.where((side & own).any(1), SAME, torch.where(side[:, 0], BACKGROUND, LESION))
