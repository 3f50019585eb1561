"""Operators on slabs: what leaves them unchanged and in which direction they move."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from fixtures.slab_targets import no_target
from hypothesis import assume, given
from hypothesis import strategies as st
from torch import Tensor

from nnunetv2_cfseg.imaging.slabs import annotate_slabs
from nnunetv2_cfseg.losses.label_space import CLASSES, LabelSpace
from nnunetv2_cfseg.losses.operators import slab_operator
from nnunetv2_cfseg.losses.slab import annotator_logits

INVARIANT: list[tuple[str, dict[str, Any]]] = [("mean", {}), ("annotator", {}), ("annotator", {"tau": [0.3, 0.6]})]


def fractions(*f: float) -> Tensor:
    return torch.tensor(f, dtype=torch.float64).reshape(1, -1, 1, 1, 1)


def channels_for(parameters: dict[str, Any], *, regions: bool) -> int:
    """As many as there are tau."""
    return len(parameters.get("tau", [0, 0])) + (not regions)


class TestProperties:
    @pytest.mark.parametrize("regions", [False, True])
    @given(st.integers(1, 6), st.lists(st.floats(-8, 8), min_size=3, max_size=3))
    def test_mean_of_a_constant_slab_is_the_constant(self, regions: bool, factor: int, values: list[float]) -> None:
        slab = torch.tensor(values, dtype=torch.float64).reshape(1, 3, 1, 1, 1).repeat(1, 1, factor, 1, 1)
        labels = LabelSpace(regions)
        logits, _ = slab_operator("mean", factor=factor)(slab, no_target(slab, factor, labels))
        torch.testing.assert_close(labels.probabilities(logits), labels.probabilities(slab[:, :, :1]))

    @pytest.mark.parametrize("regions", [False, True])
    @pytest.mark.parametrize(("name", "parameters"), INVARIANT)
    @given(st.randoms(use_true_random=False), st.integers(1, 5))
    def test_order_of_slices_in_a_slab_does_not_matter(
        self, name: str, parameters: dict[str, Any], regions: bool, random: Any, factor: int
    ) -> None:
        operator = slab_operator(name, factor=factor, **parameters)
        rng = torch.Generator().manual_seed(random.randrange(1000))
        thin = torch.randn(1, channels_for(parameters, regions=regions), 2 * factor, 2, 1, generator=rng).double()
        order = [*random.sample(range(factor), factor), *random.sample(range(factor, 2 * factor), factor)]
        target = no_target(thin, factor, LabelSpace(regions))
        torch.testing.assert_close(operator(thin[:, :, order], target)[0], operator(thin, target)[0])

    @given(st.floats(0, 1), st.floats(0, 1), st.floats(0.05, 0.95), st.floats(0.01, 1))
    def test_annotator_rises_with_the_fraction(self, f: float, g: float, tau: float, temperature: float) -> None:
        low, high = sorted((f, g))
        logits = annotator_logits(fractions(low, high), LabelSpace(True), tau=tau, temperature=temperature).flatten()
        assert logits[0] <= logits[1]

    @given(
        st.lists(st.floats(0.01, 1), min_size=4, max_size=4), st.permutations(range(4)), st.floats(0, 1),
        st.lists(st.floats(0.1, 0.9), min_size=3, max_size=3),
    )  # fmt: skip
    def test_a_label_becomes_likelier_whatever_it_takes_its_place_from(
        self, amounts: list[float], order: list[int], share: float, tau: list[float]
    ) -> None:
        giver, taker, *_ = order
        before = fractions(*amounts) / sum(amounts)
        after = before.clone()
        after[:, taker] += share * before[:, giver]
        after[:, giver] -= share * before[:, giver]
        thresholds = torch.tensor(tau).reshape(1, 3, 1, 1, 1)
        was, is_ = (
            annotator_logits(f, CLASSES, tau=thresholds, temperature=0.1).softmax(1)[:, taker].item()
            for f in (before, after)
        )
        assert is_ >= was - 1e-9

    @given(st.floats(0, 1), st.floats(0.05, 0.95), st.floats(0.02, 1), st.integers(2, 6))
    def test_how_many_classes_there_are_does_not_change_the_background(
        self, f: float, tau: float, temperature: float, classes: int
    ) -> None:
        shares = [f / (classes - 1)] * (classes - 1)
        logits = annotator_logits(fractions(1 - f, *shares), CLASSES, tau=tau, temperature=temperature)
        expected = 1 - 1 / (1 + math.exp(-(f - tau) / temperature))
        assert logits.softmax(1)[0, 0].item() == pytest.approx(expected)

    @given(st.lists(st.integers(0, 3), min_size=5, max_size=5))
    def test_cold_annotator_marks_what_annotate_slabs_marks(self, labels: list[int]) -> None:
        counts = sorted(labels.count(k) for k in (1, 2, 3))
        assume(counts[-1] > counts[-2])  # annotate_slabs breaks ties, a probability does not
        thick = annotate_slabs(np.array(labels, np.uint8).reshape(5, 1, 1), 5)
        thin = 1e3 * torch.nn.functional.one_hot(torch.tensor(labels), 4).T.reshape(1, 4, 5, 1, 1).double()
        logits, _ = slab_operator("annotator", factor=5, temperature=1e-3)(thin, no_target(thin, 5))
        assert logits.argmax(1).item() == thick.item()
