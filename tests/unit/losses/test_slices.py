"""Slabs of thin slices, and the thick slices that lie inside."""

from __future__ import annotations

import torch

from nnunetv2_cfseg.losses.slices import interior_slices, repeat_slices, slab_mean


def along_z(*values: int) -> torch.Tensor:
    return torch.tensor(values).view(1, 1, -1, 1, 1)


def test_repeated_slices_have_themselves_as_mean() -> None:
    x = torch.randn(2, 3, 4, 2, 2)
    torch.testing.assert_close(slab_mean(repeat_slices(x, 5), 5), x)


class TestInteriorSlices:
    def test_by_hand(self) -> None:
        inside = interior_slices(along_z(0, 0, 0, 1, 1, 1, 2, 2))
        assert inside.flatten().tolist() == [True, False, False, True, False, False]

    def test_of_regions_all_must_agree(self) -> None:
        regions = torch.cat([along_z(1, 1, 1, 1, 0), along_z(0, 0, 0, 1, 1)], dim=1).bool()
        assert interior_slices(regions).flatten().tolist() == [True, False, False]
