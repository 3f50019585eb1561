"""nnU-Net's normalisation of intensities, as a clip, a shift and a scale, so that any part of a scan can have it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import inf
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

#: nnU-Net divides by no less.
SMALLEST_STD = 1e-8


@dataclass(frozen=True)
class Intensity:
    """Clip, then subtract, then divide."""

    low: float = -inf
    high: float = inf
    mean: float = 0.0
    std: float = 1.0

    def normalise(self, values: Tensor) -> Tensor:
        """Values of any type to new float32 ones."""
        values = values.to(torch.float32, copy=True)
        if (self.low, self.high) != (-inf, inf):
            values.clamp_(self.low, self.high)
        return values.sub_(self.mean).div_(self.std)


def ct_intensity(properties: Mapping[str, float]) -> Intensity:
    """``CTNormalization`` with the foreground's statistics of the plans."""
    return Intensity(
        properties["percentile_00_5"],
        properties["percentile_99_5"],
        properties["mean"],
        max(properties["std"], SMALLEST_STD),
    )


def intensity_of(scheme: str, properties: Mapping[str, float], channel: NDArray[Any]) -> Intensity:
    """What a normalisation scheme of the plans does to a channel of a scan.

    Raises:
        ValueError: a scheme that is not one clip, shift and scale of all voxels.
    """
    if scheme == "CTNormalization":
        return ct_intensity(properties)
    if scheme == "NoNormalization":
        return Intensity()
    if scheme == "ZScoreNormalization":
        mean = float(channel.mean(dtype=np.float64))
        # Plane by plane: numpy's own makes a float64 copy of the scan.
        variance = float(np.mean([np.square(plane - mean, dtype=np.float64).mean() for plane in channel]))
        return Intensity(mean=mean, std=max(variance**0.5, SMALLEST_STD))
    raise ValueError(
        f"cfseg predict normalises with CTNormalization, ZScoreNormalization and NoNormalization, and the plans have "
        f"{scheme}; nnUNetv2_predict takes any"
    )
