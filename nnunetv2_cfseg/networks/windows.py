"""CT intensity: from nnU-Net's normalised values back to HU, and through a bank of windows.

nnU-Net clips CT to the foreground's percentiles, which hides most of the scan. Plans of this package keep the whole
range of CT, and the network looks through several windows at once, as a radiologist does.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

#: Names, and lower and upper ends in HU, of the windows that plans choose from.
WINDOWS_HU: dict[str, tuple[float, float]] = {
    "brain": (0.0, 80.0),
    "subdural": (-20.0, 180.0),
    "soft_tissue": (-160.0, 240.0),
    "bone": (-500.0, 1500.0),
    "lung": (-1350.0, 150.0),
    "wide": (-1024.0, 3071.0),
}


class WindowBank(nn.Module):
    """Turns each CT channel into one channel per window: a ramp from -1 at the window's lower end to 1 at its upper.

    Args:
        channels: for every input channel ``None`` (not CT, passed on as it is) or a dict with nnU-Net's ``mean`` and
            ``std`` in HU, which undo its normalisation, and ``windows_hu``, a list of (lower, upper).

    Raises:
        ValueError: a missing key, a window whose upper end is not above its lower, an empty list, a mean that is not
            finite or a std that is not positive and finite.
    """

    def __init__(self, channels: Sequence[dict[str, Any] | None]) -> None:
        super().__init__()
        self.channels = [None if channel is None else _checked(channel) for channel in channels]
        self.out_channels = sum(len(channel["windows_hu"]) if channel else 1 for channel in self.channels)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, Z, Y, X) normalised by nnU-Net to (B, out_channels, Z, Y, X)."""
        out: list[Tensor] = []
        for index, channel in enumerate(self.channels):
            values = x[:, index]
            if channel is None:
                out.append(values)
                continue
            hu = values * channel["std"] + channel["mean"]
            out += [(2 * (hu - low) / (high - low) - 1).clamp(-1, 1) for low, high in channel["windows_hu"]]
        return torch.stack(out, dim=1)


def _checked(channel: dict[str, Any]) -> dict[str, Any]:
    missing = {"mean", "std", "windows_hu"} - channel.keys()
    if missing:
        raise ValueError(f"a CT channel needs mean, std and windows_hu, and lacks {', '.join(sorted(missing))}")
    windows = [(float(low), float(high)) for low, high in channel["windows_hu"]]
    if not windows or not all(low < high for low, high in windows):
        raise ValueError(f"windows_hu must be a list of (lower, upper) with lower < upper, got {channel['windows_hu']}")
    mean, std = float(channel["mean"]), float(channel["std"])
    if not math.isfinite(mean):
        raise ValueError(f"the mean that undoes CT normalisation must be finite, got {mean} HU")
    if not 0 < std < math.inf:
        raise ValueError(f"the std that undoes CT normalisation must be > 0 HU, got {std} HU")
    return {"mean": mean, "std": std, "windows_hu": windows}
