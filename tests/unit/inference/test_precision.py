"""The choice of a precision."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from nnunetv2_cfseg.inference import precision
from nnunetv2_cfseg.networks import BlockCenterTransformer


@pytest.mark.parametrize(("bfloat16", "best"), [(0.5, "bfloat16"), (0.95, "float32"), (2.0, "float32")])
def test_bfloat16_has_to_be_clearly_faster(
    network: Callable[..., BlockCenterTransformer], monkeypatch: pytest.MonkeyPatch, bfloat16: float, best: str
) -> None:
    times = {torch.float32: 1.0, torch.bfloat16: bfloat16}
    monkeypatch.setattr(precision, "_seconds", lambda net, dtype, *others: times[dtype])
    name, microseconds = precision.faster_precision(network(), chunk_blocks=10)
    assert name == best
    assert microseconds == {"float32": pytest.approx(1e5), "bfloat16": pytest.approx(bfloat16 * 1e5)}


def test_both_are_tried_and_the_network_is_left_alone(network: Callable[..., BlockCenterTransformer]) -> None:
    net = network()
    name, microseconds = precision.faster_precision(net, chunk_blocks=2, repeats=1)
    assert name in precision.PRECISIONS
    assert all(value > 0 for value in microseconds.values())
    assert net.embedding.weight.dtype == torch.float32
