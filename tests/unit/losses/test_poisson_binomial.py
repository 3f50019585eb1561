"""How many slices of a slab are lesion: by hand, against sums over all possibilities, and what stays as it is."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from fixtures.slab_targets import thick_target
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from nnunetv2_cfseg.losses.label_space import LabelSpace
from nnunetv2_cfseg.losses.operators import slab_operator
from nnunetv2_cfseg.losses.poisson_binomial import (
    PoissonBinomialSlab,
    classes_nearby,
    count_probabilities,
    posterior,
    posterior_of_count,
)
from nnunetv2_cfseg.losses.segmentation import SegmentationLoss, cross_entropy_loss

Example = Callable[..., tuple[Tensor, Tensor]]
logits_of_slices = st.lists(st.floats(-12, 12), min_size=1, max_size=6)


def along_z(*values: int) -> Tensor:
    return torch.tensor(values).view(1, 1, -1, 1, 1)


def lesion_of(logits: Tensor, thick: Tensor, *, progress: float = 1.0, **parameters: Any) -> Tensor:
    """(r D,) of one column, class 1."""
    _, target = slab_operator("count", **parameters)(logits, thick_target(logits, thick), progress=progress)
    return target.probabilities[0, 1, :, 0, 0]


class TestCounts:
    def test_of_two_slices_by_hand(self) -> None:
        p = torch.tensor([[0.2, 0.6]], dtype=torch.float64)
        assert count_probabilities(p, 1 - p)[0].tolist() == pytest.approx([0.32, 0.56, 0.12])

    @given(logits_of_slices)
    def test_are_sums_over_all_possibilities(self, logits: list[float]) -> None:
        p = torch.tensor(logits, dtype=torch.float64).sigmoid()
        expected = torch.zeros(len(logits) + 1, dtype=torch.float64)
        for slices in itertools.product([0, 1], repeat=len(logits)):
            inside = torch.tensor(slices)
            expected[inside.sum()] += torch.where(inside == 1, p, 1 - p).prod()
        torch.testing.assert_close(count_probabilities(p[None], 1 - p[None])[0], expected)


class TestPosterior:
    def test_of_two_slices_by_hand(self) -> None:
        # One of two at least: 0.08 + 0.48 + 0.12 = 0.68, of which the first slice has 0.2 and the second 0.6
        logits = torch.tensor([[0.2, 0.6], [0.2, 0.6]], dtype=torch.float64).logit()
        inside = posterior_of_count(logits, torch.tensor([[True], [False]]), marked=1)
        assert inside[0].tolist() == pytest.approx([0.2 / 0.68, 0.6 / 0.68])
        assert inside[1].tolist() == pytest.approx([0, 0])

    @given(logits_of_slices, st.booleans(), st.integers(1, 6))
    def test_is_the_sum_over_all_possibilities(self, logits: list[float], is_marked: bool, marked: int) -> None:
        marked = min(marked, len(logits))
        p = torch.tensor(logits, dtype=torch.float64).sigmoid()
        expected, total = torch.zeros(len(logits), dtype=torch.float64), 0.0
        for slices in itertools.product([0, 1], repeat=len(logits)):
            inside = torch.tensor(slices)
            if (inside.sum() >= marked) == is_marked:
                weight = torch.where(inside == 1, p, 1 - p).prod()
                total, expected = total + weight, expected + weight * inside
        computed = posterior_of_count(
            torch.tensor([logits], dtype=torch.float64), torch.tensor([[is_marked]]), marked=marked
        )
        torch.testing.assert_close(computed[0], expected / total, atol=1e-9, rtol=1e-6)

    def test_a_network_that_sees_nothing_is_told(self) -> None:
        # Each set of three slices of five is as likely: three fifths each
        inside = posterior_of_count(torch.full((1, 5), -40.0), torch.tensor([[True]]), marked=3)
        assert inside[0].tolist() == pytest.approx([0.6] * 5, abs=1e-5)

    def test_other_classes_share_what_is_left(self) -> None:
        p = torch.tensor([[0.2, 0.5, 0.3]]).unsqueeze(2)  # one slice
        own = torch.tensor([[False, True, False]])
        assert posterior(p, own, marked=1)[0, :, 0].tolist() == pytest.approx([0, 1, 0])
        two = 7 * p.expand(1, 3, 2)  # up to a factor
        truth = posterior(two, own, marked=1)[0, :, 0]
        assert truth.tolist() == pytest.approx([(1 - 0.5 / 0.75) * 0.4, 0.5 / 0.75, (1 - 0.5 / 0.75) * 0.6])
        unmarked = posterior(two, torch.tensor([[True, False, False]]), marked=2)[0, :, 0]
        lesion = (0.8 - 0.64) / (1 - 0.64)
        assert unmarked.tolist() == pytest.approx([1 - lesion, lesion * 5 / 8, lesion * 3 / 8])


class TestShift:
    def test_follows_what_marks_say_in_all(self) -> None:
        """Nine slabs of one slice are open: lesion has 4.5 of them before their marks are known, and all thereafter."""
        operator = PoissonBinomialSlab(factor=1, coupling=0)
        thick = along_z(0, 1, 1, 1).expand(1, 1, 4, 3, 3)
        logits = torch.zeros(1, 2, 2, 3, 3)
        operator(logits, thick_target(logits, thick))
        ratio = ((9 + 1) / (4.5 + 1)) / ((0 + 1) / (4.5 + 1))
        assert operator.shift[0].tolist() == pytest.approx([0, 0.1 * math.log(ratio)])

    def test_ends_where_marks_are_likeliest(self) -> None:
        """A network that is right but for a constant gets it back."""
        rng = torch.Generator().manual_seed(0)
        operator, factor, size = PoissonBinomialSlab(factor=4, coupling=0, reach=30), 4, 40
        true = 1.5 * torch.randn(1, 1, factor * (size + 2), 10, 10, generator=rng)
        lesion = torch.rand(true.shape, generator=rng) < true.sigmoid()
        thick = (lesion.unflatten(2, (-1, factor)).sum(3) >= 2).long()
        logits = torch.cat([torch.zeros_like(true), true - 1.2], dim=1)[:, :, factor:-factor]
        for _ in range(300):
            operator(logits, thick_target(logits, thick))
        assert operator.shift[0].tolist() == pytest.approx([0, 1.2], abs=0.15)

    def test_each_region_has_its_own(self, example: Example) -> None:
        operator = PoissonBinomialSlab(factor=3)
        logits, _ = example(shape=(9, 4, 8))
        _, thick = example(shape=(5, 4, 8), regions=True)
        operator(logits, thick_target(logits, thick, LabelSpace(regions=True)))
        assert operator.shift.shape == (logits.shape[1], 2)
        assert not operator.shift[:, 0].any()
        assert len(operator.shift[:, 1].unique()) > 1

    def test_stays_within_its_limit(self) -> None:
        operator = PoissonBinomialSlab(factor=1)
        logits = torch.tensor([9.0, -9]).view(1, 2, 1, 1, 1).expand(1, 2, 4, 9, 9)
        thick = thick_target(logits, along_z(0, 1, 1, 1, 1, 0).expand(1, 1, 6, 9, 9))
        for _ in range(200):
            operator(logits, thick)
        assert operator.shift.max() == 4


class TestTarget:
    @pytest.mark.parametrize("label", [0, 1, 2])
    def test_cross_entropy_has_the_gradient_of_the_likelihood(self, label: int) -> None:
        logits = torch.randn(1, 3, 4, 1, 1, dtype=torch.float64, requires_grad=True)
        thick = along_z(1 if label != 1 else 2, label, 0 if label else 2)  # every label is nearby
        operator = slab_operator("count", factor=4, coupling=0)
        cross_entropy_loss(logits, operator(logits, thick_target(logits, thick))[1]).backward()
        same = logits.detach().clone().requires_grad_()
        p = same.softmax(1)[0, :, :, 0, 0]
        inside = (p[label] if label else 1 - p[0]).unsqueeze(0)
        counts = count_probabilities(inside, 1 - inside)[0]
        likelihood = counts[2:].sum() if label else counts[:2].sum()
        (-likelihood.log() / 4).backward()  # the cross-entropy is a mean over voxels
        torch.testing.assert_close(logits.grad, same.grad)

    def test_only_labels_that_are_nearby(self) -> None:
        logits = torch.tensor([0.0, 0, 9]).view(1, 3, 1, 1, 1).expand(1, 3, 5, 1, 1)
        _, target = slab_operator("count", factor=5)(logits, thick_target(logits, along_z(0, 1, 1)))
        assert not target.probabilities[0, 2].any()

    def test_what_is_not_seen_is_as_the_ramp_has_it(self) -> None:
        seen = torch.tensor([False, True, True, True, True]).view(1, 1, 5, 1, 1)
        sure = torch.tensor([9.0, -9, -9, 9, 9])  # whatever stands where nothing was seen
        logits = torch.stack([torch.zeros(5), sure]).view(1, 2, 5, 1, 1)
        operator, thick = slab_operator("count", factor=5), thick_target(logits, along_z(1, 1, 0))
        lesion = operator(logits, thick, seen=seen)[1].probabilities[0, 1, :, 0, 0]
        assert lesion.tolist() == pytest.approx([1, 0, 0, 1, 1], abs=1e-2)
        between = thick_target(logits, along_z(0, 1, 0))
        for_sure = operator(logits, between, seen=seen)[1].probabilities[0, 1, :, 0, 0]
        assert lesion[0] > for_sure[0]  # a ramp on both sides

    def test_changes_from_the_ramp_to_the_likelihood(self) -> None:
        logits, thick = torch.randn(1, 2, 10, 1, 1), along_z(0, 0, 1, 1)
        parameters = {"factor": 5, "begin": 0.2, "end": 0.6}
        _, ramp = slab_operator("transition", factor=5)(logits, thick_target(logits, thick))
        first, half, last = (lesion_of(logits, thick, progress=at, **parameters) for at in (0.2, 0.4, 0.6))
        torch.testing.assert_close(first, ramp.probabilities[0, 1, :, 0, 0])
        assert not torch.allclose(first, last)
        torch.testing.assert_close(half, (first + last) / 2)

    def test_may_begin_at_once(self) -> None:
        logits, thick = torch.randn(1, 2, 10, 1, 1), along_z(0, 0, 1, 1)
        at_once = lesion_of(logits, thick, progress=0.0, factor=5, begin=0, end=0)
        torch.testing.assert_close(at_once, lesion_of(logits, thick, factor=5))

    def test_tau_says_how_many(self) -> None:
        # Two slices of five are enough, and seen: the other ones may be anything
        seen = torch.tensor([-9.0, -9, -9, 9, 9])
        logits = torch.stack([torch.zeros(5), seen]).view(1, 2, 5, 1, 1)
        lesion = lesion_of(logits, along_z(0, 1, 1), factor=5, tau=0.4)
        torch.testing.assert_close(lesion, seen.sigmoid(), atol=0.05, rtol=0)
        assert lesion_of(logits, along_z(0, 1, 1), factor=5, tau=0.6)[:3].sum() == pytest.approx(1, abs=0.1)

    @pytest.mark.parametrize(("regions", "ignore_label"), [(False, None), (False, 7), (True, None), (True, 7)])
    def test_is_a_distribution_and_the_label_where_all_marks_are_the_same(
        self, example: Example, regions: bool, ignore_label: int | None
    ) -> None:
        logits, _ = example(shape=(9, 4, 8))
        _, thick = example(shape=(5, 4, 8), regions=regions, ignore_label=ignore_label)
        thick[..., :4] = thick[:, :, 2:3, :1, :1]
        read = thick_target(logits, thick, LabelSpace(regions, ignore_label))
        truth = slab_operator("count", factor=3)(logits, read)[1].probabilities
        assert truth.shape == logits.shape
        assert bool(((truth >= 0) & (truth <= 1)).all())
        if not regions:
            torch.testing.assert_close(truth.sum(1), torch.ones(2, 9, 4, 8, dtype=torch.float64))
        ramp = slab_operator("transition", factor=3)(logits, read)[1].probabilities
        sure = (..., slice(0, 2))  # out of reach of the other half
        torch.testing.assert_close(truth[sure], ramp[sure].to(truth.dtype))

    def test_upright_walls_are_known(self) -> None:
        thick = torch.zeros(1, 1, 3, 1, 9, dtype=torch.long)
        thick[..., 4:] = 1  # a wall, in all slabs at the same place
        logits = torch.randn(1, 2, 5, 1, 9)
        _, target = slab_operator("count", factor=5)(logits, thick_target(logits, thick))
        assert bool((target.probabilities[0, 1, :, 0] == (torch.arange(9) >= 4)).all())
        assert not target.soft.any()
        thick[0, 0, 2, 0, 4] = 0  # and a step in the slab above
        _, target = slab_operator("count", factor=5, reach=1)(logits, thick_target(logits, thick))
        assert target.soft[0, 0, 0, 0].tolist() == [False] * 3 + [True] * 3 + [False] * 3

    def test_slabs_before_and_after_say_where_the_lesion_is(self) -> None:
        logits = torch.zeros(1, 2, 4, 1, 1)
        lesion = lesion_of(logits, along_z(1, 1, 0), factor=4)
        assert bool((lesion.diff() < 0).all())
        apart = lesion_of(logits, along_z(1, 1, 0), factor=4, coupling=0)
        torch.testing.assert_close(apart, apart[:1].expand(4))
        # One of one slice is lesion, or not: then nobody else is asked
        assert lesion_of(torch.zeros(1, 2, 1, 1, 1), along_z(0, 1, 0), factor=1).tolist() == pytest.approx([1])

    def test_coupling_is_of_log_odds_and_halves_with_each_slice(self) -> None:
        operator = PoissonBinomialSlab(factor=3, coupling=0.8)
        lesion, background = torch.tensor([[False, True]]), torch.tensor([[True, False]])
        for above, expected in ((lesion, [1.0, 0.8, 1.0]), (background, [0.6, 0, -0.6])):
            odds = operator.odds_of_neighbours(lesion, lesion, above)
            assert odds.log().flatten().tolist() == pytest.approx(expected, abs=1e-6)

    def test_no_gradient_goes_through_it(self) -> None:
        logits = torch.randn(1, 2, 5, 1, 1, requires_grad=True)
        _, target = slab_operator("count", factor=5)(logits, thick_target(logits, along_z(0, 1, 0)))
        assert not target.probabilities.requires_grad

    @pytest.mark.parametrize("regions", [False, True])
    def test_is_finite_where_probabilities_are_zero_and_one(self, example: Example, regions: bool) -> None:
        thin, _ = example(shape=(6, 2, 2))
        _, thick = example(shape=(4, 2, 2), regions=regions)
        extreme = (1e4 * thin.sign()).float().requires_grad_()
        labels = LabelSpace(regions)
        compared = slab_operator("count", factor=3)(extreme, thick_target(extreme, thick, labels))
        value = SegmentationLoss(labels)(*compared)
        value.backward()
        assert value.isfinite()
        assert extreme.grad.isfinite().all()

    def test_half_precision(self, example: Example) -> None:
        thin, _ = example(shape=(10, 8, 8))
        _, thick = example(shape=(4, 8, 8))
        half = thin.bfloat16()
        read = thick_target(half, thick)
        _, target = slab_operator("count", factor=5)(half, read)
        _, expected = slab_operator("count", factor=5)(half.float(), read)
        torch.testing.assert_close(target.probabilities, expected.probabilities)


class TestWhatALikelihoodKnows:
    def test_of_all_surfaces_the_true_one_is_the_only_one_that_fits_every_slab(self) -> None:
        """A flat surface, slabs that begin anywhere: a network that draws it a slice off is wrong somewhere."""
        factor, size = 5, 30

        def loss(offset: int) -> float:
            total = 0.0
            for begin in range(factor):
                z = torch.arange(begin, begin + size)
                thick = (z >= 17).view(-1, factor).sum(1) >= 3
                seen = 12.0 * torch.where(z >= 17 + offset, 1, -1)
                slabs = seen.view(-1, factor)
                counts = count_probabilities(slabs.sigmoid(), (-slabs).sigmoid())
                total -= float(torch.where(thick, counts[:, 3:].sum(1), counts[:, :3].sum(1)).log().sum())
            return total

        losses = {offset: loss(offset) for offset in range(-3, 4)}
        assert min(losses, key=losses.__getitem__) == 0
        assert losses[0] < 0.01
        assert losses[1] > 5
        assert losses[-1] > 5

    @settings(max_examples=25)
    @given(st.integers(1, 4), st.integers(0, 2**31 - 1))
    def test_slabs_are_likely_to_be_marked_as_they_were(self, factor: int, seed: int) -> None:
        rng = torch.Generator().manual_seed(seed)
        logits = 30 * torch.randn(1, 2, 3 * factor, 4, 4, dtype=torch.float64, generator=rng)
        thick = torch.randint(2, (1, 1, 5, 4, 4), generator=rng)
        _, target = slab_operator("count", factor=factor)(logits, thick_target(logits, thick))
        slices = target.probabilities[0, 1].view(3, factor, 4, 4).sum(1)
        needed = math.ceil(factor / 2)
        assert bool((slices[thick[0, 0, 1:-1] == 1] >= needed - 1e-6).all())
        assert bool((slices[thick[0, 0, 1:-1] == 0] <= needed - 1 + 1e-6).all())


def marked_nearby(label: Tensor, *, reach: int, ignore_label: int | None = None) -> Tensor:
    """(2, D, Y, X), which of two classes were marked near a slab, from labels (D + 2, Y, X)."""
    read = thick_target(
        torch.zeros(1, 2, 1, *label.shape[1:]), label[None, None], LabelSpace(ignore_label=ignore_label)
    )
    return classes_nearby(read, reach=reach)[0, 0]


class TestClassesNearby:
    def test_in_the_plane_and_along_z(self) -> None:
        label = torch.zeros(4, 5, 5, dtype=torch.long)
        label[0, 2, 2] = 1
        expected = torch.zeros(2, 5, 5, dtype=torch.bool)
        expected[0, 1:4, 1:4] = True
        background, lesion = marked_nearby(label, reach=1)
        assert bool(background.all())
        assert bool((lesion == expected).all())
        expected[0] = False
        expected[0, 2, 2] = True
        assert bool((marked_nearby(label, reach=0)[1] == expected).all())

    def test_where_nobody_looked_there_is_none(self) -> None:
        label = torch.tensor([0, 0, 7, 1]).view(4, 1, 1)
        background, lesion = marked_nearby(label, reach=0, ignore_label=7)[:, :, 0, 0].tolist()
        assert background == [True, True]
        assert lesion == [False, True]


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"begin": 0.6, "end": 0.5}, "begin and end must be 0 <= begin <= end <= 1, got 0.6 and 0.5"),
        ({"end": 1.5}, "begin and end must be 0 <= begin <= end <= 1, got 0.1 and 1.5"),
        ({"reach": -1}, "reach must be >= 0 voxels, got -1"),
        ({"coupling": -1}, "coupling must be finite and >= 0, got -1"),
        ({"tau": 0}, "tau must be above 0 and at most 1, got 0"),
        ({"temperature": 1}, "slab operator count takes begin and coupling and end and reach and tau, got temperature"),
    ],
)
def test_refuses(parameters: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}$"):
        slab_operator("count", factor=5, **parameters)
