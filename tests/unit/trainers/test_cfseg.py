"""Parts of the trainer that need no training."""

from __future__ import annotations

import pytest
import torch

from nnunetv2_cfseg.networks import BlockCenterTransformer
from nnunetv2_cfseg.trainers.cfseg import nnUNetTrainerCFSeg


@pytest.fixture
def trainer() -> nnUNetTrainerCFSeg:
    """A trainer with a network and nothing else."""
    trainer = nnUNetTrainerCFSeg.__new__(nnUNetTrainerCFSeg)
    trainer.network = BlockCenterTransformer(
        1, 2, patch_size=2, block_patches=3, embed_dim=12, depth=2, num_heads=2, position="learned"
    )
    trainer.initial_lr, trainer.weight_decay, trainer.num_epochs = 2e-3, 1e-2, 10
    return trainer


def test_weights_decay_but_biases_norms_and_position_codes_do_not(trainer: nnUNetTrainerCFSeg) -> None:
    optimizer, _ = trainer.configure_optimizers()
    decay = {id(p): group["weight_decay"] for group in optimizer.param_groups for p in group["params"]}
    assert len(decay) == len(list(trainer.network.parameters()))
    for name, parameter in trainer.network.named_parameters():
        decays = name.endswith(".weight") and "norm" not in name
        assert decay[id(parameter)] == (1e-2 if decays else 0.0), name


def test_network_is_found_before_ddp_wraps_it(trainer: nnUNetTrainerCFSeg) -> None:
    trainer.is_ddp = True  # from the constructor on, though nnU-Net wraps the network last
    assert trainer.block_center_network() is trainer.network


def test_network_is_found_inside_torch_compile(trainer: nnUNetTrainerCFSeg) -> None:
    network = trainer.network
    trainer.network = torch.compile(network, backend="eager")
    trainer.is_ddp = False
    assert trainer.block_center_network() is network


@pytest.mark.parametrize(
    ("asked", "device", "compiles"),
    [
        (None, "cuda", False),  # nnU-Net's own trainers compile
        ("f", "cuda", False),
        ("t", "cuda", True),
        ("True", "cuda", True),
        ("1", "cuda", True),
        (None, "cpu", False),
        ("t", "cpu", False),  # nnU-Net's rule
    ],
)
def test_compiles_only_where_it_is_asked_for(
    trainer: nnUNetTrainerCFSeg, monkeypatch: pytest.MonkeyPatch, asked: str | None, device: str, compiles: bool
) -> None:
    trainer.device = torch.device(device)
    trainer.print_to_log_file = lambda *text, **how: None
    if asked is not None:
        monkeypatch.setenv("nnUNet_compile", asked)
    assert trainer._do_i_compile() is compiles


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there_is_said_in_a_sentence(trainer: nnUNetTrainerCFSeg) -> None:
    trainer.device, trainer._seed = torch.device("cuda"), None
    with pytest.raises(ValueError, match="no GPU; add -device cpu"):
        trainer.initialize()
