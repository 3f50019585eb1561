"""Intensity augmentation that keeps CT in HU.

nnU-Net's brightness, contrast and gamma act on normalised values as if they had no unit. On a CT with our wide clip
range they move soft tissue by more than a hundred HU, out of every window that separates tissues. A real scanner's
calibration is off by a few HU and its noise by some tens of HU, so training sees changes of that size.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from batchgeneratorsv2.transforms.base.basic_transform import BasicTransform, ImageOnlyTransform
from batchgeneratorsv2.transforms.intensity.brightness import MultiplicativeBrightnessTransform
from batchgeneratorsv2.transforms.intensity.contrast import ContrastTransform
from batchgeneratorsv2.transforms.intensity.gamma import GammaTransform
from batchgeneratorsv2.transforms.intensity.gaussian_noise import GaussianNoiseTransform
from batchgeneratorsv2.transforms.utils.random import RandomTransform

UNITLESS = (MultiplicativeBrightnessTransform, ContrastTransform, GammaTransform, GaussianNoiseTransform)


class HounsfieldJitter(ImageOnlyTransform):
    """Shifts and scales the HU of each channel a little and adds white noise.

    Args:
        mean_hu: for each channel the mean in HU that nnU-Net subtracted.
        std_hu: for each channel the standard deviation in HU that nnU-Net divided by.
        shift_hu: largest shift, up or down.
        scale: largest relative change of the distance from water.
        noise_hu: largest standard deviation of the noise.
    """

    def __init__(
        self,
        mean_hu: Sequence[float],
        std_hu: Sequence[float],
        *,
        shift_hu: float = 5.0,
        scale: float = 0.03,
        noise_hu: float = 6.0,
    ) -> None:
        super().__init__()
        self.mean_hu = tuple(mean_hu)
        self.std_hu = tuple(std_hu)
        self.shift_hu = shift_hu
        self.scale = scale
        self.noise_hu = noise_hu

    def _apply_to_image(self, img: torch.Tensor, **params: object) -> torch.Tensor:
        """Change ``img`` (C, Z, Y, X), normalised, in place and return it."""
        rng = np.random.default_rng(np.random.randint(2**31, size=4))
        for channel, (mean, std) in enumerate(zip(self.mean_hu, self.std_hu, strict=True)):
            factor = 1 + rng.uniform(-self.scale, self.scale)
            shift = rng.uniform(-self.shift_hu, self.shift_hu)
            noise = torch.randn(img[channel].shape, generator=torch.Generator().manual_seed(int(rng.integers(2**31))))
            noise *= rng.uniform(0, self.noise_hu) / std
            # In HU: factor * hu + shift, with hu = std * x + mean.
            img[channel] = img[channel] * factor + ((factor - 1) * mean + shift) / std + noise
        return img


def without_unitless_intensity(transforms: list[BasicTransform]) -> list[BasicTransform]:
    """nnU-Net's augmentation without the steps that ignore HU."""
    return [t for t in transforms if not (isinstance(t, RandomTransform) and isinstance(t.transform, UNITLESS))]
