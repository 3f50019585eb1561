"""Where a label gives way to the next one: by hand, against sums over all places, and what is left alone."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import pytest
import torch
from fixtures.slab_targets import thick_target
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from nnunetv2_cfseg.imaging.slabs import annotate_slabs
from nnunetv2_cfseg.losses.label_space import LabelSpace
from nnunetv2_cfseg.losses.operators import slab_operator
from nnunetv2_cfseg.losses.segmentation import SegmentationLoss

Example = Callable[..., tuple[Tensor, Tensor]]


def along_z(*values: int) -> Tensor:
    return torch.tensor(values).view(1, 1, -1, 1, 1)


def targets(logits: Tensor, thick: Tensor, **parameters: Any) -> Tensor:
    """(K, r D) of one column."""
    _, target = slab_operator("transition", **parameters)(logits, thick_target(logits, thick))
    return target.probabilities[0, :, :, 0, 0]


class TestByHand:
    def test_a_change_is_a_ramp(self) -> None:
        lesion = targets(torch.randn(1, 2, 20, 1, 1), along_z(0, 0, 1, 1, 1, 1), factor=5)[1]
        expected = [0, 0, 0, 0.2, 0.4, 0.6, 0.8, 1, 1, 1, *(10 * [1])]
        assert lesion.tolist() == pytest.approx(expected)

    def test_tau_shifts_it(self) -> None:
        # Marked from two slices on: a marked slab may hold three slices of background, another one of lesion
        lesion = targets(torch.zeros(1, 2, 10, 1, 1), along_z(0, 0, 1, 1), factor=5, tau=0.4)[1]
        assert lesion.tolist() == pytest.approx([0, 0, 0, 0, 0.2, 0.4, 0.6, 0.8, 1, 1])

    @pytest.mark.parametrize("tau", [0.25, 0.5, 0.75])
    def test_from_one_lesion_to_another(self, tau: float) -> None:
        # Whatever share is marked, the class of most of it is the slab's.
        truth = targets(torch.zeros(1, 3, 8, 1, 1), along_z(1, 1, 2, 2), factor=4, tau=tau)
        assert truth[0].tolist() == [0] * 8
        assert truth[1].tolist() == pytest.approx([1, 1, 0.8, 0.6, 0.4, 0.2, 0, 0])


def is_marked(column: list[int], label: int, tau: float) -> bool:
    """Whether an annotator may give a slab of these slices the label."""
    lesion = len(column) - column.count(0)
    if not label:
        return lesion < len(column) * tau
    return lesion >= len(column) * tau and 2 * column.count(label) >= lesion


def places_within(neighbour: int, own: int, factor: int, tau: float) -> int:
    """Places of a surface within the neighbouring slab, its border with this one included."""
    return sum(is_marked([neighbour] * (factor - n) + [own] * n, neighbour, tau) for n in range(factor + 1))


class TestRamp:
    @settings(max_examples=50)
    @given(
        st.lists(st.integers(0, 2), min_size=3, max_size=3),
        st.integers(1, 6),
        st.sampled_from([0.3, 0.5, 0.8, 1.0]),
    )
    def test_is_the_sum_over_all_places(self, slabs: list[int], factor: int, tau: float) -> None:
        below, own, above = slabs
        expected, total = torch.zeros(3, factor), 0
        for j, k in itertools.product(range(factor + 1), repeat=2):
            if j + k > factor or (j and below == own) or (k and above == own):
                continue
            column = [below] * j + [own] * (factor - j - k) + [above] * k
            if not is_marked(column, own, tau):
                continue
            weight = 1 if j or below == own else places_within(below, own, factor, tau)
            weight *= 1 if k or above == own else places_within(above, own, factor, tau)
            total += weight
            expected[column, range(factor)] += weight
        truth = targets(torch.randn(1, 3, factor, 1, 1), along_z(*slabs), factor=factor, tau=tau)
        torch.testing.assert_close(truth, expected / total)


class TestWhatIsLikely:
    @settings(max_examples=50)
    @given(st.integers(1, 6), st.sampled_from([0.3, 0.5, 0.8, 1.0]), st.booleans())
    def test_would_be_annotated_as_it_was(self, factor: int, tau: float, regions: bool) -> None:
        logits = 30 * torch.randn(1, 1 + (not regions), 3 * factor, 4, 4, dtype=torch.float64)
        thick = torch.randint(2, (1, 1, 5, 4, 4))
        operator = slab_operator("transition", factor=factor, tau=tau)
        _, target = operator(logits, thick_target(logits, thick, LabelSpace(regions)))
        lesion = target.probabilities[0, -1].numpy()
        for slab, label in zip(lesion.reshape(3, factor, 4, 4), thick[0, 0, 1:-1].numpy(), strict=True):
            share = slab.mean(0)
            assert ((share >= tau - 1e-9) | (label == 0)).all()
            assert ((share < tau) | (label == 1)).all()
        if tau == 0.5:
            assert (annotate_slabs(lesion.round().astype("uint8"), factor) == thick[0, 0, 1:-1].numpy()).mean() > 0.9

    @pytest.mark.parametrize(("regions", "ignore_label"), [(False, None), (False, 7), (True, None), (True, 7)])
    def test_adds_up_and_is_zero_or_one_away_from_changes(
        self, example: Example, regions: bool, ignore_label: int | None
    ) -> None:
        logits, _ = example(shape=(9, 4, 4))
        _, thick = example(shape=(5, 4, 4), regions=regions, ignore_label=ignore_label)
        thick[..., :2] = thick[:, :, 2:3, :, :2]
        labels = LabelSpace(regions, ignore_label)
        _, target = slab_operator("transition", factor=3)(logits, thick_target(logits, thick, labels))
        truth = target.probabilities
        assert truth.shape == logits.shape
        assert bool(((truth >= 0) & (truth <= 1)).all())
        if not regions:
            torch.testing.assert_close(truth.sum(1), torch.ones(2, 9, 4, 4))
        _, copied = slab_operator("copy", factor=3)(logits, thick_target(logits, thick[:, :, 1:-1], labels))
        assert (target.valid is None) == (ignore_label is None)
        valid = torch.ones_like(truth[:, :1], dtype=torch.bool) if target.valid is None else target.valid
        same = valid.expand_as(truth)[..., :2]
        assert bool((truth[..., :2] == copied.probabilities[..., :2])[same].all())

    def test_no_gradient_goes_through_it(self, example: Example) -> None:
        logits, _ = example(shape=(6, 2, 2))
        logits.requires_grad_()
        _, thick = example(shape=(5, 2, 2))
        _, target = slab_operator("transition", factor=2)(logits, thick_target(logits, thick))
        assert not target.probabilities.requires_grad


def test_unknown_slabs_carry_no_gradient_and_no_change() -> None:
    logits = torch.zeros(1, 2, 9, 1, 1, requires_grad=True)
    thick = along_z(1, 7, 0, 0, 1)
    labels = LabelSpace(ignore_label=7)
    _, target = slab_operator("transition", factor=3)(logits, thick_target(logits, thick, labels))
    SegmentationLoss(labels)(logits, target).backward()
    assert not logits.grad[:, :, :3].any()
    lesion = target.probabilities[0, 1, :, 0, 0].tolist()
    assert lesion[3:8] == [0] * 5  # next to the unknown slab nothing changes
    assert lesion[8] > 0


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"tau": 1.1}, "tau must be above 0 and at most 1, got 1.1"),
        ({"tau": [0.5]}, r"tau must be above 0 and at most 1, got \[0.5\]"),
        ({"temperature": 1}, "slab operator transition takes tau, got temperature"),
    ],
)
def test_refuses(parameters: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        slab_operator("transition", factor=3, **parameters)


def test_refuses_a_target_without_neighbours() -> None:
    logits = torch.zeros(1, 2, 6, 1, 1)
    with pytest.raises(
        ValueError, match=r"\(1, 2, 4, 1, 1\) for thin logits of \(1, 2, 6, 1, 1\), got \(1, 2, 2, 1, 1\)"
    ):
        slab_operator("transition", factor=3)(logits, thick_target(logits, along_z(0, 0)))
