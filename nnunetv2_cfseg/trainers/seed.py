"""Repeatable training: one seed for weights, augmentation and blocks."""

from __future__ import annotations

import os
import random

import numpy as np
import torch

SEED_VARIABLE = "CFSEG_SEED"


def read_seed() -> int | None:
    """Return the training seed from the environment, ``None`` where it is not set.

    Raises:
        ValueError: it is not a whole number >= 0.
    """
    text = os.environ.get(SEED_VARIABLE)
    if text is None:
        return None
    if not text.isdecimal():
        raise ValueError(f"{SEED_VARIABLE} must be a whole number >= 0, got {text!r}")
    return int(text)


def seed_everything(seed: int) -> None:
    """Seed the global streams that nnU-Net's initialisation and augmentation draw from."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)
