r"""A thin target out of a thick label and its neighbours: where within a slab one label gives way to the next.

A slab whose neighbours have its own label has it on every slice. Where a neighbour's label is another one, a surface
lies somewhere between the middles of the two slabs, and the slices on its far side have the neighbour's label: j
slices at the slab's lower end that of the slab below, k at its upper end that of the slab above, the rest its own. How
many there may be the annotator says, who marks a slab when a share tau of it is lesion, as the class that fills most of
that: of a marked slab of r slices at most :math:`r - \lceil r \tau \rceil` are background, and of the others no more
are of another class than of its own; of one not marked at most :math:`\lceil r \tau \rceil - 1` are lesion.

Every place of the surface is as likely as another; those within the neighbouring slab leave this one whole, so that a
side's j = 0 has the weight of 1 + the neighbour's most. A slice's target is the probability of each label: a ramp from
one to the other.

Shapes: N blocks or crops, K classes (background first) or regions, D slabs of r slices, Y X rows and columns; Q
questions of A answers, see :func:`~.targets.one_hot_groups`.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from math import ceil

import torch
from torch import Tensor

from nnunetv2_cfseg.losses.slab import SlabOperator
from nnunetv2_cfseg.losses.slices import repeat_slices
from nnunetv2_cfseg.losses.targets import Target, one_hot_groups, read_target

#: What a neighbouring slab is: of the same label, another one's and not marked, another one's and marked.
SAME, BACKGROUND, LESION = 0, 1, 2


@dataclass(frozen=True)
class Marks:
    """How slabs were marked, each one of A answers, (N, Q, A, D, Y, X) bool.

    Attributes:
        below: the slab before; the slab's own mark where nobody knows.
        own: the slab's.
        above: the slab after, as ``below``.
        known: (N, 1, D, Y, X) bool, somebody marked the slab; None where that is so everywhere.
    """

    below: Tensor
    own: Tensor
    above: Tensor
    known: Tensor | None

    def change(self) -> Tensor:
        """Where the slab before or the one after has another mark, (N, Q, D, Y, X) bool."""
        return ~((self.below & self.own).any(2) & (self.above & self.own).any(2))

    def at(self, is_open: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Below, own and above, (M, A), of the M slabs where ``is_open`` (N, Q, D, Y, X)."""
        below, own, above = (mark.movedim(2, -1)[is_open] for mark in (self.below, self.own, self.above))
        return below, own, above


class LinearRampSlab(SlabOperator):
    """The thick label, repeated, with soft slices where it changes.

    Args:
        factor: r.
        regions: see :class:`~.slab.SlabOperator`.
        ignore_label: see :class:`~.slab.SlabOperator`.
        tau: share of a slab from which on it is marked, in (0, 1].

    Attributes:
        marked: slices of lesion in a slab that is just marked.

    Raises:
        ValueError: any of these out of range.
    """

    reads_neighbours = True
    ramps: Tensor

    def __init__(
        self, *, factor: int, regions: bool = False, ignore_label: int | None = None, tau: float = 0.5
    ) -> None:
        super().__init__(factor=factor, regions=regions, ignore_label=ignore_label)
        if not isinstance(tau, (int, float)) or not 0 < tau <= 1:
            raise ValueError(f"tau must be above 0 and at most 1, got {tau}")
        self.marked = max(1, ceil(factor * tau))
        self.register_buffer("ramps", ramps(factor, self.marked), persistent=False)

    def forward(
        self, thin_logits: Tensor, thick_target: Tensor, *, progress: float = 1.0, seen: Tensor | None = None
    ) -> tuple[Tensor, Target]:
        """The thin logits as they are, and what the slices are likely to be.

        Args:
            thin_logits: (N, K, r D, Y, X).
            thick_target: labels (N, 1, D + 2, Y, X) or regions (N, R or R + 1, D + 2, Y, X), with the slab before and
                the one after.
            progress: not looked at, and neither is ``seen``.

        Raises:
            ValueError: the shapes do not fit, or the last slab is incomplete.
        """
        marks = self.read_marks(self.read_slabs(thin_logits, thick_target))
        is_open = marks.change()
        return thin_logits, self.annotate(marks, is_open, self.ramp(*marks.at(is_open)))

    def ramp(self, below: Tensor, own: Tensor, above: Tensor) -> Tensor:
        """Probability of each answer on each slice, (M, A, r), of slabs so marked, (M, A) each."""
        shares = self.ramps[(~own[:, 0]).long(), _kind(below, own), _kind(above, own)]  # (M, 3, r)
        return torch.stack([below, own, above], dim=2).to(shares.dtype) @ shares

    def annotate(self, marks: Marks, is_open: Tensor, answers: Tensor) -> Target:
        """The annotation of thin slices: each slab's own mark, repeated, but where it is open.

        Args:
            marks: of the slabs.
            is_open: M of them, (N, Q, D, Y, X) bool.
            answers: of the slices of those, (M, A, r).
        """
        truth = marks.own.to(answers.dtype).repeat_interleave(self.factor, dim=3)
        self.columns(truth)[is_open] = answers
        known = None if marks.known is None else repeat_slices(marks.known, self.factor)
        unsure = is_open.repeat_interleave(self.factor, dim=2)
        return Target(truth[:, :, 1] if self.regions else truth[:, 0], known, self.regions, unsure)

    def columns(self, x: Tensor) -> Tensor:
        """A view of (N, Q, A, r D, Y, X) as (N, Q, D, Y, X, A, r)."""
        return x.unflatten(3, (-1, self.factor)).permute(0, 1, 3, 5, 6, 2, 4)

    def read_marks(self, thick: Target) -> Marks:
        """The marks of slabs, out of an annotation of :meth:`read_slabs`, with one more slab at either end."""
        truth = one_hot_groups(thick.truth, regions=self.regions)  # (N, Q, A, D + 2, Y, X)
        below, own, above = truth[:, :, :, :-2], truth[:, :, :, 1:-1], truth[:, :, :, 2:]
        if thick.known is None:
            return Marks(below, own, above, None)
        known = thick.known.unsqueeze(1)  # nobody knows where a label that nobody gave begins
        below = torch.where(known[:, :, :, :-2], below, own)
        above = torch.where(known[:, :, :, 2:], above, own)
        return Marks(below, own, above, thick.known[:, :, 1:-1])

    def read_slabs(self, thin_logits: Tensor, thick_target: Tensor) -> Target:
        """The thick annotation (N, K, D + 2, Y, X) of a prediction's slabs, of the one before and the one after."""
        n, channels, thin_slices, *in_plane = thin_logits.shape
        if thin_slices % self.factor:
            raise ValueError(f"the last slab must be whole, {self.factor} slices, got {thin_slices} slices in all")
        shape = (n, channels, thin_slices // self.factor + 2, *in_plane)
        return read_target(thick_target, shape, regions=self.regions, ignore_label=self.ignore_label)


def ramps(factor: int, marked: int) -> Tensor:
    """Probability of each slice of a slab to have the label of the slab below, its own, and that of the slab above.

    Args:
        factor: r.
        marked: slices of lesion in a slab that is just marked.

    Returns:
        (2, 3, 3, 3, r): the slab is marked or not; what the slab below is, and the one above; whose label; slices.
    """

    def fits(own: int, background: int, lesion: int) -> bool:
        """Whether a slab with so many slices of other labels is marked as it is."""
        if own == BACKGROUND:
            return lesion < marked
        return background <= factor - marked and 2 * lesion <= factor - background

    def places_within(neighbour: int, own: int) -> int:
        """Places of a surface within the neighbouring slab, its border with this one included."""
        of_own = ((n, 0) if own == BACKGROUND else (0, n) for n in range(factor + 1))
        return sum(fits(neighbour, background, lesion) for background, lesion in of_own)

    table = torch.zeros(2, 3, 3, 3, factor)
    for own, below, above in product((BACKGROUND, LESION), range(3), range(3)):
        here, total = table[own - BACKGROUND, below, above], 0
        for j, k in product(range(factor + 1), repeat=2):
            if j + k > factor or (j and below == SAME) or (k and above == SAME):
                continue
            background = j * (below == BACKGROUND) + k * (above == BACKGROUND)
            if not fits(own, background, j + k - background):
                continue
            # The neighbour may hold the surface as well; then this slab has none of its label.
            weight = 1 if j or below == SAME else places_within(below, own)
            weight *= 1 if k or above == SAME else places_within(above, own)
            here[0, :j] += weight
            here[1, j : factor - k] += weight
            here[2, factor - k :] += weight
            total += weight
        here /= total
    return table


def _kind(side: Tensor, own: Tensor) -> Tensor:
    """What a neighbouring slab is, (M,), from answers (M, A)."""
    return torch.where((side & own).any(1), SAME, torch.where(side[:, 0], BACKGROUND, LESION))
