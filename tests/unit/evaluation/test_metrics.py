"""All measures of a class: which of them apply when it is there, missed, made up or absent, and what is refused."""

from __future__ import annotations

from math import nan, sqrt

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from nnunetv2_cfseg.evaluation.boundary_slabs import boundary_dice
from nnunetv2_cfseg.evaluation.lesions import match_lesions
from nnunetv2_cfseg.evaluation.metric_definitions import BY_KEY, KEYS
from nnunetv2_cfseg.evaluation.metrics import PRESENCE, MetricSettings, measure
from nnunetv2_cfseg.evaluation.surfaces import measure_surfaces

SHAPE = (6, 10, 12)
SPACING = (2.0, 0.5, 0.25)
VOXEL_ML = 0.25 / 1000
DIAGONAL_MM = sqrt(12**2 + 5**2 + 3**2)
COUNTS = ("TP", "FP", "FN", "TN", "n_pred", "n_ref")
SLABS = MetricSettings(factor=3)

shapes = st.tuples(st.integers(1, 7), st.integers(1, 5), st.integers(1, 5))
triples = shapes.flatmap(lambda shape: st.tuples(*[arrays(bool, shape, elements=st.booleans())] * 3))


def box(*ranges: tuple[int, int]) -> np.ndarray:
    mask = np.zeros(SHAPE, bool)
    mask[tuple(slice(*limits) for limits in ranges)] = True
    return mask


NOTHING = box((0, 0))
LESION = box((1, 3), (2, 6), (3, 9))  # 48 voxels; of the slab of slices 0 to 2 it fills two of three
OTHER = box((4, 5), (8, 10), (0, 2))  # 4 voxels

#: What every column holds when the class is missed, made up or absent; the lesion has 48 voxels.
EXPECTED = {
    "missed": {
        "Dice": 0, "IoU": 0, "HD95_mm": DIAGONAL_MM, "ASSD_mm": DIAGONAL_MM, "NSD": 0,
        "volume_ml": 0, "reference_volume_ml": 48 * VOXEL_ML,
        "volume_error_ml": -48 * VOXEL_ML, "absolute_volume_error_ml": 48 * VOXEL_ML,
        "lesions": 0, "reference_lesions": 1, "lesion_precision": nan, "lesion_recall": 0, "lesion_F1": 0,
        "boundary_Dice": 0,
        "TP": 0, "FP": 0, "FN": 48, "TN": 720 - 48, "n_pred": 0, "n_ref": 48,
    },
    "false_alarm": {
        "Dice": 0, "IoU": 0, "HD95_mm": DIAGONAL_MM, "ASSD_mm": DIAGONAL_MM, "NSD": 0,
        "volume_ml": 48 * VOXEL_ML, "reference_volume_ml": 0,
        "volume_error_ml": 48 * VOXEL_ML, "absolute_volume_error_ml": 48 * VOXEL_ML,
        "lesions": 1, "reference_lesions": 0, "lesion_precision": 0, "lesion_recall": nan, "lesion_F1": 0,
        "boundary_Dice": nan,
        "TP": 0, "FP": 48, "FN": 0, "TN": 720 - 48, "n_pred": 48, "n_ref": 0,
    },
    "absent": {
        "Dice": nan, "IoU": nan, "HD95_mm": nan, "ASSD_mm": nan, "NSD": nan,
        "volume_ml": 0, "reference_volume_ml": 0, "volume_error_ml": 0, "absolute_volume_error_ml": 0,
        "lesions": 0, "reference_lesions": 0, "lesion_precision": nan, "lesion_recall": nan, "lesion_F1": nan,
        "boundary_Dice": nan,
        "TP": 0, "FP": 0, "FN": 0, "TN": 720, "n_pred": 0, "n_ref": 0,
    },
}  # fmt: skip


def assert_row(row: dict[str, float | str], expected: dict[str, float]) -> None:
    assert row.keys() == {"presence", *expected}
    for key, value in expected.items():
        np.testing.assert_allclose(row[key], value, rtol=1e-12, err_msg=key)


class TestPresence:
    @pytest.mark.parametrize(
        ("presence", "truth", "prediction"),
        [("missed", LESION, NOTHING), ("false_alarm", NOTHING, LESION), ("absent", NOTHING, NOTHING)],
    )
    def test_one_mask_or_none(self, presence: str, truth: np.ndarray, prediction: np.ndarray) -> None:
        row = measure(truth, prediction, SPACING, settings=SLABS)
        assert row["presence"] == presence
        assert_row(row, EXPECTED[presence])

    def test_both(self) -> None:
        """The prediction has one of the lesion's two slices, and a second component."""
        half = box((1, 2), (2, 6), (3, 9))
        prediction = half | OTHER
        surfaces = measure_surfaces(LESION, prediction, SPACING)
        row = measure(LESION, prediction, SPACING, settings=SLABS)
        assert row["presence"] == "both"
        assert_row(
            row,
            {
                "Dice": 48 / 76, "IoU": 24 / 52,
                "HD95_mm": surfaces.percentile_mm(95), "ASSD_mm": surfaces.mean_mm(), "NSD": surfaces.share_within(1),
                "volume_ml": 28 * VOXEL_ML, "reference_volume_ml": 48 * VOXEL_ML,
                "volume_error_ml": -20 * VOXEL_ML, "absolute_volume_error_ml": 20 * VOXEL_ML,
                "lesions": 2, "reference_lesions": 1,
                "lesion_precision": 0.5, "lesion_recall": 1, "lesion_F1": 2 / 3,
                "boundary_Dice": 48 / 72,
                "TP": 24, "FP": 4, "FN": 24, "TN": 720 - 52, "n_pred": 28, "n_ref": 48,
            },
        )  # fmt: skip

    def test_a_copy_is_perfect(self) -> None:
        row = measure(LESION, LESION, SPACING, settings=SLABS)
        for key in KEYS:
            perfect = BY_KEY[key].perfect
            assert row[key] == perfect or np.isnan(perfect), key

    def test_a_missed_class_without_boundary_slabs(self) -> None:
        assert np.isnan(measure(box((0, 3), (2, 4)), NOTHING, SPACING, settings=SLABS)["boundary_Dice"])

    def test_keys(self) -> None:
        assert list(measure(LESION, OTHER, SPACING, settings=SLABS)) == ["presence", *KEYS, *COUNTS]
        assert ("both", *EXPECTED) == PRESENCE


class TestSettings:
    def test_tolerance(self) -> None:
        moved = np.roll(LESION, 3, axis=2)  # by 0.75 mm
        tight = measure(LESION, moved, SPACING, settings=MetricSettings(tolerance_mm=0.7))
        assert tight["NSD"] < 1  # type: ignore[operator]
        assert measure(LESION, moved, SPACING, settings=MetricSettings(tolerance_mm=0.75))["NSD"] == 1

    def test_lesion_overlap(self) -> None:
        half = box((1, 2), (2, 6), (3, 9))
        assert measure(LESION, half, SPACING, settings=MetricSettings(lesion_overlap=0.5))["lesion_recall"] == 1
        assert measure(LESION, half, SPACING, settings=MetricSettings(lesion_overlap=0.51))["lesion_recall"] == 0

    def test_without_a_factor(self) -> None:
        assert np.isnan(measure(LESION, LESION, SPACING, settings=MetricSettings())["boundary_Dice"])

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"tolerance_mm": -0.1}, "a tolerance must be >= 0 mm and finite, got -0.1"),
            ({"tolerance_mm": nan}, "a tolerance must be >= 0 mm and finite, got nan"),
            ({"lesion_overlap": 0}, "a lesion overlap must be above 0 and at most 1, got 0"),
            ({"lesion_overlap": 1.01}, "a lesion overlap must be above 0 and at most 1, got 1.01"),
            ({"factor": 1}, "a factor must be >= 2 or left out, got 1"),
            ({"factor": 0}, "a factor must be >= 2 or left out, got 0"),
            ({"slice_axis": 3}, "a slice axis must be 0, 1 or 2, got 3"),
            ({"slice_axis": -1}, "a slice axis must be 0, 1 or 2, got -1"),
        ],
    )
    def test_refusals(self, changes: dict, message: str) -> None:
        with pytest.raises(ValueError, match=message):
            MetricSettings(**changes)

    def test_limits_are_allowed(self) -> None:
        MetricSettings(tolerance_mm=0, lesion_overlap=1, factor=2, slice_axis=2)


class TestInput:
    @pytest.mark.parametrize(
        ("prediction", "ignore", "message"),
        [
            (LESION[1:], None, r"masks must have the shape of the truth, \(6, 10, 12\), got \(5, 10, 12\): prediction"),
            (LESION, LESION[:, 1:], r"the shape of the truth, \(6, 10, 12\), got \(6, 9, 12\): ignore"),
            (LESION.astype(np.uint8), None, "masks must be bool with three axes, got uint8 with 3: prediction"),
            (LESION, LESION * 1.0, "masks must be bool with three axes, got float64 with 3: ignore"),
            (LESION[0], None, "masks must be bool with three axes, got bool with 2: prediction"),
        ],
    )
    def test_refuses_masks(self, prediction: np.ndarray, ignore: np.ndarray | None, message: str) -> None:
        with pytest.raises(ValueError, match=message):
            measure(LESION, prediction, SPACING, settings=SLABS, ignore=ignore)

    @pytest.mark.parametrize("spacing", [(0, 1, 1), (1, -1, 1), (1, 1, nan), (1, 1, np.inf), (1, 1), (1, 1, 1, 1)])
    def test_refuses_a_spacing(self, spacing: tuple[float, ...]) -> None:
        with pytest.raises(ValueError, match="a spacing must be three positive lengths in mm, got "):
            measure(LESION, LESION, spacing, settings=SLABS)

    def test_changes_no_mask(self) -> None:
        masks = [LESION.copy(), OTHER.copy(), box((2, 5)).copy()]
        before = [mask.copy() for mask in masks]
        measure(masks[0], masks[1], SPACING, settings=SLABS, ignore=masks[2])
        np.testing.assert_array_equal(masks, before)


class TestIgnore:
    def test_what_is_ignored_decides_the_presence(self) -> None:
        assert measure(LESION, OTHER, SPACING, settings=SLABS, ignore=LESION)["presence"] == "false_alarm"
        assert measure(LESION, OTHER, SPACING, settings=SLABS, ignore=OTHER)["presence"] == "missed"
        row = measure(LESION, OTHER, SPACING, settings=SLABS, ignore=LESION | OTHER)
        assert row["presence"] == "absent"
        assert_row(row, EXPECTED["absent"] | {"TN": 720 - 52})

    @given(triples)
    def test_equals_masks_without_those_voxels(self, masks: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
        truth, prediction, ignore = masks
        ignored = measure(truth, prediction, SPACING, settings=MetricSettings(), ignore=ignore)
        without = measure(truth & ~ignore, prediction & ~ignore, SPACING, settings=MetricSettings())
        assert ignored.pop("TN") == without.pop("TN") - np.count_nonzero(ignore)  # type: ignore[operator]
        np.testing.assert_equal(ignored, without)


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize(("slices", "dice"), [((3, 5), 2 / 3), ((4, 6), 2 / 3), ((3, 6), nan), ((2, 5), 1 / 2)])
def test_slabs_begin_at_slice_0_of_the_volume(axis: int, slices: tuple[int, int], dice: float) -> None:
    """The prediction is slice 4; wherever the masks begin and end, slabs are 0 to 2, 3 to 5 and 6 to 8."""
    truth, prediction = np.zeros((2, 9, 9, 9), bool)
    np.moveaxis(truth, axis, 0)[slice(*slices), 4, 4] = True
    np.moveaxis(prediction, axis, 0)[4, 4, 4] = True
    row = measure(truth, prediction, SPACING, settings=MetricSettings(factor=3, slice_axis=axis))
    np.testing.assert_allclose(row["boundary_Dice"], dice)


@given(triples, st.integers(2, 4), st.sampled_from([0, 1, 2]))
def test_crops_change_nothing(masks: tuple[np.ndarray, np.ndarray, np.ndarray], factor: int, axis: int) -> None:
    """Where slabs are cut does not depend on where the masks are."""
    truth, prediction, ignore = masks
    settings = MetricSettings(factor=factor, slice_axis=axis)
    row = measure(truth, prediction, SPACING, settings=settings, ignore=ignore)
    slabs = boundary_dice(truth, prediction, factor=factor, slice_axis=axis, ignore=ignore)
    np.testing.assert_equal(row["boundary_Dice"], slabs)
    truth, prediction = truth & ~ignore, prediction & ~ignore
    np.testing.assert_equal(row["lesion_F1"], match_lesions(truth, prediction, overlap=0.1).f1)
    if row["presence"] == "both":
        assert row["ASSD_mm"] == pytest.approx(measure_surfaces(truth, prediction, SPACING).mean_mm())
