"""The supervised loss against nnU-Net's own, built as its trainer builds them."""

from __future__ import annotations

import inspect

import pytest
import torch
from nnunetv2.training.loss.compound_losses import DC_and_BCE_loss, DC_and_CE_loss
from nnunetv2.training.loss.dice import MemoryEfficientSoftDiceLoss
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from torch import Tensor, nn

from nnunetv2_cfseg.losses import LabelSpace, SegmentationLoss

SHAPE = (3, 4, 5, 6)  # N, Z, Y, X
CHANNELS = 4
IGNORE = 4


def nnunet_loss(*, regions: bool, ignore_label: int | None, batch_dice: bool) -> nn.Module:
    dice = {"batch_dice": batch_dice, "do_bg": regions, "smooth": 1e-5, "ddp": False}
    if regions:
        return DC_and_BCE_loss(
            {}, dice, use_ignore_label=ignore_label is not None, dice_class=MemoryEfficientSoftDiceLoss
        )
    return DC_and_CE_loss(dice, {}, 1, 1, ignore_label=ignore_label, dice_class=MemoryEfficientSoftDiceLoss)


def draw(kind: str, *, regions: bool, ignore_label: int | None) -> tuple[Tensor, Tensor]:
    """Logits and a target of ``kind``: usual, one class alone, or all of it ignored."""
    rng = torch.Generator().manual_seed(3)
    n, *space = SHAPE
    logits = 3 * torch.randn((n, CHANNELS, *space), generator=rng)
    if regions:
        target = torch.rand((n, CHANNELS + (ignore_label is not None), *space), generator=rng) < 0.3
        if kind == "one class":
            target[:, 1:CHANNELS] = False
        if kind == "ignored":
            target[:, -1] = True
        return logits, target
    target = torch.randint(CHANNELS, (n, 1, *space), generator=rng).to(torch.int16)
    if kind == "one class":
        target[:] = 0
    if ignore_label is not None:
        target[torch.rand(target.shape, generator=rng) < (1 if kind == "ignored" else 0.3)] = ignore_label
    return logits, target


@pytest.mark.parametrize("batch_dice", [False, True])
@pytest.mark.parametrize(
    ("kind", "ignore_label"),
    [("usual", None), ("usual", IGNORE), ("one class", None), ("one class", IGNORE), ("ignored", IGNORE)],
)
@pytest.mark.parametrize("regions", [False, True])
def test_value_and_gradient_are_nnunets(regions: bool, kind: str, ignore_label: int | None, batch_dice: bool) -> None:
    logits, target = draw(kind, regions=regions, ignore_label=ignore_label)
    ours, theirs = logits.clone().requires_grad_(), logits.clone().requires_grad_()
    value = SegmentationLoss(LabelSpace(regions, ignore_label), batch_dice=batch_dice)(ours, target)
    expected = nnunet_loss(regions=regions, ignore_label=ignore_label, batch_dice=batch_dice)(theirs, target)
    value.backward()
    expected.backward()
    torch.testing.assert_close(value, expected, rtol=2e-6, atol=2e-6)
    torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-5, atol=1e-8)


def test_nnunets_trainer_builds_the_loss_with_these_settings() -> None:
    source = " ".join(inspect.getsource(nnUNetTrainer._build_loss).split())
    assert "DC_and_BCE_loss({}, {'batch_dice': self.configuration_manager.batch_dice, 'do_bg': True, 'smooth': 1e-5" in source  # fmt: skip  # noqa: E501
    assert "'smooth': 1e-5, 'do_bg': False, 'ddp': self.is_ddp}, {}, weight_ce=1, weight_dice=1" in source
    assert source.count("dice_class=MemoryEfficientSoftDiceLoss") == 2
