"""The margin that keeps the volume of a segmentation: which way it moves, where it acts, and that it settles."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from nnunetv2_cfseg.losses.adaptive_margin import AdaptiveLogitMargin
from nnunetv2_cfseg.losses.segmentation import cross_entropy_loss
from nnunetv2_cfseg.losses.targets import Target


def annotated(lesion: Tensor, *, regions: bool = False, unsure: bool | Tensor = True) -> Target:
    """Two classes, or one region, of (N, 1, Z, Y, X) probabilities of lesion."""
    truth = lesion if regions else torch.cat([1 - lesion, lesion], dim=1)
    where = unsure if isinstance(unsure, Tensor) else torch.full_like(lesion, unsure, dtype=torch.bool)
    return Target(truth, None, regions, where)


def logits_of(lesion: float, *, regions: bool = False) -> Tensor:
    value = torch.full((1, 1, 4, 5, 5), lesion)
    return value if regions else torch.cat([torch.zeros_like(value), value], dim=1)


HALF = torch.full((1, 1, 4, 5, 5), 0.5)


@pytest.mark.parametrize("regions", [False, True])
def test_what_is_segmented_too_little_gets_a_margin(regions: bool) -> None:
    volume = AdaptiveLogitMargin()
    seen = volume(logits_of(-1, regions=regions), annotated(HALF, regions=regions))
    assert volume.margin > 0
    torch.testing.assert_close(seen[:, -1:], logits_of(-1, regions=True) - volume.margin)
    assert volume.margin.shape == (1, 1, 1, 1)
    if not regions:
        assert not seen[:, 0].any()


def test_and_too_much_a_negative_one() -> None:
    volume = AdaptiveLogitMargin()
    volume(logits_of(1), annotated(HALF))
    assert volume.margin < 0


def test_each_class_has_its_own() -> None:
    """Of two classes, as likely, the second one is never segmented."""
    volume, third = AdaptiveLogitMargin(), torch.full_like(HALF, 1 / 3)
    annotation = Target(torch.cat([third] * 3, dim=1), None, False, torch.ones_like(HALF, dtype=torch.bool))
    seen = volume(torch.cat([torch.zeros_like(HALF), HALF, -HALF], dim=1), annotation)
    first, second = volume.margin.flatten().tolist()
    assert first < 0 < second
    torch.testing.assert_close(seen[0, :, 0, 0, 0], torch.tensor([0, 0.5 - first, -0.5 - second]))


def test_acts_on_guesses_alone() -> None:
    volume, logits = AdaptiveLogitMargin(), logits_of(-1)
    where = torch.zeros_like(HALF, dtype=torch.bool)
    where[:, :, 0] = True
    seen = volume(logits, annotated(HALF, unsure=where))
    assert torch.equal(seen[:, :, 1:], logits[:, :, 1:])
    assert not torch.equal(seen[:, :, 0], logits[:, :, 0])
    known = Target(torch.cat([1 - HALF, HALF], dim=1), None, False)
    assert volume(logits, known) is logits


def test_ignored_voxels_do_not_move_it() -> None:
    volume = AdaptiveLogitMargin()
    volume(logits_of(-1), annotated(HALF).only(torch.zeros_like(HALF, dtype=torch.bool)))
    assert volume.margin == 0


def test_stays_within_its_limit() -> None:
    volume = AdaptiveLogitMargin(rate=1.0, most=0.5)
    for _ in range(5):
        volume(logits_of(-9), annotated(HALF))
    assert volume.margin == 0.5


def test_a_bulge_keeps_its_volume() -> None:
    """Targets that are seldom above one half, and add up to a third of all voxels."""
    rng = torch.Generator().manual_seed(0)
    lesion = torch.rand((1, 1, 20, 20, 20), generator=rng) / 3 + torch.linspace(0, 0.35, 20).view(1, 1, 20, 1, 1)
    volume, logits = AdaptiveLogitMargin(), torch.zeros_like(lesion).requires_grad_()
    optimizer = torch.optim.SGD([logits], lr=2000.0)
    for _ in range(400):
        optimizer.zero_grad()
        both = torch.cat([torch.zeros_like(logits), logits], dim=1)
        annotation = annotated(lesion)
        cross_entropy_loss(volume(both, annotation), annotation).backward()
        optimizer.step()
    without = float((lesion > 0.5).float().mean())
    segmented = float((logits > 0).float().mean())
    assert without < 0.5 * float(lesion.mean())
    assert segmented == pytest.approx(float(lesion.mean()), abs=0.02)
