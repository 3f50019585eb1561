"""What a loss learns from step to step is saved and loaded with the shape it has by then."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch

from nnunetv2_cfseg.losses.adaptive_margin import AdaptiveLogitMargin
from nnunetv2_cfseg.losses.poisson_binomial import PoissonBinomialSlab
from nnunetv2_cfseg.losses.state import StepwiseState
from nnunetv2_cfseg.losses.thin_thick import ThinThickLoss, ThinThickSettings

MODULES: dict[str, tuple[Callable[[], StepwiseState], torch.Tensor]] = {
    "margin": (AdaptiveLogitMargin, torch.tensor([0.3, -0.2]).view(2, 1, 1, 1)),
    "shift": (lambda: PoissonBinomialSlab(factor=3), torch.tensor([[0.0, -0.5, 0.25]])),
}


@pytest.mark.parametrize("name", MODULES)
class TestState:
    def test_comes_back(self, name: str) -> None:
        make, value = MODULES[name]
        learnt, fresh = make(), make()
        learnt.move(name, value)
        assert set(learnt.state_dict()) == {name}
        fresh.load_state_dict(learnt.state_dict())
        torch.testing.assert_close(getattr(fresh, name), value, rtol=0, atol=0)

    def test_comes_back_from_before_the_first_step(self, name: str) -> None:
        make, value = MODULES[name]
        learnt = make()
        learnt.move(name, value)
        learnt.load_state_dict(make().state_dict())
        assert not getattr(learnt, name).any()
        assert getattr(learnt, name).numel() == 1

    def test_of_another_rank_is_refused(self, name: str) -> None:
        with pytest.raises(RuntimeError, match=f"size mismatch for {name}"):
            MODULES[name][0]().load_state_dict({name: torch.zeros(3)})

    @pytest.mark.parametrize("odd", [math.nan, math.inf])
    def test_stays_where_a_step_was_not_finite(self, name: str, odd: float) -> None:
        make, value = MODULES[name]
        module = make()
        module.move(name, value)
        module.move(name, torch.full_like(value, odd))
        torch.testing.assert_close(getattr(module, name), value, rtol=0, atol=0)

    def test_keeps_the_modules_precision(self, name: str) -> None:
        make, value = MODULES[name]
        module = make().double()
        module.load_state_dict({name: value})
        assert getattr(module, name).dtype == torch.float64


@pytest.mark.parametrize(
    ("operator", "names"),
    [
        ("count", {"volume.margin", "slab.shift"}),
        ("transition", {"volume.margin"}),
        ("annotator", {"volume.margin"}),
    ],
)
def test_of_the_whole_loss_is_what_moves_and_no_constant(operator: str, names: set[str]) -> None:
    loss = ThinThickLoss(ThinThickSettings(operator=operator, balance="dynamic"), factor=3, class_counts=[5, 3, 2])
    assert set(loss.state_dict()) == names
