"""Networks of other libraries take crops of any size, in nnU-Net's hands."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from nnunetv2_cfseg.baselines.baseline_trainer import BaselineTrainer, Padded
from nnunetv2_cfseg.baselines.monai_networks import (
    nnUNetTrainer_SwinUNETR,
    nnUNetTrainer_UNetPlusPlus,
    nnUNetTrainer_UNETR,
)
from nnunetv2_cfseg.baselines.pytorch3dunet_networks import nnUNetTrainer_ResidualUNet3D, nnUNetTrainer_UNet3D
from nnunetv2_cfseg.nnunet_ext import baseline_trainers
from nnunetv2_cfseg.trainers.timed import nnUNetTrainer_timed

pytestmark = pytest.mark.slow

TRAINERS = (
    nnUNetTrainer_UNETR, nnUNetTrainer_SwinUNETR, nnUNetTrainer_UNetPlusPlus, nnUNetTrainer_UNet3D,
    nnUNetTrainer_ResidualUNet3D,
)  # fmt: skip


@pytest.mark.parametrize("trainer", TRAINERS, ids=lambda trainer: trainer.__name__)
def test_logits_have_the_crops_size(trainer: type[BaselineTrainer]) -> None:
    configuration: Any = SimpleNamespace(patch_size=[18, 32, 40])
    network = trainer.build_network_architecture(None, configuration, 1, 3)  # type: ignore[arg-type]
    network.eval()
    with torch.inference_mode():
        logits = network(torch.randn(1, 1, 18, 32, 40))
    assert logits.shape == (1, 3, 18, 32, 40)
    assert (logits < 0).any()  # no softmax


def test_padding_is_behind_and_cut_off() -> None:
    class Ends(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            assert x.shape[2:] == (4, 8, 8)
            assert (x[:, :, 3:] == 0).all()
            return x + 1

    data = torch.randn(1, 2, 3, 5, 8)
    assert torch.equal(Padded(Ends(), 4)(data), data + 1)


def test_a_library_that_is_missing_is_named() -> None:
    class Trainer(BaselineTrainer):
        @staticmethod
        def make_network(input_channels: int, heads: int, crop: tuple[int, int, int]) -> nn.Module:
            import no_such_library

            return no_such_library

    with pytest.raises(ValueError, match="Trainer needs no_such_library: pip install"):
        Trainer.build_network_architecture(None, SimpleNamespace(patch_size=[8, 8, 8]), 1, 2)  # type: ignore[arg-type]


def test_the_example_of_the_docs() -> None:
    page = (Path(__file__).parents[3] / "docs" / "how-to" / "add-a-baseline.md").read_text()
    (code,) = re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL)
    assert len(code.splitlines()) < 30
    names: dict[str, Any] = {}
    exec(code, names)
    trainer = names["nnUNetTrainer_SegResNet_timed"]
    network = trainer.build_network_architecture(None, SimpleNamespace(patch_size=[18, 16, 20]), 1, 3)
    assert network(torch.randn(1, 1, 18, 16, 20)).shape == (1, 3, 18, 16, 20)


@pytest.mark.parametrize("trainer", TRAINERS, ids=lambda trainer: trainer.__name__)
def test_the_timed_one_is_the_same_by_the_clock(trainer: type[BaselineTrainer]) -> None:
    """So that a training of one tells of both."""
    timed = getattr(baseline_trainers, f"{trainer.__name__}_timed")
    assert timed.__bases__ == (nnUNetTrainer_timed, trainer)
    assert getattr(baseline_trainers, trainer.__name__) is trainer  # nnU-Net finds both
    assert not {name for name in vars(timed) if not name.startswith("__")}
