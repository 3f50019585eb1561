"""Changes from slice to slice, by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from nnunetv2_cfseg.evaluation.z_smoothness import slab_step_share, z_changes, z_roughness


def along_z(*values: int) -> np.ndarray:
    return np.array(values, dtype=bool).reshape(-1, 1, 1)


def test_changes_by_hand() -> None:
    mask = along_z(0, 1, 1, 0, 0, 1)  # slabs of three slices; changes into slices 1, 3 and 5
    assert z_changes(mask, factor=3) == (3, 1)
    assert z_changes(np.concatenate([mask, mask], axis=2), factor=3) == (6, 2)
    assert z_changes(mask, factor=1) == (3, 3)


def test_a_copied_label_steps_between_slabs_alone() -> None:
    rng = np.random.default_rng(0)
    copied = (rng.random((4, 6, 6)) < 0.5).repeat(5, axis=0)
    assert slab_step_share(copied, factor=5) == 1


def test_slices_of_their_own_step_anywhere() -> None:
    rng = np.random.default_rng(0)
    assert slab_step_share(rng.random((100, 20, 20)) < 0.5, factor=5) == pytest.approx(0.2, abs=0.01)


def test_roughness_is_relative_to_the_truth() -> None:
    truth, rough = along_z(0, 1, 1, 1, 1, 0), along_z(0, 1, 0, 1, 0, 0)
    assert z_roughness(truth, truth, factor=3) == 1
    assert z_roughness(truth, rough, factor=3) == 2


def test_nothing_that_changes() -> None:
    nothing = along_z(0, 0, 0)
    assert math.isnan(slab_step_share(nothing, factor=3))
    assert math.isnan(z_roughness(nothing, along_z(0, 1, 0), factor=3))


def test_refuses_no_factor() -> None:
    with pytest.raises(ValueError, match="factor must be >= 1, got 0"):
        z_changes(along_z(0, 1), factor=0)
