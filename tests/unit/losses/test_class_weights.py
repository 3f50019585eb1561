"""Class weights: by hand, absent classes, and what they do to the loss."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from nnunetv2_cfseg.losses.class_weights import Dynamic, dynamic_weights, inverse_frequency_weights, make_class_weights
from nnunetv2_cfseg.losses.label_space import CLASSES, LabelSpace
from nnunetv2_cfseg.losses.segmentation import cross_entropy_loss
from nnunetv2_cfseg.losses.targets import read_target

Example = Callable[..., tuple[Tensor, Tensor]]
counts = st.lists(st.integers(0, 10**9), min_size=2, max_size=8).filter(any)


class TestInverseFrequency:
    def test_by_hand(self) -> None:
        # 1, 2 and 4, over their mean
        assert inverse_frequency_weights([100, 50, 25]).tolist() == pytest.approx([3 / 7, 6 / 7, 12 / 7])

    def test_is_clipped(self) -> None:
        assert inverse_frequency_weights([10**6, 1], max_ratio=3).tolist() == pytest.approx([0.5, 1.5])

    def test_each_region_by_itself(self) -> None:
        assert inverse_frequency_weights([[30, 10], [10, 10]]).tolist() == [[0.5, 1.5], [1, 1]]

    def test_an_absent_class_counts_as_the_rarest_and_not_in_the_mean(self) -> None:
        assert inverse_frequency_weights([30, 0, 10]).tolist() == pytest.approx([0.5, 1.5, 1.5])

    @given(counts, st.floats(1, 1e6))
    def test_mean_and_ratio(self, n: list[int], max_ratio: float) -> None:
        weights = inverse_frequency_weights(n, max_ratio=max_ratio)
        assert weights[torch.tensor(n) > 0].mean().item() == pytest.approx(1)
        assert (weights.max() / weights.min()).item() <= max_ratio * (1 + 1e-9)

    @given(counts)
    def test_no_class_weighs_less_than_a_more_frequent_one(self, n: list[int]) -> None:
        ordered = inverse_frequency_weights(sorted(n, reverse=True))
        assert (ordered.diff() >= 0).all()

    def test_loss_is_the_weighted_one_of_torch(self, example: Example) -> None:
        logits, target = example(ignore_label=3)
        class_weights = make_class_weights("inverse_frequency", [100, 50, 25])
        read = read_target(target, logits.shape, LabelSpace(ignore_label=3))
        weights = inverse_frequency_weights([100, 50, 25])
        expected = F.cross_entropy(logits, target[:, 0].long(), weight=weights, ignore_index=3)
        torch.testing.assert_close(cross_entropy_loss(logits, read, class_weights=class_weights), expected)

    def test_regions_by_hand(self) -> None:
        logits = torch.zeros(1, 1, 2, 1, 1)
        logits[0, 0, 1] = -math.log(3)
        target = torch.tensor([True, False]).reshape(1, 1, 2, 1, 1)
        read = read_target(target, logits.shape, LabelSpace(regions=True))
        class_weights = make_class_weights("inverse_frequency", [[30, 10]], labels=LabelSpace(regions=True))
        expected = (1.5 * math.log(2) - 0.5 * math.log(0.75)) / 2
        assert cross_entropy_loss(logits, read, class_weights=class_weights).item() == pytest.approx(expected)


class TestDynamic:
    def test_weights_by_hand(self) -> None:
        assert dynamic_weights([1000, 100, 0]).tolist() == pytest.approx([1, 1 + math.log(10), 1 + math.log(10)])

    def test_loss_by_hand(self) -> None:
        # Class 1 is rare, w = 1 + ln 10 = 3.302585, and has p = 0.75; class 0 has p = 0.5
        logits = torch.tensor([[0, 0], [math.log(3), 0]], dtype=torch.float64).reshape(1, 2, 2, 1, 1)
        target = torch.tensor([1, 0]).reshape(1, 1, 2, 1, 1)
        read = read_target(target, logits.shape, CLASSES)
        rare = 3.302585**0.25 * 0.287682 - 0.75 * 0.25
        common = 0.693147 - 0.25
        value = cross_entropy_loss(logits, read, class_weights=make_class_weights("dynamic", [1000, 100]))
        assert value.item() == pytest.approx((rare + common) / 2, abs=1e-6)
        without = cross_entropy_loss(
            logits, read, class_weights=make_class_weights("dynamic", [1000, 100], calibration=0)
        )
        assert (without - value).item() == pytest.approx((0.1875 + 0.25) / 2)

    @given(st.floats(1e-6, 1 - 1e-6), st.floats(1, 20))
    def test_a_surer_true_class_never_costs_more(self, p: float, weight: float) -> None:
        log_p = torch.full((1, 1, 2, 1, 1, 1), p, dtype=torch.float64).log().requires_grad_()
        losses, _ = Dynamic(torch.full((2,), weight))(log_p)
        (slope,) = torch.autograd.grad(losses.sum(), log_p)
        assert (slope < 0).all()

    def test_is_least_at_certainty(self) -> None:
        log_p = torch.linspace(0.01, 1, 100).log().view(100, 1, 1, 1, 1, 1).expand(-1, -1, 2, -1, -1, -1)
        losses, _ = Dynamic(torch.tensor([1, 2.6]))(log_p)
        assert losses.argmin(0).flatten().tolist() == [99, 99]
        assert not losses[99].any()

    def test_of_equal_classes_without_calibration_is_cross_entropy(self, example: Example) -> None:
        logits, target = example()
        read = read_target(target, logits.shape, CLASSES)
        class_weights = make_class_weights("dynamic", [7, 7, 7], calibration=0)
        torch.testing.assert_close(
            cross_entropy_loss(logits, read, class_weights=class_weights), cross_entropy_loss(logits, read)
        )


def test_none_is_none() -> None:
    assert make_class_weights("none") is None


@pytest.mark.parametrize(
    ("name", "n", "parameters", "message"),
    [
        ("focal", [1, 1], {}, "balance must be one of none, inverse_frequency, dynamic, got 'focal'"),
        ("dynamic", None, {}, "balance dynamic needs the voxels of each class"),
        ("none", None, {"max_ratio": 2}, "balance none takes no parameters, got max_ratio"),
        ("dynamic", [1, 1], {"max_ratio": 2}, r"balance dynamic takes \['calibration'\], got max_ratio"),
        ("dynamic", [1, 1], {"calibration": 2}, "calibration must be between 0 and 1, got 2"),
        ("inverse_frequency", [1, 1], {"max_ratio": 0.5}, "max_ratio must be at least 1 and finite, got 0.5"),
        ("dynamic", [0, 0], {}, "class counts must be at least 0 and not all 0"),
        ("dynamic", [2, -1], {}, "class counts must be at least 0 and not all 0"),
        ("dynamic", [3], {}, r"class counts must be \(K,\), K >= 2"),
        (
            "dynamic",
            [1, 1],
            {"labels": LabelSpace(regions=True)},
            r"shape \(R, 2\), outside and inside of each region, got \(2,\)",
        ),
        ("dynamic", [[1, 1]], {}, r"shape \(K,\), background first, got \(1, 2\)"),
    ],
)
def test_refuses(name: str, n: list[int] | None, parameters: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make_class_weights(name, n, **parameters)


def test_counts_of_another_number_of_classes(example: Example) -> None:
    logits, target = example()
    read = read_target(target, logits.shape, CLASSES)
    with pytest.raises(ValueError, match="class counts must be for 3 classes, got 2 classes"):
        cross_entropy_loss(logits, read, class_weights=make_class_weights("dynamic", [1, 1]))
