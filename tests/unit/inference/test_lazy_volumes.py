"""Volumes read some slices at a time are the volumes."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from nnunetv2_cfseg.inference.lazy_volumes import Continued, Flipped, InMemoryVolume, LazyVolume, Mean, read_all
from nnunetv2_cfseg.networks.beyond_scan import MODES, BeyondScan

VOLUME = torch.rand(2, 7, 5, 6, generator=torch.Generator().manual_seed(0))


def in_pieces(source: LazyVolume, depth: int) -> torch.Tensor:
    end = source.shape[0]
    return torch.cat([source.read(start, min(start + depth, end)) for start in range(0, end, depth)], dim=1)


@given(axes=st.sets(st.integers(0, 2)), depth=st.integers(1, 9))
def test_flipped(axes: set[int], depth: int) -> None:
    flipped = Flipped(InMemoryVolume(VOLUME), sorted(axes))
    assert torch.equal(in_pieces(flipped, depth), VOLUME.flip([axis + 1 for axis in axes]))
    assert torch.equal(in_pieces(Flipped(flipped, sorted(axes)), depth), VOLUME)


@given(
    mode=st.sampled_from(MODES),
    pads=st.tuples(*[st.tuples(st.integers(0, 17), st.integers(0, 17))] * 3),
    axes=st.sets(st.integers(0, 2)),
    depth=st.integers(1, 9),
)
def test_continued(mode: str, pads: tuple[tuple[int, int], ...], axes: set[int], depth: int) -> None:
    """Read in pieces it is the whole, continued at once."""
    beyond_scan = BeyondScan(mode, (-7.0, -9.0) if mode == "air" else ())
    flipped = Flipped(InMemoryVolume(VOLUME), sorted(axes))
    continued = Continued(flipped, beyond_scan, pads)
    whole = in_pieces(continued, depth)
    assert whole.shape[1:] == continued.shape
    assert torch.equal(whole, beyond_scan.extend(read_all(flipped), pads))


def test_mean_of_several_leaves_them_alone() -> None:
    before = VOLUME.clone()
    torch.testing.assert_close(read_all(Mean([InMemoryVolume(VOLUME), InMemoryVolume(VOLUME + 1)])), VOLUME + 0.5)
    assert torch.equal(VOLUME, before)
    assert torch.equal(read_all(Mean([InMemoryVolume(VOLUME)])), VOLUME)
