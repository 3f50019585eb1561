"""Labels on another grid against interpolating all logits and deciding then."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

from nnunetv2_cfseg.inference.lazy_volumes import InMemoryVolume
from nnunetv2_cfseg.inference.logits_to_labels import (
    LogitsToLabels,
    interpolated_logits,
    label_slices,
    resample_labels,
)
from nnunetv2_cfseg.inference.resampling import AxisResampling, linear_map, nearest_map

sizes = st.tuples(*[st.integers(1, 9)] * 3)


def logits_of(shape: tuple[int, ...], classes: int = 4) -> torch.Tensor:
    """Smooth in places, so that there are cells of one label and mixed ones."""
    generator = torch.Generator().manual_seed(sum(shape))
    coarse = torch.randn(1, classes, *[-(-size // 3) for size in shape], generator=generator)
    return F.interpolate(coarse, tuple(shape), mode="nearest")[0] + 0.3 * torch.randn(
        classes, *shape, generator=generator
    )


def maps_of(old: tuple[int, ...], new: tuple[int, ...]) -> tuple[AxisResampling, AxisResampling, AxisResampling]:
    z, y, x = (linear_map(a, b) for a, b in zip(old, new, strict=True))
    return z, y, x


@given(old=sizes, new=sizes, depth=st.integers(1, 5))
def test_equal_to_the_greatest_of_interpolated_logits(
    old: tuple[int, int, int], new: tuple[int, int, int], depth: int
) -> None:
    logits = logits_of(old)
    fine = F.interpolate(logits[None], new, mode="trilinear", align_corners=False)[0]
    pieces = list(label_slices(InMemoryVolume(logits), maps_of(old, new), LogitsToLabels(), depth=depth))
    labels = torch.cat([labels for _, labels in pieces]).long()
    assert [start for start, _ in pieces] == [sum(len(p) for _, p in pieces[:i]) for i in range(len(pieces))]
    assert labels.shape == fine.shape[1:]
    # Rounding may decide between two that are equal to six digits.
    chosen = fine.gather(0, labels[None])[0]
    torch.testing.assert_close(chosen, fine.amax(0), atol=1e-5, rtol=0)


@given(old=sizes, new=sizes, depth=st.integers(1, 5))
def test_logits_are_interpolated_along_all_axes(
    old: tuple[int, int, int], new: tuple[int, int, int], depth: int
) -> None:
    logits = logits_of(old)
    pieces = list(interpolated_logits(InMemoryVolume(logits), maps_of(old, new), depth=depth))
    assert [start for start, _ in pieces] == [sum(p.shape[1] for _, p in pieces[:i]) for i in range(len(pieces))]
    fine = F.interpolate(logits[None], new, mode="trilinear", align_corners=False)[0]
    torch.testing.assert_close(torch.cat([piece for _, piece in pieces], dim=1), fine, atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("new", "starts", "reads"),
    [
        (12, [0, 4, 8], [(0, 4), (4, 8), (8, 12)]),  # nothing to interpolate: each slice is read once
        # New slices lie at 2 i + 0.5, between 2 i and 2 i + 1; the later of both decides the group.
        (6, [0, 2, 4], [(0, 4), (4, 8), (8, 12)]),
        # At (i + 0.5) / 2 - 0.5: the eighth, at 3.25, is the first to need slice 4, and slice 3 again.
        (24, [0, 7, 15], [(0, 4), (3, 8), (7, 12)]),
    ],
)
def test_as_many_slices_are_read_at_once_as_asked_for_and_one_between(
    new: int, starts: list[int], reads: list[tuple[int, int]]
) -> None:
    """Twelve slices of logits, four at a time."""
    volume = InMemoryVolume(logits_of((12, 2, 2)))
    asked: list[tuple[int, int]] = []

    class Remembered:
        shape = volume.shape

        def read(self, start: int, stop: int) -> torch.Tensor:
            asked.append((start, stop))
            return volume.read(start, stop)

    pieces = list(label_slices(Remembered(), maps_of((12, 2, 2), (new, 2, 2)), LogitsToLabels(), depth=4))
    assert [start for start, _ in pieces] == starts
    assert asked == reads


@given(old=sizes, new=sizes)
def test_regions_overwrite_in_their_order(old: tuple[int, int, int], new: tuple[int, int, int]) -> None:
    logits = logits_of(old, classes=3)
    fine = F.interpolate(logits[None], new, mode="trilinear", align_corners=False)[0]
    expected = torch.zeros(new, dtype=torch.int16)
    for region, label in zip(fine, (2, 7, 300), strict=True):
        expected[region > 0] = label
    labels = resample_labels(logits, maps_of(old, new), LogitsToLabels((2, 7, 300)))
    sure = (fine.abs() > 1e-5).all(0)
    assert torch.equal(labels[sure], expected[sure])


def test_nearest_along_thick_slices() -> None:
    logits = logits_of((4, 5, 5))
    maps = (nearest_map(4, 9), linear_map(5, 8), linear_map(5, 8))
    planes = F.interpolate(logits, (8, 8), mode="bilinear", align_corners=False)
    expected = planes[:, maps[0].first].argmax(0)
    assert torch.equal(resample_labels(logits, maps, LogitsToLabels()).long(), expected)


def test_the_first_of_equal_logits_is_taken_as_by_argmax() -> None:
    assert LogitsToLabels()(torch.zeros(3, 1, 1, 1)).item() == 0
    assert LogitsToLabels()(torch.tensor([0.0, 1.0, 1.0]).reshape(3, 1, 1, 1)).item() == 1


def test_only_mixed_cells_are_interpolated(monkeypatch: pytest.MonkeyPatch) -> None:
    from nnunetv2_cfseg.inference import logits_to_labels as module

    logits = torch.zeros(2, 20, 6, 6)
    logits[1, 10:] = 1.0
    looked_at: list[int] = []
    interpolate = module._interpolate
    monkeypatch.setattr(module, "_interpolate", lambda *args: looked_at.append(len(args[2][0])) or interpolate(*args))
    resample_labels(logits, maps_of((20, 6, 6), (40, 6, 6)), LogitsToLabels())
    assert sum(looked_at) == 2 * 36  # two of forty slices lie between the labels
