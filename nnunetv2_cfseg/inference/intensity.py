"""nnU-Net's normalisation of intensities as a clip, a shift and a scale, which can be applied to any part of a scan."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import inf
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

#: Smallest divisor, as in nnU-Net.
SMALLEST_STD = 1e-8


@dataclass(frozen=True)
class Intensity:
    """Clip, then subtract, then divide."""

    low: float = -inf
    high: float = inf
    mean: float = 0.0
    std: float = 1.0

    def normalise(self, values: Tensor) -> Tensor:
        """Return normalised values as a new float32 tensor; ``values`` may have any type."""
        values = values.to(torch.float32, copy=True)
        if (self.low, self.high) != (-inf, inf):
            values.clamp_(self.low, self.high)
        return values.sub_(self.mean).div_(self.std)


def ct_intensity(properties: Mapping[str, float]) -> Intensity:
    """``CTNormalization`` with the plans' foreground statistics."""
    return Intensity(
        properties["percentile_00_5"],
        properties["percentile_99_5"],
        properties["mean"],
        max(properties["std"], SMALLEST_STD),
    )


def intensity_of(scheme: str, properties: Mapping[str, float], channel: NDArray[Any]) -> Intensity:
    """The normalisation that a scheme of the plans applies to a channel of a scan, (Z, Y, X).

    Raises:
        ValueError: the scheme is unknown.
    """
    if scheme == "CTNormalization":
        return ct_intensity(properties)
    if scheme == "NoNormalization":
        return Intensity()
    if scheme == "ZScoreNormalization":
        mean = float(channel.mean(dtype=np.float64))
        # Plane by plane: numpy's own variance makes a float64 copy of the scan.
        variance = float(np.mean([np.square(plane - mean, dtype=np.float64).mean() for plane in channel]))
        return Intensity(mean=mean, std=max(variance**0.5, SMALLEST_STD))
    raise ValueError(
        f"unknown normalisation {scheme} in the plans; cfseg predict has CTNormalization, ZScoreNormalization and "
        f"NoNormalization, nnUNetv2_predict has them all"
    )
