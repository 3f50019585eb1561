"""Any network behind a bank of CT windows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from nnunetv2_cfseg.networks.windows import WindowBank


class Windowed(nn.Module):
    """Shows a network every CT channel through several windows.

    Args:
        network: for as many channels as the bank has windows.
        channels: of the :class:`~.windows.WindowBank`.
    """

    def __init__(self, network: nn.Module, channels: Sequence[dict[str, Any] | None]) -> None:
        super().__init__()
        self.windows = WindowBank(channels)
        self.network = network

    @property
    def decoder(self) -> nn.Module:
        """The network's decoder, on which nnU-Net switches deep supervision."""
        decoder: nn.Module = self.network.decoder  # type: ignore[assignment]
        return decoder

    def forward(self, x: Tensor) -> Tensor | list[Tensor]:
        """(B, C, Z, Y, X) normalised by nnU-Net to what the network gives for its windows."""
        return self.network(self.windows(x))
