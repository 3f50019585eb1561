from __future__ import annotations

import torch
from torch import nn

from nnunetv2_cfseg.networks.windowed import Windowed
from nnunetv2_cfseg.networks.windows import WindowBank

CHANNELS = [{"mean": 40.0, "std": 20.0, "windows_hu": [(0, 80), (-160, 240)]}, None]


class Network(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.decoder = nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x


def test_network_sees_what_the_bank_makes_of_its_input() -> None:
    x = torch.randn(1, 2, 3, 4, 5)
    assert torch.equal(Windowed(Network(), CHANNELS)(x), WindowBank(CHANNELS)(x))


def test_decoder_is_the_networks() -> None:
    network = Network()
    assert Windowed(network, CHANNELS).decoder is network.decoder


def test_windows_add_no_weights() -> None:
    assert not Windowed(Network(), CHANNELS).state_dict()
