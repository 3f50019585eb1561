"""Targets: read from labels and regions, restricted, repeated, and refused."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from nnunetv2_cfseg.losses.label_space import CLASSES, LabelSpace
from nnunetv2_cfseg.losses.targets import Target, in_full_precision, read_target


def along_z(*channels: list[int]) -> Tensor:
    """(1, K, Z, 1, 1)."""
    return torch.tensor(channels)[None, :, :, None, None]


def values(x: Tensor | None) -> list[list[int]] | None:
    """(K, Z) of one column."""
    return None if x is None else x[0, :, :, 0, 0].int().tolist()


class TestRead:
    def test_labels(self) -> None:
        target = read_target(along_z([0, 2, 1]), (1, 3, 3, 1, 1), CLASSES)
        assert values(target.probabilities) == [[1, 0, 0], [0, 0, 1], [0, 1, 0]]
        assert target.probabilities.dtype == torch.bool
        assert (target.labels, target.valid, target.soft) == (CLASSES, None, None)

    @pytest.mark.parametrize("ignore_label", [1, 7])
    def test_ignored_labels_are_background_that_is_not_valid(self, ignore_label: int) -> None:
        labels = LabelSpace(ignore_label=ignore_label)
        target = read_target(along_z([0, ignore_label, 2]), (1, 3, 3, 1, 1), labels)
        assert values(target.probabilities) == [[1, 1, 0], [0, 0, 0], [0, 0, 1]]
        assert values(target.valid) == [[1, 0, 1]]
        assert target.labels == labels

    def test_regions(self) -> None:
        target = read_target(along_z([1, 0], [1, 1]), (1, 2, 2, 1, 1), LabelSpace(regions=True))
        assert values(target.probabilities) == [[1, 0], [1, 1]]
        assert target.probabilities.dtype == torch.bool
        assert target.valid is None

    def test_ignored_voxels_are_the_last_region(self) -> None:
        labels = LabelSpace(regions=True, ignore_label=9)
        target = read_target(along_z([1, 0], [1, 1], [0, 1]), (1, 2, 2, 1, 1), labels)
        assert values(target.probabilities) == [[1, 0], [1, 1]]
        assert values(target.valid) == [[1, 0]]

    @pytest.mark.parametrize(
        ("labels", "channels"),
        [(CLASSES, 2), (LabelSpace(ignore_label=3), 2), (LabelSpace(True), 3), (LabelSpace(True, 3), 2)],
    )
    def test_refuses_other_channels(self, labels: LabelSpace, channels: int) -> None:
        with pytest.raises(
            ValueError, match=r"a target must have .* for logits of \(1, 2, 3, 1, 1\), got \(1, \d, 3, 1, 1"
        ):
            read_target(torch.zeros(1, channels, 3, 1, 1), (1, 2, 3, 1, 1), labels)

    @pytest.mark.parametrize("shape", [(2, 1, 3, 1, 1), (1, 1, 4, 1, 1), (1, 1, 3, 1, 2)])
    def test_refuses_another_grid(self, shape: tuple[int, ...]) -> None:
        with pytest.raises(ValueError, match=r"a target must have the shape \(1, 1, 3, 1, 1\) for logits"):
            read_target(torch.zeros(shape), (1, 2, 3, 1, 1), CLASSES)


class TestTarget:
    def test_only_some_voxels_are_valid(self) -> None:
        target = read_target(along_z([0, 2, 1]), (1, 3, 3, 1, 1), CLASSES)
        some = target.only(torch.tensor([True, True, False]).view(1, 1, 3, 1, 1))
        assert values(some.valid) == [[1, 1, 0]]
        less = some.only(torch.tensor([False, True, True]).view(1, 1, 3, 1, 1))
        assert values(less.valid) == [[0, 1, 0]]
        assert torch.equal(less.probabilities, target.probabilities)
        assert target.valid is None

    def test_a_mask_of_slices_is_one_of_voxels(self) -> None:
        target = Target(torch.zeros(2, 3, 4, 5, 6), CLASSES).only(torch.ones(2, 1, 4, 1, 1, dtype=torch.bool))
        assert target.valid.shape == (2, 1, 4, 5, 6)

    def test_slices_are_repeated_and_neighbours_left_out_in_all_of_it(self) -> None:
        mask = along_z([1, 0, 0]).bool()
        target = Target(along_z([1, 0, 1], [0, 1, 0]), CLASSES, valid=mask, soft=~mask)
        twice = target.repeat(2)
        assert values(twice.probabilities) == [[1, 1, 0, 0, 1, 1], [0, 0, 1, 1, 0, 0]]
        assert values(twice.valid) == [[1, 1, 0, 0, 0, 0]]
        assert values(twice.soft) == [[0, 0, 1, 1, 1, 1]]
        inner = target.without_neighbours()
        assert values(inner.probabilities) == [[0], [1]]
        assert values(inner.valid) == [[0]]
        assert values(inner.soft) == [[1]]
        assert inner.labels is CLASSES

    def test_what_is_not_there_stays_so(self) -> None:
        twice = Target(along_z([1, 0, 1]), CLASSES).repeat(2)
        assert (twice.valid, twice.soft) == (None, None)


@pytest.mark.parametrize(
    ("dtype", "expected"),
    [
        (torch.float16, torch.float32),
        (torch.bfloat16, torch.float32),
        (torch.float32, torch.float32),
        (torch.float64, torch.float64),
    ],
)
def test_full_precision(dtype: torch.dtype, expected: torch.dtype) -> None:
    assert in_full_precision(torch.zeros(1, dtype=dtype)).dtype == expected
