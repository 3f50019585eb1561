"""Left is +x; a lesion lies on both sides if a tenth of it lies on either."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from nnunetv2_cfseg.imaging.geometry import VolumeGeometry
from nnunetv2_cfseg.quantify.midline import Midline, image_centre_midline, left_share, side


@pytest.mark.parametrize(
    ("left", "right", "expected"),
    [
        (1, 0, "left"),
        (0, 1, "right"),
        (0.5, 0.5, "both"),
        (0.1, 0.9, "both"),
        (0.9, 0.1, "both"),
        (0.0999, 0.9001, "right"),
        (0.9001, 0.0999, "left"),
        (0.3 - 0.2, 0.9, "both"),
    ],
)
def test_a_side_needs_a_tenth(left: float, right: float, expected: str) -> None:
    assert side(left, right) == expected


def test_image_centre_is_the_plane_through_the_middle(make_grid: Callable[..., VolumeGeometry]) -> None:
    midline = image_centre_midline(make_grid((4, 5, 7)), reason="no image was given")
    assert (midline.normal, midline.offset_mm, midline.source) == ((1, 0, 0), -12.5 + 3, "image centre")
    assert midline.reason == "no image was given"


def test_shares_of_voxels_are_cut_by_the_plane(make_grid: Callable[..., VolumeGeometry]) -> None:
    """Voxels of 1 mm along x, their centres at 0, 1, 2, 3 mm, and a plane at 1.25 mm."""
    grid = make_grid((1, 1, 4), (3.0, 2.0, 1.0), origin=(0.0, 0.0, 0.0))
    midline = Midline((1.0, 0.0, 0.0), 1.25, "symmetry")
    share = left_share(grid, midline, corner=np.zeros(3), shape=(1, 1, 4))
    np.testing.assert_allclose(share.ravel(), [0, 0.25, 1, 1])
    cropped = left_share(grid, midline, corner=np.array([0, 0, 1]), shape=(1, 1, 2))
    np.testing.assert_allclose(cropped.ravel(), [0.25, 1])


def test_shares_follow_a_tilted_plane(make_grid: Callable[..., VolumeGeometry]) -> None:
    grid = make_grid((9, 9, 9), (1.0, 1.0, 1.0), origin=(-4.0, -4.0, -4.0))
    normal = np.array([3, 1, -2]) / np.sqrt(14)
    x, y, z = normal.tolist()
    share = left_share(grid, Midline((x, y, z), 0.0, "symmetry"), corner=np.zeros(3), shape=(9, 9, 9))
    assert share.mean() == pytest.approx(0.5)
    distance = grid.position_mm(np.argwhere(np.ones((9, 9, 9)))) @ normal
    assert (share.ravel()[distance > 1] == 1).all()
    assert (share.ravel()[distance < -1] == 0).all()
