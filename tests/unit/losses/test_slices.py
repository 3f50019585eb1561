"""Slabs of thin slices, and the thick slices that lie inside."""

from __future__ import annotations

import torch

from nnunetv2_cfseg.losses.slices import place_in_slabs, repeat_slices, slab_mean


def test_repeated_slices_have_themselves_as_mean() -> None:
    x = torch.randn(2, 3, 4, 2, 2)
    torch.testing.assert_close(slab_mean(repeat_slices(x, 5), 5), x)


def test_slices_that_begin_within_a_slab() -> None:
    x = torch.arange(1.0, 13.0).view(2, 1, 6, 1, 1)
    placed, seen = place_in_slabs(x, torch.tensor([0, 2]), 3)
    assert (placed * seen).flatten(1).tolist() == [
        [1, 2, 3, 4, 5, 6, 0, 0, 0],
        [0, 0, 7, 8, 9, 10, 11, 12, 0],
    ]
