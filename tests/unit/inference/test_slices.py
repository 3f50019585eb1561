"""Volumes read some slices at a time are the volumes."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from nnunetv2_cfseg.inference.slices import Flipped, Mean, Padded, Slices, Unpadded, WholeVolume, read_all

VOLUME = torch.rand(2, 7, 5, 6, generator=torch.Generator().manual_seed(0))


def in_pieces(source: Slices, depth: int) -> torch.Tensor:
    end = source.shape[0]
    return torch.cat([source.read(start, min(start + depth, end)) for start in range(0, end, depth)], dim=1)


@given(axes=st.sets(st.integers(0, 2)), depth=st.integers(1, 9))
def test_flipped(axes: set[int], depth: int) -> None:
    flipped = Flipped(WholeVolume(VOLUME), sorted(axes))
    assert torch.equal(in_pieces(flipped, depth), VOLUME.flip([axis + 1 for axis in axes]))
    assert torch.equal(in_pieces(Flipped(flipped, sorted(axes)), depth), VOLUME)


@given(voxels=st.tuples(*[st.integers(0, 4)] * 3), depth=st.integers(1, 9))
def test_padded_and_back(voxels: tuple[int, int, int], depth: int) -> None:
    padded = Padded(WholeVolume(VOLUME), voxels)
    z, y, x = voxels
    whole = in_pieces(padded, depth)
    assert whole.shape[1:] == padded.shape == (7 + z, 5 + y, 6 + x)
    assert torch.equal(whole[:, z:, y:, x:], VOLUME)
    assert whole.count_nonzero() == VOLUME.count_nonzero()
    assert torch.equal(in_pieces(Unpadded(padded, voxels), depth), VOLUME)


def test_mean_of_several_leaves_them_alone() -> None:
    before = VOLUME.clone()
    torch.testing.assert_close(read_all(Mean([WholeVolume(VOLUME), WholeVolume(VOLUME + 1)])), VOLUME + 0.5)
    assert torch.equal(VOLUME, before)
    assert torch.equal(read_all(Mean([WholeVolume(VOLUME)])), VOLUME)
