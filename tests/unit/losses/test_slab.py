"""Operators on slabs: by hand, what they leave unchanged, and where they are least."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from fixtures.slab_targets import no_target, thick_target
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from nnunetv2_cfseg.losses.label_space import CLASSES, LabelSpace
from nnunetv2_cfseg.losses.operators import slab_operator
from nnunetv2_cfseg.losses.slab import annotator_logits
from nnunetv2_cfseg.losses.slices import repeat_slices, slab_mean

REGIONS = LabelSpace(regions=True)
probabilities = st.floats(0.001, 0.999)


def binary(*p: float) -> Tensor:
    """Logits of one region along z, (1, 1, Z, 1, 1), from probabilities."""
    return torch.tensor(p, dtype=torch.float64).logit().reshape(1, 1, -1, 1, 1)


def two_classes(*p: float) -> Tensor:
    """The same prediction with a background."""
    logits = binary(*p)
    return torch.cat([torch.zeros_like(logits), logits], dim=1)


def fractions(*f: float) -> Tensor:
    return torch.tensor(f, dtype=torch.float64).reshape(1, -1, 1, 1, 1)


def logits_of(name: str, thin: Tensor, labels: LabelSpace, *, factor: int, **parameters: Any) -> Tensor:
    """What an operator makes of a thin prediction."""
    return slab_operator(name, factor=factor, **parameters)(thin, no_target(thin, factor, labels))[0]


class TestByHand:
    def test_mean(self) -> None:
        logits = logits_of("mean", binary(0.2, 0.6, 1e-9, 1e-9), REGIONS, factor=2)
        assert logits.sigmoid().flatten().tolist() == pytest.approx([0.4, 1e-9])
        logits = logits_of("mean", two_classes(0.2, 0.6), CLASSES, factor=2)
        assert logits.softmax(1).flatten().tolist() == pytest.approx([0.6, 0.4])

    @pytest.mark.parametrize("tau", [0.5, 0.3])
    def test_annotator(self, tau: float) -> None:
        parameters = {"tau": tau, "temperature": 0.2}
        expected = 1 / (1 + math.exp(-(0.4 - tau) / 0.2))
        logits = logits_of("annotator", binary(0.2, 0.6), REGIONS, factor=2, **parameters)
        assert logits.sigmoid().item() == pytest.approx(expected, abs=1e-7)
        logits = logits_of("annotator", two_classes(0.2, 0.6), CLASSES, factor=2, **parameters)
        assert logits.softmax(1).flatten().tolist() == pytest.approx([1 - expected, expected], abs=1e-7)

    def test_annotator_of_three_classes(self) -> None:
        # Half a slab of class 1 and a tenth of class 2: F = 0.6; class 1 against 2 is e^(0.4 / 0.2)
        logits = annotator_logits(fractions(0.4, 0.5, 0.1), CLASSES, tau=0.5, temperature=0.2)
        anything = 1 / (1 + math.exp(-0.5))
        first = 1 / (1 + math.exp(-2))
        expected = [1 - anything, anything * first, anything * (1 - first)]
        assert logits.softmax(1).flatten().tolist() == pytest.approx(expected)

    def test_one_tau_a_region(self) -> None:
        tau = torch.tensor([0.5, 0.25]).reshape(1, 2, 1, 1, 1)
        logits = annotator_logits(fractions(0.5, 0.5), REGIONS, tau=tau, temperature=0.125)
        assert logits.flatten().tolist() == pytest.approx([0, 2])

    def test_copy(self) -> None:
        thin = binary(0.2, 0.6, 0.7, 0.1)
        marks = torch.tensor([1, 0]).reshape(1, 1, 2, 1, 1)
        logits, target = slab_operator("copy", factor=2)(thin, thick_target(thin, marks, REGIONS))
        assert logits is thin
        assert target.probabilities.flatten().tolist() == [True, True, False, False]
        thin = two_classes(0.2, 0.6, 0.7, 0.1)
        marks = torch.tensor([1, 7]).reshape(1, 1, 2, 1, 1)
        _, target = slab_operator("copy", factor=2)(thin, thick_target(thin, marks, LabelSpace(ignore_label=7)))
        assert target.probabilities[0, 1].flatten().tolist() == [True, True, False, False]
        assert target.valid.flatten().tolist() == [True, True, False, False]

    def test_slices_of_a_slab_are_consecutive(self) -> None:
        x = torch.arange(12.0).reshape(1, 1, 6, 2, 1)
        assert slab_mean(x, 3).flatten().tolist() == [2, 3, 8, 9]
        assert repeat_slices(x[:, :, :2], 2).flatten().tolist() == [0, 1, 0, 1, 2, 3, 2, 3]


class TestWhatIsLeast:
    """The claims of the module's docstring. Three thin slices in five are lesion, and the label says lesion."""

    truth = (1 - 1e-12,) * 3 + (1e-12,) * 2
    copied = (1 - 1e-12,) * 5

    def cross_entropy(self, thin: tuple[float, ...], name: str, **parameters: float) -> float:
        logits = logits_of(name, binary(*thin), REGIONS, factor=5, **parameters)
        return -torch.nn.functional.logsigmoid(logits).item()

    def test_mean_wants_the_copy(self) -> None:
        assert self.cross_entropy(self.truth, "mean") == pytest.approx(-math.log(0.6))
        assert self.cross_entropy(self.copied, "mean") == pytest.approx(0, abs=1e-9)

    @pytest.mark.parametrize(("temperature", "gain"), [(0.1, 0.3065), (0.05, 0.1269), (0.02, 0.0067), (0.01, 0.00005)])
    def test_annotator_gains_little_from_the_copy(self, temperature: float, gain: float) -> None:
        of_truth, of_copy = (
            self.cross_entropy(thin, "annotator", temperature=temperature) for thin in (self.truth, self.copied)
        )
        assert of_truth - of_copy == pytest.approx(gain, abs=1e-4)
        assert of_truth - of_copy <= math.exp(-0.1 / temperature)

    @given(st.lists(probabilities, min_size=5, max_size=5), st.integers(0, 4))
    def test_mean_is_never_content_before_every_slice_is_the_label(self, thin: list[float], slice_: int) -> None:
        surer = list(thin)
        surer[slice_] = (surer[slice_] + 1) / 2
        assert self.cross_entropy(tuple(surer), "mean") < self.cross_entropy(tuple(thin), "mean")


def test_tau_may_be_the_whole_slab() -> None:
    thin = binary(1 - 1e-12, 1 - 1e-12)
    assert logits_of("annotator", thin, REGIONS, factor=2, tau=1).item() == pytest.approx(0, abs=1e-9)


class TestRefuses:
    @pytest.mark.parametrize(
        ("name", "parameters", "message"),
        [
            ("max", {"factor": 2}, "slab operator must be one of mean, annotator, copy, transition, count, got 'max'"),
            ("mean", {"factor": 2, "tau": 0.5}, "slab operator mean takes no parameters, got tau"),
            ("annotator", {"factor": 2, "t": 1}, "slab operator annotator takes tau and temperature, got t"),
            ("copy", {"factor": 0}, "factor must be >= 1, got 0"),
            ("annotator", {"factor": 2, "tau": 2}, "tau must be above 0 and at most 1, got 2"),
            ("annotator", {"factor": 2, "tau": [0.5, 0]}, "tau must be above 0 and at most 1"),
            ("annotator", {"factor": 2, "tau": [0.5, -0.5]}, "tau must be above 0 and at most 1"),
            ("annotator", {"factor": 2, "tau": []}, "tau must be above 0 and at most 1"),
            ("annotator", {"factor": 2, "temperature": 0}, "temperature must be above 0 and finite, got 0"),
        ],
    )
    def test_parameters(self, name: str, parameters: dict[str, Any], message: str) -> None:
        with pytest.raises(ValueError, match=message):
            slab_operator(name, **parameters)

    @pytest.mark.parametrize("name", ["mean", "annotator", "copy"])
    def test_an_incomplete_slab(self, name: str) -> None:
        with pytest.raises(ValueError, match="a factor must divide the number of thin slices, got 3 for 4 slices"):
            logits_of(name, torch.zeros(1, 2, 4, 1, 1), CLASSES, factor=3)

    @pytest.mark.parametrize("name", ["mean", "annotator", "copy"])
    def test_a_target_of_other_slabs(self, name: str) -> None:
        thin = torch.zeros(1, 2, 6, 1, 1)
        with pytest.raises(ValueError, match=r"must have the shape \(1, 2, 2, 1, 1\) for .*, got \(1, 2, 3, 1, 1\)"):
            slab_operator(name, factor=3)(thin, no_target(thin, 2))

    def test_too_many_tau(self) -> None:
        with pytest.raises(ValueError, match=r"tau must be one number or 1, .*, got 2"):
            logits_of("annotator", torch.zeros(1, 2, 1, 1, 1), CLASSES, factor=1, tau=[0.5, 0.5])
