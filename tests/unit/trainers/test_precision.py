"""When a step is autocast, and to what."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from nnunetv2_cfseg.networks.encoder import attend
from nnunetv2_cfseg.trainers.optimization import mixed_precision, multiplies_bfloat16


def product(device: str = "cpu") -> torch.dtype:
    with mixed_precision(torch.device(device)):
        return nn.Linear(2, 2)(torch.ones(1, 2)).dtype


@pytest.mark.parametrize(
    ("capabilities", "expected"),
    [
        ({"avx512_bf16": True, "amx_tile": False}, torch.bfloat16),
        ({"amx_bf16": True}, torch.bfloat16),
        ({"avx512_bf16": False, "avx2": True}, torch.float32),
        ({}, torch.float32),
    ],
)
def test_a_processor_says_what_it_can(
    capabilities: dict[str, bool], expected: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities, raising=False)
    assert product() == expected


def test_one_that_does_not_say_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    assert not multiplies_bfloat16()


def test_other_devices_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": True}, raising=False)
    assert product("mps") == torch.float32


def test_attention_that_is_trained_stays_in_float32_on_a_processor() -> None:
    q, k, v = torch.randn(3, 2, 4, 5, 8)
    expected = nn.functional.scaled_dot_product_attention(q, k, v)
    halves = [part.bfloat16() for part in (q, k, v)]
    in_float32 = nn.functional.scaled_dot_product_attention(*[part.float() for part in halves]).bfloat16()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(attend(q, k, v), expected)
        assert torch.equal(attend(*halves), in_float32)
    assert attend(q.double(), k.double(), v.double()).dtype == torch.float64


def test_attention_that_is_not_trained_computes_as_it_is_given() -> None:
    halves = torch.randn(3, 2, 4, 5, 8).bfloat16()
    with torch.inference_mode():
        assert torch.equal(attend(*halves), nn.functional.scaled_dot_product_attention(*halves))
