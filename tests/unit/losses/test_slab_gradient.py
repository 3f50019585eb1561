"""The slab loss: gradients, ignored voxels, extreme and half-precise logits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from fixtures.slab_targets import thick_target
from torch import Tensor

from nnunetv2_cfseg.losses.label_space import LabelSpace
from nnunetv2_cfseg.losses.operators import slab_operator
from nnunetv2_cfseg.losses.segmentation import SegmentationLoss
from nnunetv2_cfseg.losses.slices import repeat_slices

Example = Callable[..., tuple[Tensor, Tensor]]
OPERATORS: list[tuple[str, dict[str, Any]]] = [
    ("mean", {}), ("annotator", {}), ("annotator", {"tau": [0.3, 0.6], "temperature": 0.05}), ("copy", {}),
]  # fmt: skip


def channels_for(parameters: dict[str, Any], *, regions: bool) -> int:
    """As many as there are tau."""
    return len(parameters.get("tau", [0, 0])) + (not regions)


class TestGradient:
    @pytest.mark.parametrize("ignore_label", [None, 7])
    @pytest.mark.parametrize("regions", [False, True])
    @pytest.mark.parametrize(("name", "parameters"), OPERATORS)
    def test_of_the_slab_loss_is_right_and_none_at_ignored_voxels(
        self, example: Example, name: str, parameters: dict[str, Any], regions: bool, ignore_label: int | None
    ) -> None:
        channels = channels_for(parameters, regions=regions)
        labels = LabelSpace(regions, ignore_label)
        thin, _ = example(n=1, channels=channels, shape=(4, 2, 2))
        _, target = example(n=1, channels=channels, shape=(2, 2, 2), regions=regions, ignore_label=ignore_label)
        operator, loss = slab_operator(name, factor=2, **parameters), SegmentationLoss(labels)
        thick = thick_target(thin, target, labels)
        assert torch.autograd.gradcheck(lambda x: loss(*operator(x, thick)), thin.requires_grad_())
        if ignore_label is not None:
            loss(*operator(thin, thick)).backward()
            ignored = repeat_slices(target[:, -1:] if regions else target == ignore_label, 2).expand_as(thin)
            assert ignored.any()
            assert not thin.grad[ignored].any()
            assert thin.grad[~ignored].any()

    @pytest.mark.parametrize("regions", [False, True])
    @pytest.mark.parametrize(("name", "parameters"), OPERATORS)
    def test_is_finite_where_probabilities_are_zero_and_one(
        self, example: Example, name: str, parameters: dict[str, Any], regions: bool
    ) -> None:
        channels = channels_for(parameters, regions=regions)
        thin, _ = example(channels=channels, shape=(4, 2, 2))
        _, target = example(channels=channels, shape=(2, 2, 2), regions=regions)
        extreme = (1e4 * thin.sign()).float().requires_grad_()
        operator, labels = slab_operator(name, factor=2, **parameters), LabelSpace(regions)
        value = SegmentationLoss(labels)(*operator(extreme, thick_target(extreme, target, labels)))
        value.backward()
        assert value.isfinite()
        assert extreme.grad.isfinite().all()

    def test_of_the_mean_reaches_a_slab_that_is_all_wrong(self) -> None:
        thin = torch.full((1, 1, 5, 1, 1), -200.0, requires_grad=True)  # its sigmoid is 0 in float32
        labels = LabelSpace(regions=True)
        lesion = thick_target(thin, torch.ones(1, 1, 1, 1, 1), labels)
        value = SegmentationLoss(labels)(*slab_operator("mean", factor=5)(thin, lesion))
        value.backward()
        torch.testing.assert_close(thin.grad, torch.full_like(thin, -0.2))


@pytest.mark.parametrize("regions", [False, True])
@pytest.mark.parametrize(("name", "parameters"), OPERATORS)
def test_half_precision(example: Example, name: str, parameters: dict[str, Any], regions: bool) -> None:
    channels = channels_for(parameters, regions=regions)
    thin, _ = example(channels=channels, shape=(10, 8, 8))
    _, target = example(channels=channels, shape=(2, 8, 8), regions=regions)
    labels = LabelSpace(regions)
    operator, loss, thick = (
        slab_operator(name, factor=5, **parameters), SegmentationLoss(labels), thick_target(thin, target, labels)
    )  # fmt: skip
    half = thin.bfloat16().requires_grad_()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        value = loss(*operator(half, thick))
    value.backward()
    assert value.dtype == torch.float32
    assert half.grad.isfinite().all()
    torch.testing.assert_close(value, loss(*operator(half.detach().float(), thick)))
