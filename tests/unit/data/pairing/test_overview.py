"""The picture of a pair: small, turned as radiologists expect, and of what was annotated."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from matplotlib.image import imread

from nnunetv2_cfseg.data.pairing.overview import draw_pair, write_overview
from nnunetv2_cfseg.data.pairing.pair import Pair
from nnunetv2_cfseg.imaging.geometry import VolumeGeometry
from nnunetv2_cfseg.imaging.slabs import annotate_slabs

pytestmark = pytest.mark.slow

GridOf = Callable[..., VolumeGeometry]
FACTOR = 4


@pytest.fixture
def pair(make_grid: GridOf) -> Pair:
    """A body in air with a bright lesion at the patient's left, near the head."""
    grid = make_grid((48, 40, 40), (1.0, 2.0, 2.0))
    image = np.full(grid.shape, -1000, np.int16)
    image[:, 5:35, 5:35] = 40
    truth = np.zeros(grid.shape, np.uint8)
    truth[30:37, 18:22, 26:30] = 2
    image[truth > 0] = 70
    return Pair(grid, image, annotate_slabs(truth, FACTOR), truth, {})


def pictures(pair: Pair) -> list[np.ndarray]:
    """In the order they are drawn: three axial, three coronal."""
    return [np.asarray(axes.images[0].get_array()) for axes in draw_pair(pair).axes]


def coloured(picture: np.ndarray) -> np.ndarray:
    return np.ptp(picture, axis=-1) > 0.01


def test_shows_scan_average_and_annotation_from_above_and_from_the_front(pair: Pair) -> None:
    shown = pictures(pair)
    assert len(shown) == 6
    assert [coloured(picture).any() for picture in shown] == [False, False, True] * 2
    assert coloured(shown[2]).sum() == 16  # 4 x 4 pixels
    assert coloured(shown[5]).sum() == 4 * FACTOR * 2  # two slabs; the last thin slice is not enough for a third
    assert shown[0].shape == shown[1].shape == shown[2].shape
    assert len(shown[3]) >= 8 * FACTOR
    assert len(shown[3]) % FACTOR == 0
    slabs = shown[4].reshape(-1, FACTOR, *shown[4].shape[1:])
    assert (slabs == slabs[:, :1]).all()


@pytest.mark.parametrize("soft_classes", [1, 2])
def test_a_large_class_of_bone_leaves_the_others_visible(pair: Pair, soft_classes: int) -> None:
    truth = pair.truth.copy()  # type: ignore[union-attr]
    truth[28:40, 6:16, 6:34], truth[28:40, 24:28, 10:14] = 3, 1 if soft_classes == 2 else 0
    image = np.where(truth == 3, 700, pair.image).astype(np.int16)
    shown = pictures(replace(pair, image=image, truth=truth, annotation=annotate_slabs(truth, FACTOR)))
    greys = set(np.unique(shown[0]).tolist())
    assert len(greys - {0.0, 1.0}) == 2  # body, and the lesion in it, between black air and white bone


@pytest.mark.parametrize("flips", [(), (0,), (1,), (2,), (0, 1, 2)])
def test_lies_as_the_patient_does(pair: Pair, flips: tuple[int, ...]) -> None:
    """However the file is stored."""
    stored = replace(
        pair,
        grid=pair.grid.flipped(flips),
        image=np.flip(pair.image, flips),
        annotation=np.flip(pair.annotation, flips),
        truth=None if pair.truth is None else np.flip(pair.truth, flips),
    )
    for straight, shown in zip(pictures(pair), pictures(stored), strict=True):
        np.testing.assert_array_equal(shown, straight)
    axial, coronal = (coloured(picture) for picture in (pictures(pair)[2], pictures(pair)[5]))
    assert np.flatnonzero(axial.any(axis=0)).mean() > axial.shape[1] / 2  # the patient's left is on the right
    assert np.flatnonzero(coronal.any(axis=1)).mean() < coronal.shape[0] / 2  # the head is on top


def test_a_pair_without_annotation_is_drawn_whole(pair: Pair) -> None:
    bare = replace(pair, annotation=pair.annotation * 0, truth=None, image=np.full_like(pair.image, -1000))
    shown = pictures(bare)
    assert shown[0].shape[:2] == (40, 40)
    assert shown[3].shape[:2] == (48, 40)
    assert not any(coloured(picture).any() for picture in shown)


def test_is_a_small_file_even_of_noise(pair: Pair, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    grid = replace(pair.grid, shape=(48, 512, 512))
    image = rng.normal(40, 300, grid.shape).astype(np.int16)
    truth = np.zeros(grid.shape, np.uint8)
    truth[20:30, 200:220, 200:300] = 1
    write_overview(Pair(grid, image, annotate_slabs(truth, FACTOR), truth, {}), tmp_path / "a.png", title="case")
    assert (tmp_path / "a.png").stat().st_size < 300_000
    assert imread(tmp_path / "a.png").shape[1] > 700
