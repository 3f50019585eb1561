"""Slabs of thin slices, and the thick slices that lie inside."""

from __future__ import annotations

import torch

from nnunetv2_cfseg.losses.slices import repeat_slices, slab_mean


def test_repeated_slices_have_themselves_as_mean() -> None:
    x = torch.randn(2, 3, 4, 2, 2)
    torch.testing.assert_close(slab_mean(repeat_slices(x, 5), 5), x)
