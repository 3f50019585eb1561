"""The learning rate: hand-computed values along warm-up and decay."""

from __future__ import annotations

import pytest
import torch

from nnunetv2_cfseg.trainers.optimization import WarmupPolyLR


def rate_at(position: float, *, max_steps: int = 100, warmup_share: float = 0.1, initial_lr: float = 1.0) -> float:
    weight = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.AdamW([weight], lr=initial_lr)
    schedule = WarmupPolyLR(optimizer, initial_lr, max_steps, warmup_share=warmup_share)
    schedule.step(position)
    return optimizer.param_groups[0]["lr"]


@pytest.mark.parametrize(
    ("position", "rate"),
    [
        (0, 0.01),  # 1 * 0.01: never zero
        (0.05, 0.9995**0.9 * 0.01),  # still the least share
        (1, 0.99**0.9 * 0.1),
        (2.5, 0.975**0.9 * 0.25),
        (5, 0.95**0.9 * 0.5),
        (9.9, 0.901**0.9 * 0.99),
        (10, 0.9**0.9),  # the peak: warm-up ends, the decay goes on
        (50, 0.5**0.9),
        (99.5, 0.005**0.9),
        (100, 0.0),
    ],
)
def test_rate_along_a_schedule_of_100_epochs_with_10_of_warm_up(position: float, rate: float) -> None:
    assert rate_at(position) == pytest.approx(rate, rel=1e-9, abs=1e-12)


def test_rate_scales_with_the_initial_one() -> None:
    assert rate_at(5, initial_lr=1e-3) == pytest.approx(1e-3 * 0.95**0.9 * 0.5)


def test_rate_is_highest_where_warm_up_ends() -> None:
    rates = {position: rate_at(position / 10) for position in range(1001)}
    assert max(rates, key=rates.__getitem__) == 100
    assert min(rates[position] for position in range(1000)) > 0


def test_rate_depends_on_the_share_of_the_schedule_not_on_its_length() -> None:
    short, long = (rate_at(length * 0.07, max_steps=length) for length in (10, 1000))
    assert short == pytest.approx(long)


def test_rate_without_warm_up_is_nnunets() -> None:
    assert rate_at(0, warmup_share=0.0) == 1.0
    assert rate_at(30, warmup_share=0.0) == pytest.approx(0.7**0.9)


def test_every_parameter_group_gets_the_rate() -> None:
    groups = [{"params": [torch.nn.Parameter(torch.zeros(1))]} for _ in range(2)]
    optimizer = torch.optim.AdamW(groups, lr=1.0)
    schedule = WarmupPolyLR(optimizer, 1.0, 100, warmup_share=0.1)
    for position in (3.0, 60.0):
        schedule.step(position)
        first, second = (group["lr"] for group in optimizer.param_groups)
        assert first == second
    assert first == pytest.approx(0.4**0.9)


def test_last_rate_is_the_one_in_use() -> None:
    optimizer = torch.optim.AdamW([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    schedule = WarmupPolyLR(optimizer, 1.0, 100, warmup_share=0.1)
    schedule.step(5)
    assert schedule.get_last_lr() == [optimizer.param_groups[0]["lr"]]
