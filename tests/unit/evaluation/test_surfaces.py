"""Surface distances: by hand, against all pairs of surface elements, and against MONAI."""

from __future__ import annotations

import itertools
import warnings
from functools import cache
from math import sqrt

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.spatial.distance import cdist

from nnunetv2_cfseg.evaluation.surfaces import SurfaceDistances, measure_surfaces

EDGE = 1 / sqrt(2)  # areas in units of a face: along an edge of a box, and at its corner
CORNER = sqrt(3) / 8

Spacing = tuple[float, float, float]
Pair = tuple[np.ndarray, np.ndarray, Spacing]

filled = st.tuples(st.integers(1, 4), st.integers(1, 4), st.integers(1, 5)).flatmap(
    lambda shape: st.tuples(*[arrays(bool, shape).filter(np.any)] * 2)
)
spacings = st.tuples(*[st.sampled_from([0.25, 0.4, 1.0, 1.5, 5.0])] * 3)
pairs = st.builds(lambda masks, spacing: (*masks, spacing), filled, spacings)


def box(shape: tuple[int, int, int], *ranges: tuple[int, int]) -> np.ndarray:
    mask = np.zeros(shape, bool)
    mask[tuple(slice(*limits) for limits in ranges)] = True
    return mask


def values(distances: SurfaceDistances, tolerance_mm: float = 1.0) -> tuple[float, float, float]:
    """HD95, ASSD and NSD."""
    return distances.percentile_mm(95), distances.mean_mm(), distances.share_within(tolerance_mm)


class TestByHand:
    def test_equal_masks(self) -> None:
        mask = box((4, 5, 6), (1, 3), (0, 5), (2, 6))
        assert values(measure_surfaces(mask, mask, (3.0, 0.5, 0.7)), 0) == (0, 0, 1)

    @pytest.mark.parametrize("axis", [0, 1, 2])
    def test_parallel_plates(self, axis: int) -> None:
        """Plates of one voxel, 3 apart: a face of each is 3 voxels from the other plate, and the other face 2."""
        spacing = (2.0, 0.5, 0.7)
        truth, prediction = np.zeros((2, 9, 9, 9), bool)
        truth.swapaxes(0, axis)[2] = True
        prediction.swapaxes(0, axis)[5] = True
        step = spacing[axis]
        distances = measure_surfaces(truth, prediction, spacing)
        assert values(distances, 2.5 * step) == pytest.approx((3 * step, 2.5 * step, 0.5))
        assert distances.share_within(1.9 * step) == 0
        assert distances.share_within(3 * step) == 1

    def test_shifted_cube(self) -> None:
        """Of a cube of n voxels shifted by one, the face left behind and the new one's inside are one voxel away."""
        n, step = 4, 0.5
        truth = box((8, 8, 8), (2, 6), (2, 6), (1, 5))
        distances = measure_surfaces(truth, np.roll(truth, 1, axis=2), (step,) * 3)
        face = (n - 1) ** 2 + 4 * (n - 1) * EDGE + 4 * CORNER
        surface = 6 * (n - 1) ** 2 + 12 * (n - 1) * EDGE + 8 * CORNER
        away = (face + (n - 1) ** 2) / surface
        assert distances.truth_mm2.sum() == pytest.approx(surface * step**2)
        assert values(distances, 0) == pytest.approx((step, step * away, 1 - away))

    def test_single_voxels(self) -> None:
        """A voxel has eight corners; two voxels that are 3 apart along y have theirs 3 and 2 away."""
        spacing = (1.0, 2.0, 3.0)
        truth, prediction = box((1, 4, 1), (0, 1), (0, 1), (0, 1)), box((1, 4, 1), (0, 1), (3, 4), (0, 1))
        distances = measure_surfaces(truth, prediction, spacing)
        corner_mm2 = np.linalg.norm([6, 3, 2]) / 8
        np.testing.assert_allclose(distances.truth_mm2, [corner_mm2] * 8)
        assert sorted(distances.truth_mm) == pytest.approx([4] * 4 + [6] * 4)
        assert values(distances, 5) == pytest.approx((6, 5, 0.5))

    def test_directions_differ(self) -> None:
        """All of the truth is near the prediction, which has a far part: the larger percentile counts."""
        truth = box((1, 1, 30), (0, 1), (0, 1), (0, 1))
        prediction = truth | box((1, 1, 30), (0, 1), (0, 1), (20, 21))
        distances = measure_surfaces(truth, prediction, (1, 1, 1))
        assert distances.truth_mm.max() == 0
        assert values(distances) == pytest.approx((20, (19 * 4 + 20 * 4) / 24, 16 / 24))

    def test_percentile_is_weighted_by_area(self) -> None:
        distances = SurfaceDistances(
            np.array([7.0, 1.0, 3.0]), np.array([5.0, 60.0, 35.0]), np.array([2.0]), np.array([1.0])
        )
        assert distances.percentile_mm(95) == 3  # met exactly
        assert distances.percentile_mm() == 3  # HD95
        assert distances.percentile_mm(96) == 7
        assert distances.percentile_mm(10) == 2  # the other direction

    def test_tolerance_is_met_by_spacings_of_single_precision(self) -> None:
        step = float(np.float32(0.4))
        truth, prediction = box((7, 1, 1), (0, 1), (0, 1), (0, 1)), box((7, 1, 1), (5, 6), (0, 1), (0, 1))
        assert 5 * step > 2
        assert measure_surfaces(truth, prediction, (step, 1, 1)).share_within(2) == 1

    @pytest.mark.parametrize(("true_voxels", "predicted_voxels"), [(0, 1), (1, 0), (0, 0)])
    def test_refuses_an_empty_mask(self, true_voxels: int, predicted_voxels: int) -> None:
        truth, prediction = (np.full((1, 1, 1), bool(voxels)) for voxels in (true_voxels, predicted_voxels))
        elements = f"{true_voxels * 8} elements of the truth's and {predicted_voxels * 8} of the prediction's"
        with pytest.raises(ValueError, match=f"both masks must have a surface, got {elements}"):
            measure_surfaces(truth, prediction, (1, 1, 1))


class TestProperties:
    @given(pairs)
    def test_swapping_masks_changes_nothing(self, pair: Pair) -> None:
        truth, prediction, spacing = pair
        ours = values(measure_surfaces(truth, prediction, spacing))
        assert values(measure_surfaces(prediction, truth, spacing)) == pytest.approx(ours)

    @given(pairs, st.tuples(*[st.tuples(st.integers(0, 2), st.integers(0, 2))] * 3))
    def test_what_lies_around_changes_nothing(self, pair: Pair, margins: tuple[tuple[int, int], ...]) -> None:
        truth, prediction, spacing = pair
        moved = measure_surfaces(np.pad(truth, margins), np.pad(prediction, margins), spacing)
        assert values(moved) == pytest.approx(values(measure_surfaces(truth, prediction, spacing)))

    @given(pairs, st.sampled_from(list(itertools.permutations(range(3)))))
    def test_axes_may_be_permuted_with_their_spacing(self, pair: Pair, axes: tuple[int, ...]) -> None:
        truth, prediction, spacing = pair
        turned_mm = [spacing[axis] for axis in axes]
        turned = measure_surfaces(truth.transpose(axes), prediction.transpose(axes), turned_mm)
        assert values(turned) == pytest.approx(values(measure_surfaces(truth, prediction, spacing)))

    @given(pairs, st.sampled_from([0, 1, 2]))
    def test_axes_may_be_flipped(self, pair: Pair, axis: int) -> None:
        truth, prediction, spacing = pair
        flipped = measure_surfaces(np.flip(truth, axis), np.flip(prediction, axis), spacing)
        assert values(flipped) == pytest.approx(values(measure_surfaces(truth, prediction, spacing)))

    @given(pairs, st.sampled_from([0.5, 2.0, 8.0]))
    def test_distances_grow_with_the_spacing(self, pair: Pair, scale: float) -> None:
        truth, prediction, spacing = pair
        hd95, assd, nsd = values(measure_surfaces(truth, prediction, spacing))
        z, y, x = spacing
        larger = values(measure_surfaces(truth, prediction, (scale * z, scale * y, scale * x)), scale)
        assert larger == pytest.approx((scale * hd95, scale * assd, nsd))

    @given(pairs)
    def test_a_mask_and_what_surrounds_it_have_one_surface(self, pair: Pair) -> None:
        mask, _, spacing = pair
        inside = np.pad(mask, 2)
        distances = measure_surfaces(inside, ~inside, spacing)
        assert distances.truth_mm.max() == 0
        shared = distances.prediction_mm == 0
        assert distances.prediction_mm2[shared] == pytest.approx(distances.truth_mm2)


class TestAgainstAllPairs:
    @given(pairs, st.sampled_from([0.0, 0.7, 1.0, 2.3]))
    def test_values(self, pair: Pair, tolerance_mm: float) -> None:
        truth, prediction, spacing = pair
        (true_points, true_areas), (points, areas) = (slow_surfels(mask, spacing) for mask in (truth, prediction))
        every = cdist(true_points, points)
        there, back = every.min(axis=1), every.min(axis=0)
        both, weights = np.concatenate([there, back]), np.concatenate([true_areas, areas])
        expected = (
            max(slow_percentile(there, true_areas), slow_percentile(back, areas)),
            np.average(both, weights=weights),
            weights[both <= tolerance_mm + 1e-9].sum() / weights.sum(),
        )
        assert values(measure_surfaces(truth, prediction, spacing), tolerance_mm) == pytest.approx(expected, abs=1e-6)


class TestAgainstMonai:
    @pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (5.0, 0.5, 0.7), (0.1, 3.0, 9.0)])
    def test_areas_of_all_neighbourhoods(self, spacing: Spacing) -> None:
        for code in range(1, 256):
            mask = np.unpackbits(np.array([code], np.uint8)).reshape(2, 2, 2).astype(bool)
            ours = measure_surfaces(mask, mask, spacing)
            np.testing.assert_allclose(ours.truth_mm2, slow_surfels(mask, spacing)[1], rtol=1e-6)

    @given(pairs, st.sampled_from([0.0, 0.9, 1.3, 4.2]))
    def test_surface_dice(self, pair: Pair, tolerance_mm: float) -> None:
        truth, prediction, spacing = pair
        ours = measure_surfaces(truth, prediction, spacing).share_within(tolerance_mm)
        assert ours == pytest.approx(monai_surface_dice(truth, prediction, spacing, tolerance_mm), abs=1e-6)

    def test_surface_dice_of_organs(self) -> None:
        z, y, x = np.ogrid[-12:12, -20:20, -20:20]
        rng = np.random.default_rng(0)
        truth = (z / 10) ** 2 + (y / 16) ** 2 + (x / 14) ** 2 + rng.normal(0, 0.05, (24, 40, 40)) < 1
        prediction = (z / 9) ** 2 + (y / 17) ** 2 + (x / 15) ** 2 + rng.normal(0, 0.05, (24, 40, 40)) < 1
        for tolerance_mm in (0, 1, 2):
            ours = measure_surfaces(truth, prediction, (2.5, 0.75, 0.75)).share_within(tolerance_mm)
            theirs = monai_surface_dice(truth, prediction, (2.5, 0.75, 0.75), tolerance_mm)
            assert ours == pytest.approx(theirs, abs=1e-6)


def slow_surfels(mask: np.ndarray, spacing_mm: Spacing) -> tuple[np.ndarray, np.ndarray]:
    """Positions in mm and areas, corner by corner, the area of each from MONAI's table."""
    padded = np.pad(mask, 1)
    codes = {
        corner: int(np.packbits(padded[tuple(slice(c, c + 2) for c in corner)]).item())
        for corner in np.ndindex(*(size + 1 for size in mask.shape))
    }
    surface = {corner: code for corner, code in codes.items() if 0 < code < 255}
    return np.array(list(surface)) * spacing_mm, monai_areas(spacing_mm)[list(surface.values())]


def slow_percentile(distances: np.ndarray, areas: np.ndarray) -> float:
    return min(d for d in distances if areas[distances <= d + 1e-9].sum() >= 0.95 * areas.sum() * (1 - 1e-6))


@cache
def monai_areas(spacing_mm: Spacing) -> np.ndarray:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what MONAI could use but lacks here
        from monai.metrics.utils import create_table_neighbour_code_to_surface_area

    return np.asarray(create_table_neighbour_code_to_surface_area(spacing_mm)[0], np.float64)


def monai_surface_dice(truth: np.ndarray, prediction: np.ndarray, spacing_mm: Spacing, tolerance_mm: float) -> float:
    import torch

    both = [torch.from_numpy(mask[None, None].astype(np.float32)) for mask in (prediction, truth)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # MONAI also warns of an argument that it passes itself
        from monai.metrics import compute_surface_dice

        score = compute_surface_dice(
            *both, [tolerance_mm], include_background=True, spacing=spacing_mm, use_subvoxels=True
        )
    return float(score)
