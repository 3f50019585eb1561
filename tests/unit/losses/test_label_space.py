"""Classes and regions: their probabilities, their foreground and their groups, by hand."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from nnunetv2_cfseg.losses.label_space import CLASSES, LabelSpace

REGIONS = LabelSpace(regions=True)


def voxels(*channels: list[float]) -> Tensor:
    """(1, K, Z, 1, 1)."""
    return torch.tensor(channels, dtype=torch.float64)[None, :, :, None, None]


LOGITS = voxels([0, 0], [math.log(3), -math.log(4)])


def test_classes_share_a_softmax_and_regions_have_a_sigmoid_each() -> None:
    assert CLASSES.probabilities(LOGITS).flatten().tolist() == pytest.approx([0.25, 0.8, 0.75, 0.2])
    assert REGIONS.probabilities(LOGITS).flatten().tolist() == pytest.approx([0.5, 0.5, 0.75, 0.2])


def test_foreground_is_without_the_background_of_classes() -> None:
    assert torch.equal(CLASSES.foreground(LOGITS), LOGITS[:, 1:])
    assert torch.equal(REGIONS.foreground(LOGITS), LOGITS)


def test_groups_of_classes() -> None:
    groups = CLASSES.one_hot_groups(LOGITS)
    assert groups.shape == (1, 1, 2, 2, 1, 1)
    assert torch.equal(groups[:, 0], LOGITS)


@pytest.mark.parametrize("dtype", [torch.bool, torch.float64])
def test_groups_of_regions_have_outside_first(dtype: torch.dtype) -> None:
    groups = REGIONS.one_hot_groups(voxels([1, 0], [0, 0]).to(dtype))
    assert groups.dtype == dtype
    assert groups.shape == (1, 2, 2, 2, 1, 1)
    assert groups.flatten().tolist() == [0, 1, 1, 0, 1, 1, 0, 0]


@pytest.mark.parametrize("labels", [CLASSES, REGIONS])
def test_log_probabilities_are_those_of_the_groups(labels: LabelSpace) -> None:
    expected = labels.one_hot_groups(labels.probabilities(LOGITS)).log()
    torch.testing.assert_close(labels.log_probabilities(LOGITS), expected)


@pytest.mark.parametrize("labels", [CLASSES, REGIONS])
def test_log_probabilities_stay_finite(labels: LabelSpace) -> None:
    assert bool(labels.log_probabilities(1e4 * LOGITS).isfinite().all())
