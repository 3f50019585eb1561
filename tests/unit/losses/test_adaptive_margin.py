"""The margin that keeps the volume of a segmentation: which way it moves, where it acts, and that it settles."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from nnunetv2_cfseg.losses.adaptive_margin import AdaptiveLogitMargin
from nnunetv2_cfseg.losses.label_space import CLASSES, LabelSpace
from nnunetv2_cfseg.losses.segmentation import cross_entropy_loss
from nnunetv2_cfseg.losses.targets import Target


def soft_target(lesion: Tensor, *, regions: bool = False, soft: bool | Tensor = True) -> Target:
    """Two classes, or one region, of (N, 1, Z, Y, X) probabilities of lesion."""
    truth = lesion if regions else torch.cat([1 - lesion, lesion], dim=1)
    where = soft if isinstance(soft, Tensor) else torch.full_like(lesion, soft, dtype=torch.bool)
    return Target(truth, LabelSpace(regions), soft=where)


def logits_of(lesion: float, *, regions: bool = False) -> Tensor:
    value = torch.full((1, 1, 4, 5, 5), lesion)
    return value if regions else torch.cat([torch.zeros_like(value), value], dim=1)


HALF = torch.full((1, 1, 4, 5, 5), 0.5)


@pytest.mark.parametrize("regions", [False, True])
def test_what_is_segmented_too_little_gets_a_margin(regions: bool) -> None:
    margin = AdaptiveLogitMargin()
    seen = margin(logits_of(-1, regions=regions), soft_target(HALF, regions=regions))
    assert margin.margin > 0
    torch.testing.assert_close(seen[:, -1:], logits_of(-1, regions=True) - margin.margin)
    assert margin.margin.shape == (1, 1, 1, 1)
    if not regions:
        assert not seen[:, 0].any()


def test_and_too_much_a_negative_one() -> None:
    margin = AdaptiveLogitMargin()
    margin(logits_of(1), soft_target(HALF))
    assert margin.margin < 0


def test_moves_by_the_logarithm_of_the_volumes() -> None:
    # Of four voxels, each lesion with probability one half, three are segmented: one voxel more than two on each side
    half, logits = torch.full((1, 1, 4, 1, 1), 0.5), torch.tensor([9.0, 9, 9, -9]).view(1, 1, 4, 1, 1)
    target, steps = soft_target(half, regions=True), math.log((2 + 1) / (3 + 1))
    margin = AdaptiveLogitMargin()
    margin(logits, target)
    assert margin.margin.item() == pytest.approx(0.05 * steps)
    margin(logits, target)
    assert margin.margin.item() == pytest.approx(0.1 * steps)
    quick = AdaptiveLogitMargin(rate=0.3)
    quick(logits, target)
    assert quick.margin.item() == pytest.approx(0.3 * steps)


def test_a_region_that_is_as_likely_as_not_is_not_segmented() -> None:
    margin = AdaptiveLogitMargin()
    margin(logits_of(0, regions=True), soft_target(HALF, regions=True))
    assert margin.margin.item() == pytest.approx(0.05)


def test_a_step_is_at_most_the_rate() -> None:
    # Of 100 voxels 50 should be lesion and none is, or all are: the logarithms are 3.9, and -0.7 within the limit
    margin = AdaptiveLogitMargin()
    margin(logits_of(-1), soft_target(HALF))
    assert margin.margin.item() == pytest.approx(0.05)
    margin = AdaptiveLogitMargin()
    margin(logits_of(1), soft_target(torch.full_like(HALF, 0.01)))
    assert margin.margin.item() == pytest.approx(-0.05)


def test_largest_margin_is_two() -> None:
    margin = AdaptiveLogitMargin(rate=9.0)
    margin(logits_of(-9), soft_target(HALF))
    assert margin.margin.item() == 2
    margin(logits_of(9), soft_target(torch.full_like(HALF, 0.01)))
    assert margin.margin.item() == -2


def test_each_class_has_its_own() -> None:
    """Of two classes, as likely, the second one is never segmented."""
    margin, third = AdaptiveLogitMargin(), torch.full_like(HALF, 1 / 3)
    target = Target(torch.cat([third] * 3, dim=1), CLASSES, soft=torch.ones_like(HALF, dtype=torch.bool))
    seen = margin(torch.cat([torch.zeros_like(HALF), HALF, -HALF], dim=1), target)
    first, second = margin.margin.flatten().tolist()
    assert first < 0 < second
    torch.testing.assert_close(seen[0, :, 0, 0, 0], torch.tensor([0, 0.5 - first, -0.5 - second]))


def test_blocks_are_looked_at_one_by_one() -> None:
    """The likeliest class of a block is that of its own logits: none of the first, all of the second."""
    logits = torch.cat([logits_of(-1), logits_of(1)])
    margin = AdaptiveLogitMargin()
    margin(logits, soft_target(torch.full((2, 1, 4, 5, 5), 0.7)))
    assert margin.margin.item() == pytest.approx(0.05 * math.log((140 + 1) / (100 + 1)))


def test_acts_on_guesses_alone() -> None:
    margin, logits = AdaptiveLogitMargin(), logits_of(-1)
    where = torch.zeros_like(HALF, dtype=torch.bool)
    where[:, :, 0] = True
    seen = margin(logits, soft_target(HALF, soft=where))
    assert torch.equal(seen[:, :, 1:], logits[:, :, 1:])
    assert not torch.equal(seen[:, :, 0], logits[:, :, 0])
    sure = Target(torch.cat([1 - HALF, HALF], dim=1), CLASSES)
    assert margin(logits, sure) is logits


def test_ignored_voxels_do_not_move_it() -> None:
    margin = AdaptiveLogitMargin()
    margin(logits_of(-1), soft_target(HALF).only(torch.zeros_like(HALF, dtype=torch.bool)))
    assert margin.margin == 0


def test_stays_within_its_limit() -> None:
    margin = AdaptiveLogitMargin(rate=1.0, largest=0.5)
    for _ in range(5):
        margin(logits_of(-9), soft_target(HALF))
    assert margin.margin == 0.5


def test_a_bulge_keeps_its_volume() -> None:
    """Targets that are seldom above one half, and add up to a third of all voxels."""
    rng = torch.Generator().manual_seed(0)
    lesion = torch.rand((1, 1, 20, 20, 20), generator=rng) / 3 + torch.linspace(0, 0.35, 20).view(1, 1, 20, 1, 1)
    margin, logits = AdaptiveLogitMargin(), torch.zeros_like(lesion).requires_grad_()
    optimizer = torch.optim.SGD([logits], lr=2000.0)
    for _ in range(400):
        optimizer.zero_grad()
        both = torch.cat([torch.zeros_like(logits), logits], dim=1)
        target = soft_target(lesion)
        cross_entropy_loss(margin(both, target), target).backward()
        optimizer.step()
    without = float((lesion > 0.5).float().mean())
    segmented = float((logits > 0).float().mean())
    assert without < 0.5 * float(lesion.mean())
    assert segmented == pytest.approx(float(lesion.mean()), abs=0.02)
