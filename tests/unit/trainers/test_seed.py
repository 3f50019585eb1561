"""The training seed."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from batchgeneratorsv2.transforms.noise.gaussian_blur import GaussianBlurTransform
from batchgeneratorsv2.transforms.spatial.mirroring import MirrorTransform
from batchgeneratorsv2.transforms.utils.random import RandomTransform

from nnunetv2_cfseg.trainers.seed import SEED_VARIABLE, disable_blur_autotuning, read_seed, seed_everything


def test_no_seed_is_none() -> None:
    assert read_seed() is None


@pytest.mark.parametrize(("text", "seed"), [("0", 0), ("42", 42), ("007", 7)])
def test_seed_is_read_from_the_environment(monkeypatch: pytest.MonkeyPatch, text: str, seed: int) -> None:
    monkeypatch.setenv(SEED_VARIABLE, text)
    assert read_seed() == seed


@pytest.mark.parametrize("text", ["", "-1", "1.5", "one", "0x10", " 3"])
def test_seed_must_be_a_whole_number(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv(SEED_VARIABLE, text)
    with pytest.raises(
        ValueError, match=f"^{SEED_VARIABLE} must be a whole number >= 0 and below 2.*32, got '{text}'$"
    ):
        read_seed()


def test_seed_must_be_one_that_torch_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SEED_VARIABLE, str(2**64))
    with pytest.raises(ValueError, match=SEED_VARIABLE):
        read_seed()


def draw() -> tuple[float, float, float]:
    return random.random(), np.random.rand(), float(torch.rand(1))


def test_seeding_repeats_all_global_streams() -> None:
    draws = []
    for seed in (3, 3, 4):
        seed_everything(seed)
        draws.append(draw())
    assert draws[0] == draws[1]
    assert all(a != b for a, b in zip(draws[0], draws[2], strict=True))


def test_seeds_larger_than_numpys_are_taken() -> None:
    seed_everything(2**40)
    first = draw()
    seed_everything(2**40)
    assert draw() == first


def test_blur_no_longer_chooses_its_algorithm_by_the_clock() -> None:
    blur = GaussianBlurTransform(blur_sigma=(0.5, 1.0), benchmark=True)
    disable_blur_autotuning([RandomTransform(blur, apply_probability=0.2), MirrorTransform(allowed_axes=(0,))])
    assert blur.benchmark is False
