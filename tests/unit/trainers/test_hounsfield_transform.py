"""CT stays in HU under intensity augmentation."""

import numpy as np
import pytest
import torch
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

from nnunetv2_cfseg.trainers.hounsfield_transform import HounsfieldJitter, without_unitless_intensity

MEAN_HU, STD_HU = 280.0, 450.0


def to_hu(x: torch.Tensor) -> torch.Tensor:
    return x * STD_HU + MEAN_HU


def jitter(hu: float, **settings: float) -> torch.Tensor:
    settings = {"shift_hu": 0.0, "scale": 0.0, "noise_hu": 0.0, **settings}
    image = torch.full((1, 8, 8, 8), (hu - MEAN_HU) / STD_HU)
    return to_hu(HounsfieldJitter([MEAN_HU], [STD_HU], **settings)(image=image)["image"])


def test_without_any_jitter_nothing_changes() -> None:
    torch.testing.assert_close(jitter(40.0), torch.full((1, 8, 8, 8), 40.0), atol=1e-3, rtol=0)


@pytest.mark.parametrize("hu", [-1000.0, 0.0, 40.0, 1500.0])
def test_a_shift_moves_every_hu_by_the_same(hu: float) -> None:
    np.random.seed(3)
    shifts = [float(jitter(hu, shift_hu=15.0).mean()) - hu for _ in range(50)]
    assert max(np.abs(shifts)) <= 15.001
    assert max(shifts) > 5
    assert min(shifts) < -5


def test_a_scale_leaves_water_where_it_is_and_moves_bone() -> None:
    np.random.seed(3)
    water = [float(jitter(0.0, scale=0.03).mean()) for _ in range(20)]
    bone = [float(jitter(1000.0, scale=0.03).mean()) for _ in range(20)]
    np.testing.assert_allclose(water, 0.0, atol=1e-3)
    assert max(np.abs(np.array(bone) - 1000)) <= 30.01
    assert np.std(bone) > 5


def test_noise_has_at_most_its_standard_deviation_in_hu() -> None:
    np.random.seed(3)
    deviations = [float(jitter(40.0, noise_hu=20.0).std()) for _ in range(20)]
    assert max(deviations) < 22  # 20, and what 512 draws leave to chance
    assert max(deviations) > 10


def test_same_numpy_seed_gives_same_image() -> None:
    images = []
    for _ in range(2):
        np.random.seed(7)
        images.append(jitter(40.0, noise_hu=20.0, shift_hu=15.0, scale=0.03))
    assert torch.equal(*images)


def test_only_the_unitless_steps_of_nnunet_are_left_out() -> None:
    before = nnUNetTrainer.get_training_transforms(
        (16, 16, 16), (-0.5, 0.5), None, (0, 1, 2), False, use_mask_for_norm=[False], foreground_labels=[1]
    ).transforms
    after = without_unitless_intensity(before)
    inner = [type(getattr(t, "transform", t)).__name__ for t in after]
    assert len(before) - len(after) == 5  # noise, brightness, contrast, gamma twice
    assert inner[:4] == [
        "SpatialTransform",
        "GaussianBlurTransform",
        "SimulateLowResolutionTransform",
        "MirrorTransform",
    ]
