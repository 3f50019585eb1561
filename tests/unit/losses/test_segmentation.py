"""The supervised loss: values by hand, ignored voxels, regions, gradients, precision."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from nnunetv2_cfseg.losses.class_weights import ClassWeights, make_class_weights
from nnunetv2_cfseg.losses.label_space import CLASSES, LabelSpace
from nnunetv2_cfseg.losses.segmentation import SegmentationLoss, cross_entropy_loss, soft_dice_loss
from nnunetv2_cfseg.losses.targets import Target, read_target

Example = Callable[..., tuple[Tensor, Tensor]]
KINDS = [(regions, ignore) for regions in (False, True) for ignore in (None, 3)]


def column(*channels: list[float]) -> Tensor:
    """Channels of a column of voxels, (1, K, Z, 1, 1)."""
    return torch.tensor(channels, dtype=torch.float64)[None, :, :, None, None]


def weights_for(name: str, *, regions: bool) -> ClassWeights | None:
    counts = [[90, 10], [70, 30], [99, 1]] if regions else [80, 15, 5]
    return make_class_weights(name, counts, labels=LabelSpace(regions))


class TestByHand:
    def test_labels(self) -> None:
        logits = column([0, math.log(3)], [math.log(3), 0])  # p of class 1: 0.75, 0.25
        read = read_target(column([1, 0]), logits.shape, CLASSES)
        assert cross_entropy_loss(logits, read).item() == pytest.approx(-math.log(0.75))
        assert soft_dice_loss(logits, read).item() == pytest.approx(-2 * 0.75 / 2, abs=1e-5)

    def test_regions(self) -> None:
        logits = column([math.log(3)], [-math.log(4)])  # p 0.75 and 0.2
        read = read_target(column([1], [1]), logits.shape, LabelSpace(regions=True))
        expected = -(math.log(0.75) + math.log(0.2)) / 2
        assert cross_entropy_loss(logits, read).item() == pytest.approx(expected)
        assert soft_dice_loss(logits, read).item() == pytest.approx(-(1.5 / 1.75 + 0.4 / 1.2) / 2, abs=1e-4)

    def test_background_is_no_class_of_the_dice(self) -> None:
        logits = column([50, 50], [0, 0])
        read = read_target(column([0, 0]), logits.shape, CLASSES)
        assert soft_dice_loss(logits, read).item() == pytest.approx(-1, abs=1e-6)

    def test_dice_of_the_batch_counts_voxels_once(self) -> None:
        logits = torch.tensor([-50.0, 50.0], dtype=torch.float64).reshape(2, 1, 1, 1, 1)  # missed, and found
        truth = read_target(torch.ones_like(logits), logits.shape, LabelSpace(regions=True))
        assert soft_dice_loss(logits, truth, batch_dice=True).item() == pytest.approx(-2 / 3, abs=1e-5)
        assert soft_dice_loss(logits, truth, batch_dice=False).item() == pytest.approx(-1 / 2, abs=1e-4)

    def test_loss_is_the_sum(self, example: Example) -> None:
        logits, target = example()
        read = read_target(target, logits.shape, CLASSES)
        expected = soft_dice_loss(logits, read) + cross_entropy_loss(logits, read)
        torch.testing.assert_close(SegmentationLoss()(logits, target), expected)


class TestIgnoredVoxels:
    @pytest.mark.parametrize("balance", ["none", "inverse_frequency", "dynamic"])
    @pytest.mark.parametrize("regions", [False, True])
    def test_carry_no_gradient_and_others_do(self, example: Example, regions: bool, balance: str) -> None:
        logits, target = example(regions=regions, ignore_label=3)
        loss = SegmentationLoss(LabelSpace(regions, 3), class_weights=weights_for(balance, regions=regions))
        loss(logits.requires_grad_(), target).backward()
        ignored = (target[:, -1:] if regions else target == 3).expand_as(logits)
        assert ignored.any()
        assert not logits.grad[ignored].any()
        assert logits.grad[~ignored].all()

    @pytest.mark.parametrize("regions", [False, True])
    def test_do_not_change_the_value(self, example: Example, regions: bool) -> None:
        logits, target = example(regions=regions, ignore_label=3)
        ignored = (target[:, -1:] if regions else target == 3).expand_as(logits)
        loss = SegmentationLoss(LabelSpace(regions, 3))
        other = torch.where(ignored, 7.0, logits)
        torch.testing.assert_close(loss(other, target), loss(logits, target))

    @pytest.mark.parametrize("regions", [False, True])
    def test_nothing_but_ignored_voxels(self, example: Example, regions: bool) -> None:
        logits, target = example(regions=regions, ignore_label=3)
        target = torch.ones_like(target) if regions else torch.full_like(target, 3)
        value = SegmentationLoss(LabelSpace(regions, 3))(logits.requires_grad_(), target)
        value.backward()
        assert value.item() == pytest.approx(-1)
        assert not logits.grad.any()


class TestSoftTarget:
    @pytest.mark.parametrize("balance", ["none", "inverse_frequency", "dynamic"])
    @pytest.mark.parametrize(("regions", "ignore_label"), KINDS)
    def test_that_is_sure_is_the_target(
        self, example: Example, regions: bool, ignore_label: int | None, balance: str
    ) -> None:
        logits, target = example(regions=regions, ignore_label=ignore_label)
        sure = read_target(target, logits.shape, LabelSpace(regions, ignore_label))
        loss = SegmentationLoss(LabelSpace(regions, ignore_label), class_weights=weights_for(balance, regions=regions))
        soft = Target(sure.probabilities.double(), sure.labels, valid=sure.valid)
        torch.testing.assert_close(loss(logits, soft), loss(logits, target))

    def test_cross_entropy_is_the_one_of_torch(self, example: Example) -> None:
        logits, _ = example()
        truth = torch.randn(logits.shape, dtype=torch.float64).softmax(1)
        expected = torch.nn.functional.cross_entropy(logits, truth)
        torch.testing.assert_close(cross_entropy_loss(logits, Target(truth, CLASSES)), expected)

    def test_cross_entropy_of_regions_is_the_one_of_torch(self, example: Example) -> None:
        logits, _ = example(regions=True)
        truth = torch.rand(logits.shape, dtype=torch.float64)
        expected = torch.nn.functional.binary_cross_entropy_with_logits(logits, truth)
        torch.testing.assert_close(cross_entropy_loss(logits, Target(truth, LabelSpace(regions=True))), expected)


class TestGradient:
    @pytest.mark.parametrize("balance", ["none", "inverse_frequency", "dynamic"])
    @pytest.mark.parametrize(("regions", "ignore_label"), KINDS)
    def test_is_right(self, example: Example, regions: bool, ignore_label: int | None, balance: str) -> None:
        logits, target = example(shape=(1, 2, 2), regions=regions, ignore_label=ignore_label)
        loss = SegmentationLoss(
            LabelSpace(regions, ignore_label), class_weights=weights_for(balance, regions=regions), batch_dice=True
        )
        assert torch.autograd.gradcheck(lambda x: loss(x, target), logits.requires_grad_())

    @pytest.mark.parametrize("balance", ["none", "inverse_frequency", "dynamic"])
    @pytest.mark.parametrize("regions", [False, True])
    def test_is_finite_where_probabilities_are_zero_and_one(
        self, example: Example, regions: bool, balance: str
    ) -> None:
        logits, target = example(regions=regions)
        extreme = (1e4 * logits.sign()).float().requires_grad_()
        value = SegmentationLoss(LabelSpace(regions), class_weights=weights_for(balance, regions=regions))(
            extreme, target
        )
        value.backward()
        assert value.isfinite()
        assert extreme.grad.isfinite().all()
        assert extreme.grad.any()


class TestPrecision:
    @pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
    @pytest.mark.parametrize("balance", ["none", "inverse_frequency", "dynamic"])
    @pytest.mark.parametrize(("regions", "ignore_label"), KINDS)
    def test_half_precision_is_only_that_of_the_logits(
        self, example: Example, regions: bool, ignore_label: int | None, balance: str, dtype: torch.dtype
    ) -> None:
        logits, target = example(shape=(8, 32, 32), regions=regions, ignore_label=ignore_label)
        loss = SegmentationLoss(LabelSpace(regions, ignore_label), class_weights=weights_for(balance, regions=regions))
        half = logits.to(dtype).requires_grad_()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            value = loss(half, target)
        value.backward()
        assert value.dtype == torch.float32
        assert half.grad.isfinite().all()
        torch.testing.assert_close(value, loss(half.detach().float(), target))

    def test_sums_do_not_overflow_in_half_precision(self) -> None:
        logits = torch.zeros((1, 2, 40, 50, 50), dtype=torch.float16)  # 1e5 voxels; the largest float16 is 65504
        value = SegmentationLoss()(logits, torch.ones((1, 1, 40, 50, 50), dtype=torch.int16))
        assert value.item() == pytest.approx(math.log(2) - 2 / 3, abs=1e-5)


@pytest.mark.parametrize(("regions", "ignore_label"), KINDS)
def test_compiles_to_one_graph(example: Example, regions: bool, ignore_label: int | None) -> None:
    logits, target = example(regions=regions, ignore_label=ignore_label)
    loss = SegmentationLoss(LabelSpace(regions, ignore_label), class_weights=weights_for("dynamic", regions=regions))
    compiled = torch.compile(loss, fullgraph=True, backend="aot_eager", dynamic=False)
    torch.testing.assert_close(compiled(logits, target), loss(logits, target))


@pytest.mark.parametrize(
    ("regions", "ignore_label", "channels"), [(False, None, 3), (False, 3, 2), (True, None, 4), (True, 3, 3)]
)
def test_target_of_another_shape(regions: bool, ignore_label: int | None, channels: int) -> None:
    loss = SegmentationLoss(LabelSpace(regions, ignore_label))
    with pytest.raises(ValueError, match=r"a target must have the shape .*, got \(1, \d, 2, 2, 2\)"):
        loss(torch.zeros(1, 3, 2, 2, 2), torch.zeros(1, channels, 2, 2, 2))
