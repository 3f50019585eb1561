"""Features that agree, and certainty."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from nnunetv2_cfseg.losses.consistency import feature_loss, thin_entropy
from nnunetv2_cfseg.losses.label_space import CLASSES, LabelSpace
from nnunetv2_cfseg.losses.slices import repeat_slices
from nnunetv2_cfseg.losses.targets import read_target

Example = Callable[..., tuple[Tensor, Tensor]]
KINDS = [(regions, ignore) for regions in (False, True) for ignore in (None, 7)]


def along_z(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64).reshape(1, 1, -1, 1, 1)


def features(*tokens: list[float]) -> Tensor:
    """Tokens of E features along z, (1, E, z, 1, 1)."""
    return torch.tensor(tokens, dtype=torch.float64).T[None, :, :, None, None].contiguous()


class TestFeatures:
    def test_by_hand(self) -> None:
        thin, thick = features([1, 0], [3, 2]), features([2, 4])  # mean of the slab: (2, 1)
        assert feature_loss(thin, thick, factor=2).item() == pytest.approx(9 / 2)
        expected = 1 - (2 * 2 + 1 * 4) / math.sqrt(5 * 20)
        assert feature_loss(thin, thick, factor=2, kind="cosine").item() == pytest.approx(expected)

    @pytest.mark.parametrize("kind", ["mse", "cosine"])
    def test_is_nothing_where_the_mean_is_the_thick_token(self, kind: str) -> None:
        thin = torch.randn(2, 4, 6, 2, 2, dtype=torch.float64)
        thick = thin.reshape(2, 4, 2, 3, 2, 2).mean(3)
        assert feature_loss(thin, thick, factor=3, kind=kind).item() == pytest.approx(0, abs=1e-12)

    @pytest.mark.parametrize("kind", ["mse", "cosine"])
    @pytest.mark.parametrize(
        ("stop_gradient", "thin_learns", "thick_learns"),
        [("thick", True, False), ("thin", False, True), ("none", True, True)],
    )
    def test_gradient_stops_on_the_side_it_should(
        self, kind: str, stop_gradient: str, thin_learns: bool, thick_learns: bool
    ) -> None:
        thin, thick = torch.randn(1, 3, 4, 1, 1).requires_grad_(), torch.randn(1, 3, 2, 1, 1).requires_grad_()
        feature_loss(thin, thick, factor=2, kind=kind, stop_gradient=stop_gradient).backward()
        assert (thin.grad is not None and bool(thin.grad.any())) is thin_learns
        assert (thick.grad is not None and bool(thick.grad.any())) is thick_learns

    def test_default_takes_the_thick_side_as_given(self) -> None:
        thick = torch.randn(1, 3, 2, 1, 1).requires_grad_()
        feature_loss(torch.randn(1, 3, 4, 1, 1).requires_grad_(), thick, factor=2).backward()
        assert thick.grad is None

    @pytest.mark.parametrize("kind", ["mse", "cosine"])
    def test_gradient_is_right(self, kind: str) -> None:
        thin = torch.randn(1, 3, 4, 1, 1, dtype=torch.float64).requires_grad_()
        thick = torch.randn(1, 3, 2, 1, 1, dtype=torch.float64).requires_grad_()
        assert torch.autograd.gradcheck(
            lambda a, b: feature_loss(a, b, factor=2, kind=kind, stop_gradient="none"), (thin, thick)
        )

    @pytest.mark.parametrize("kind", ["mse", "cosine"])
    @pytest.mark.parametrize("scale", [0.0, 1e4])
    def test_finite_at_zero_and_in_half_precision(self, kind: str, scale: float) -> None:
        thin = torch.full((1, 8, 4, 1, 1), scale, dtype=torch.float16).requires_grad_()
        value = feature_loss(thin, torch.full((1, 8, 2, 1, 1), -scale, dtype=torch.float16), factor=2, kind=kind)
        value.backward()
        assert value.dtype == torch.float32
        assert value.isfinite()
        assert thin.grad.isfinite().all()

    def test_refuses(self) -> None:
        thin, thick = torch.zeros(1, 3, 4, 1, 1), torch.zeros(1, 3, 2, 1, 1)
        with pytest.raises(ValueError, match="feature must be one of mse, cosine, got 'l1'"):
            feature_loss(thin, thick, factor=2, kind="l1")
        with pytest.raises(ValueError, match="stop_gradient must be one of thick, thin, none, got 'both'"):
            feature_loss(thin, thick, factor=2, stop_gradient="both")
        with pytest.raises(ValueError, match=r"4 times the tokens along z, got \(1, 3, 4, 1, 1\)"):
            feature_loss(thin, thick, factor=4)


class TestEntropy:
    def test_by_hand(self) -> None:
        p = along_z(0.5, 0.9)
        expected = (1 + (0.9 * math.log(0.9) + 0.1 * math.log(0.1)) / math.log(0.5)) / 2
        as_regions = thin_entropy(p.logit(), LabelSpace(regions=True))
        two = torch.cat([torch.zeros_like(p), p.logit()], dim=1)
        as_labels = thin_entropy(two, CLASSES)
        assert as_regions.item() == pytest.approx(expected)
        assert as_labels.item() == pytest.approx(expected)

    @pytest.mark.parametrize("regions", [False, True])
    def test_from_nothing_known_to_certainty(self, example: Example, regions: bool) -> None:
        logits, _ = example(channels=4, shape=(2, 2, 2), regions=regions)
        values = [thin_entropy(scale * logits, LabelSpace(regions)).item() for scale in (0, 1, 5, 1e4)]
        assert values == sorted(values, reverse=True)
        assert values[0] == pytest.approx(1)
        assert values[-1] == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize(("regions", "ignore_label"), KINDS)
class TestEntropyAtItsLimits:
    def value(self, thin: Tensor, target: Tensor, regions: bool, ignore_label: int | None) -> Tensor:
        labels = LabelSpace(regions, ignore_label)
        shape = (*thin.shape[:2], *target.shape[2:])
        return thin_entropy(thin, labels, valid=read_target(target, shape, labels).repeat(2).valid)

    def test_gradient_is_right_and_none_at_ignored_voxels(
        self, example: Example, regions: bool, ignore_label: int | None
    ) -> None:
        thin, _ = example(n=1, shape=(4, 2, 2))
        _, target = example(n=1, shape=(2, 2, 2), regions=regions, ignore_label=ignore_label)
        assert torch.autograd.gradcheck(lambda x: self.value(x, target, regions, ignore_label), thin.requires_grad_())
        if ignore_label is not None:
            self.value(thin, target, regions, ignore_label).backward()
            ignored = repeat_slices(target[:, -1:] if regions else target == ignore_label, 2).expand_as(thin)
            assert ignored.any()
            assert not thin.grad[ignored].any()
            assert thin.grad[~ignored].any()

    def test_extreme_logits_in_half_precision(self, example: Example, regions: bool, ignore_label: int | None) -> None:
        thin, _ = example(shape=(4, 2, 2))
        _, target = example(shape=(2, 2, 2), regions=regions, ignore_label=ignore_label)
        extreme = (1e4 * thin.sign()).half().requires_grad_()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            value = self.value(extreme, target, regions, ignore_label)
        value.backward()
        assert value.dtype == torch.float32
        assert value.isfinite()
        assert extreme.grad.isfinite().all()

    def test_nothing_but_ignored_voxels(self, example: Example, regions: bool, ignore_label: int | None) -> None:
        thin, _ = example(shape=(4, 2, 2))
        _, target = example(shape=(2, 2, 2), regions=regions, ignore_label=7)
        target = torch.ones_like(target) if regions else torch.full_like(target, 7)
        assert self.value(thin, target, regions, 7).item() == 0
