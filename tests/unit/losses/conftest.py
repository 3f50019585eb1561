"""Predictions and labels of a few voxels."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor


@pytest.fixture(autouse=True)
def _same_numbers_every_time() -> None:
    torch.manual_seed(0)


@pytest.fixture
def example() -> Callable[..., tuple[Tensor, Tensor]]:
    """A function that draws logits and a target as nnU-Net makes it, with every class and an ignored voxel."""

    def draw(
        *,
        n: int = 2,
        channels: int = 3,
        shape: tuple[int, ...] = (2, 3, 2),
        regions: bool = False,
        ignore_label: int | None = None,
        seed: int = 0,
    ) -> tuple[Tensor, Tensor]:
        rng = torch.Generator().manual_seed(seed)
        logits = 2 * torch.randn((n, channels, *shape), generator=rng, dtype=torch.float64)
        if regions:
            size = (n, channels + (ignore_label is not None), *shape)
            return logits, torch.rand(size, generator=rng) < 0.4
        labels = torch.randint(channels, (n, 1, *shape), generator=rng).to(torch.int16)
        if ignore_label is not None:
            labels[torch.rand(labels.shape, generator=rng) < 0.3] = ignore_label
        return logits, labels

    return draw
