"""Repeatable training: one seed for weights, augmentation and blocks."""

from __future__ import annotations

import os
import random

import numpy as np
import torch
from batchgeneratorsv2.transforms.base.basic_transform import BasicTransform
from batchgeneratorsv2.transforms.noise.gaussian_blur import GaussianBlurTransform

from nnunetv2_cfseg.nnunet.environment import SEED_VARIABLE


def read_seed() -> int | None:
    """Return the training seed from the environment, ``None`` if it is not set.

    Raises:
        ValueError: it is not a whole number >= 0 and below 2**32.
    """
    text = os.environ.get(SEED_VARIABLE)
    if text is None:
        return None
    if not text.isdecimal() or int(text) >= 2**32:
        raise ValueError(f"{SEED_VARIABLE} must be a whole number >= 0 and below 2**32, got {text!r}")
    return int(text)


def seed_everything(seed: int) -> None:
    """Seed the global streams that nnU-Net's initialisation and augmentation draw from."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)


def disable_blur_autotuning(transforms: list[BasicTransform]) -> None:
    """Make nnU-Net's blur choose its algorithm by kernel size; choosing by speed changes the last bits between runs."""
    for transform in transforms:
        inner = getattr(transform, "transform", transform)
        if isinstance(inner, GaussianBlurTransform):
            inner.benchmark = False
