"""Patch and crop of paired plans: whole slabs, and no more padding than scans need."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nnunetv2_cfseg.networks.presets import preset
from nnunetv2_cfseg.planners.thin_thick_planner import ThinThickPlanner

CROP_VOXELS = 48**3


def planner(factor: int) -> ThinThickPlanner:
    """One that knows the factor and the preset, which is all that sizes depend on."""
    planner = ThinThickPlanner.__new__(ThinThickPlanner)
    planner.factor, planner.preset, planner.patch_voxels = factor, preset("compact"), 216
    return planner


def crop_of(
    factor: int, spacing_mm: tuple[float, float, float], shape: tuple[int, int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """Patch and crop."""
    plans = planner(factor)
    patch = np.array(plans.choose_patch(np.array(spacing_mm)))
    crop = plans.choose_crop(
        np.array(spacing_mm),
        np.array(shape),
        center_size=tuple(2 * patch),
        block_size=tuple(4 * patch),
        max_voxels=CROP_VOXELS,
    )
    return patch, np.array(crop)


@given(
    factor=st.integers(2, 8),
    spacing_mm=st.tuples(st.floats(0.5, 3), st.floats(0.4, 4), st.floats(0.4, 4)),
    shape=st.tuples(st.integers(20, 400), st.integers(32, 300), st.integers(32, 300)),
)
def test_slabs_are_whole_in_centres_and_crops(
    factor: int, spacing_mm: tuple[float, float, float], shape: tuple[int, int, int]
) -> None:
    patch, crop = crop_of(factor, spacing_mm, shape)
    assert 2 * patch[0] % factor == 0  # a thin centre
    assert crop[0] % (2 * patch[0] * factor) == 0  # thick centres


@pytest.mark.parametrize(
    ("factor", "spacing_mm", "shape", "expected"),
    [
        (5, (3.0, 3.0, 3.0), (55, 72, 64), (50, 48, 48)),  # one thick centre is 50 slices; two would be half padding
        (4, (2.5, 3.9, 3.9), (124, 70, 120), (64, 36, 36)),
    ],
)
def test_crops_by_hand(
    factor: int, spacing_mm: tuple[float, float, float], shape: tuple[int, int, int], expected: tuple[int, int, int]
) -> None:
    assert tuple(crop_of(factor, spacing_mm, shape)[1]) == expected


@pytest.mark.parametrize(
    ("factor", "spacing_mm", "expected"),
    [
        (10, (2.5, 3.9, 3.9), (5, 6, 6)),  # not 8 voxels, 31 mm
        (5, (3.0, 3.0, 3.0), (5, 8, 8)),
        (5, (1.0, 0.5, 0.5), (5, 10, 10)),
    ],
)
def test_patches_by_hand(factor: int, spacing_mm: tuple[float, float, float], expected: tuple[int, int, int]) -> None:
    assert planner(factor).choose_patch(np.array(spacing_mm)) == expected


def test_a_patch_that_a_preset_names_is_kept() -> None:
    plans = planner(4)
    plans.preset = preset("karimi")
    assert plans.choose_patch(np.array([2.5, 3.9, 3.9])) == (8, 8, 8)
