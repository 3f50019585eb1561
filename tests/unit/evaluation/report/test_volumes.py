"""What the page holds of a case: turned, cropped, reduced, compressed, and its places worth a look."""

from __future__ import annotations

import base64
import gzip
from collections.abc import Callable
from dataclasses import replace
from itertools import permutations, product
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nnunetv2_cfseg.evaluation.files import Case
from nnunetv2_cfseg.evaluation.report.body_box import box_to_show
from nnunetv2_cfseg.evaluation.report.findings import largest_errors, largest_structure, shown_class, volume_in_words
from nnunetv2_cfseg.evaluation.report.grid import average, group_centres, pick, reduced_shape, reduction
from nnunetv2_cfseg.evaluation.report.hounsfield_bytes import levels_hu, to_bytes
from nnunetv2_cfseg.evaluation.report.volumes import BrowserCase, browser_case
from nnunetv2_cfseg.nnunet.classes import Classes, SegmentationClass

SPACING_MM = (5.0, 1.5, 2.0)
ORIGIN = (-20.0, 11.0, 300.0)
#: All ways to store a volume along the patient's axes.
ORDERS = ["".join(p) for axes in permutations(("RL", "AP", "IS")) for p in product(*axes)]
CLASSES = Classes(
    (SegmentationClass("left", (1,), "1"), SegmentationClass("front", (2,), "2")), None, frozenset({0, 1, 2})
)


def unpacked(packed: str, shape: tuple[int, ...]) -> np.ndarray:
    return np.frombuffer(gzip.decompress(base64.b64decode(packed)), np.uint8).reshape(shape)


def labels_of(case: BrowserCase) -> tuple[np.ndarray, np.ndarray]:
    return unpacked(case.truth, case.shape), unpacked(case.prediction, case.shape)


def hu_of(case: BrowserCase) -> np.ndarray:
    assert case.image is not None
    return levels_hu()[np.cumsum(unpacked(case.image, case.shape), axis=0, dtype=np.uint8)]


def place(matrix: tuple[tuple[float, ...], ...], zyx: tuple[int, ...]) -> np.ndarray:
    return np.array(matrix) @ [*zyx[::-1], 1]


def scan(seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A body without any symmetry, its truth and its prediction: (z, y, x) to the head, the back and the left."""
    rng = np.random.default_rng(seed)
    image = rng.integers(-100, 200, (6, 14, 11)).astype(np.int16)
    truth, prediction = np.zeros((2, *image.shape), np.uint8)
    truth[1:4, 5:9, 7:10] = 1
    truth[2:5, 1:4, 3:6] = 2
    prediction[1:4, 5:9, 8:11] = 1
    return image, truth, prediction


def itk(values: np.ndarray, *, spacing_mm: tuple[float, ...] = SPACING_MM, turn: float = 0.0) -> sitk.Image:
    image = sitk.GetImageFromArray(values)
    image.SetSpacing(spacing_mm[::-1])
    image.SetOrigin(ORIGIN)
    if turn:
        axis = sitk.VersorTransform((0.3, 0.5, 1.0), turn)
        image.SetDirection(axis.GetMatrix())
    return image


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., tuple[Case, Path]]:
    """A function that writes a scan, its axes stored in any order."""

    def write_scan(
        *volumes: np.ndarray, order: str = "LPS", turn: float = 0.0, spacing_mm: tuple[float, ...] = SPACING_MM
    ) -> tuple[Case, Path]:
        files = [tmp_path / f"{name}.nrrd" for name in ("image", "truth", "prediction")]
        for file, values in zip(files, volumes, strict=True):
            image = itk(values, spacing_mm=spacing_mm, turn=turn)
            sitk.WriteImage(image if turn else sitk.DICOMOrient(image, order), str(file))
        return Case("a", files[1], files[2]), files[0]

    return write_scan


def show(case: Case, image: Path | None, classes: Classes = CLASSES, **settings: int) -> BrowserCase:
    return browser_case(case, image=image, classes=classes, caption="c", links={"CT": "i.nrrd"}, **settings)


class TestBrowserCase:
    def test_keeps_every_label_and_the_hu(self, write: Callable[..., tuple[Case, Path]]) -> None:
        image, truth, prediction = scan()
        shown = show(*write(image, truth, prediction))
        assert (shown.name, shown.caption, shown.links, shown.note) == ("a", "c", {"CT": "i.nrrd"}, "")
        assert (shown.shape, shown.spacing_mm) == (truth.shape, SPACING_MM)
        np.testing.assert_array_equal(labels_of(shown)[0], truth)
        np.testing.assert_array_equal(labels_of(shown)[1], prediction)
        np.testing.assert_allclose(hu_of(shown), image, atol=1.6)

    @settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(st.sampled_from(ORDERS))
    def test_does_not_depend_on_how_the_axes_are_stored(
        self, write: Callable[..., tuple[Case, Path]], order: str
    ) -> None:
        volumes = scan()
        expected, shown = show(*write(*volumes)), show(*write(*volumes, order=order))
        assert replace(shown, to_file=expected.to_file) == expected
        stored = sitk.GetArrayFromImage(sitk.ReadImage(str(write(*volumes, order=order)[0].truth)))
        for voxel in [(2, 6, 8), (2, 2, 4), (0, 0, 0)]:
            i, j, k = np.round(place(shown.to_file, voxel)).astype(int)
            assert stored[k, j, i] == volumes[1][voxel]

    def test_turns_an_oblique_volume_to_the_nearest_axes(self, write: Callable[..., tuple[Case, Path]]) -> None:
        volumes = scan()
        shown = show(*write(*volumes, turn=0.35))
        np.testing.assert_array_equal(labels_of(shown)[0], volumes[1])
        truth = itk(volumes[1], turn=0.35)
        for voxel in [(0, 0, 0), (3, 9, 2)]:
            expected = truth.TransformIndexToPhysicalPoint(voxel[::-1])
            np.testing.assert_allclose(place(shown.to_patient_mm, voxel), expected, atol=1e-3)

    def test_crops_the_air_but_no_label(self, write: Callable[..., tuple[Case, Path]]) -> None:
        image, truth, prediction = np.full((3, 40, 60, 50), -1000, np.int16)
        truth[:], prediction[:] = 0, 0
        image[10:30, 20:40, 20:40] = 30
        image[:, 58, :5] = 0  # a table apart
        prediction[11, 50, 30] = 2
        shown = show(*write(image, truth.astype(np.uint8), prediction.astype(np.uint8), spacing_mm=(2.5, 1.0, 1.0)))
        assert shown.shape == (20 + 2 * 2, 31 + 2 * 5, 20 + 2 * 5)
        np.testing.assert_allclose(place(shown.to_file, (0, 0, 0)), (15, 15, 8))
        assert labels_of(shown)[1].sum() == 2

    def test_without_an_image_has_labels_alone(self, write: Callable[..., tuple[Case, Path]]) -> None:
        image, truth, prediction = scan()
        shown = show(write(image, truth, prediction)[0], None)
        assert shown.image is None
        assert (labels_of(shown)[0] == 1).sum() == (truth == 1).sum()

    def test_reduces_what_is_too_large(self, write: Callable[..., tuple[Case, Path]]) -> None:
        image, truth, prediction = scan()
        shown = show(*write(image, truth, prediction), voxels=300)
        assert shown.shape == (6, 7, 6)
        assert shown.spacing_mm == (5.0, 3.0, 4.0)
        assert (
            shown.note
            == "A voxel shown here stands for 2 x 2 x 1 (x, y, z) of the files; all measures are of the files."
        )
        np.testing.assert_allclose(
            hu_of(shown)[:, :, :5], image[:, :, :10].reshape(6, 7, 2, 5, 2).mean((2, 4)), atol=1.6
        )
        np.testing.assert_array_equal(labels_of(shown)[0][..., :5], truth[:, 1::2, 1::2])
        np.testing.assert_allclose(place(shown.to_file, (2, 3, 1)), (2.5, 6.5, 2))
        assert shown.structure is not None
        assert all(np.less(finding.at, shown.shape).all() for finding in (*shown.places, shown.structure))
        assert shown.structure.text == show(*write(image, truth, prediction)).structure.text

    def test_is_the_same_each_time(self, write: Callable[..., tuple[Case, Path]]) -> None:
        files = write(*scan())
        assert show(*files) == show(*files)

    def test_leaves_out_errors_where_the_truth_is_ignored(self, write: Callable[..., tuple[Case, Path]]) -> None:
        image, truth, prediction = scan()
        classes = Classes(CLASSES.foreground, 3, frozenset({0, 1, 2, 3}))
        truth[truth != prediction] = 3
        assert show(*write(image, truth, prediction), classes).places == ()


class TestRefusals:
    def test_of_a_label_that_the_dataset_does_not_have(self, write: Callable[..., tuple[Case, Path]]) -> None:
        image, truth, prediction = scan()
        prediction[0, 0, 0] = 7
        with pytest.raises(ValueError, match=r"^labels must be those of .*, got also \[7\]: .*prediction\.nrrd$"):
            show(*write(image, truth, prediction))

    def test_of_a_label_above_a_byte(self, write: Callable[..., tuple[Case, Path]]) -> None:
        image, truth, prediction = scan()
        large = truth.astype(np.int16) * 300
        classes = Classes((SegmentationClass("a", (300,), "300"),), None, frozenset({0, 300, 600}))
        with pytest.raises(ValueError, match=r"^labels must be at most 255 to be shown, got 600: .*truth\.nrrd$"):
            show(*write(image, large, prediction * 0), classes)

    def test_of_an_image_elsewhere(self, write: Callable[..., tuple[Case, Path]]) -> None:
        case, image = write(*scan())
        moved = sitk.ReadImage(str(image))
        moved.SetOrigin((0, 0, 0))
        sitk.WriteImage(moved, str(image))
        with pytest.raises(ValueError, match=r"origin .*image\.nrrd$"):
            show(case, image)

    def test_of_an_image_of_another_size(self, write: Callable[..., tuple[Case, Path]]) -> None:
        case, image = write(*scan())
        sitk.WriteImage(itk(np.zeros((6, 14, 12), np.int16)), str(image))
        with pytest.raises(ValueError, match=r"size \(6, 14, 11\) \(z, y, x\), got \(6, 14, 12\): .*image\.nrrd$"):
            show(case, image)

    def test_of_an_image_of_several_channels(self, write: Callable[..., tuple[Case, Path]]) -> None:
        case, image = write(*scan())
        sitk.WriteImage(sitk.GetImageFromArray(np.zeros((6, 14, 11, 3), np.int16), isVector=True), str(image))
        with pytest.raises(ValueError, match=r"of 3: .*image\.nrrd$"):
            show(case, image)

    def test_of_a_prediction_on_another_grid(self, write: Callable[..., tuple[Case, Path]]) -> None:
        case, image = write(*scan())
        sitk.WriteImage(itk(np.zeros((6, 14, 12), np.uint8)), str(case.prediction))
        with pytest.raises(ValueError, match=r"^a prediction must have its reference's size"):
            show(case, image)


class TestHounsfieldBytes:
    def test_levels_rise_through_all_of_ct(self) -> None:
        levels = levels_hu()
        assert len(levels) == 256
        assert (levels[0], levels[-1]) == (-1024, 3071)
        assert (np.diff(levels) > 0).all()

    @given(st.floats(-1024, 3071))
    def test_are_off_by_less_than_scanners_are(self, hu: float) -> None:
        error = abs(levels_hu()[to_bytes(np.array([hu]))[0]] - hu)
        if -20 <= hu <= 100:
            assert error <= 0.751
        elif -160 <= hu <= 240:
            assert error <= 1.53
        else:
            assert error <= max(14, 0.04 * hu)

    def test_clip_what_is_outside_and_take_nan_for_something(self) -> None:
        assert to_bytes(np.array([-2000, -1024, 3071, 9000])).tolist() == [0, 0, 255, 255]
        assert to_bytes(np.array([np.nan])).dtype == np.uint8


class TestReduction:
    @given(
        st.tuples(*[st.integers(1, 400)] * 3),
        st.tuples(*[st.floats(0.3, 10)] * 3),
        st.integers(1, 10**6),
    )
    def test_keeps_to_the_budget_and_no_coarser_than_it_must(
        self, shape: tuple[int, ...], spacing_mm: tuple[float, ...], voxels: int
    ) -> None:
        factors = reduction(shape, spacing_mm, voxels=voxels)
        assert np.prod(reduced_shape(shape, factors)) <= voxels
        if np.prod(shape) <= voxels:
            assert factors == (1, 1, 1)

    def test_takes_the_plane_first(self) -> None:
        assert reduction((100, 512, 512), (1.5, 0.5, 0.5), voxels=7_000_000) == (1, 2, 2)
        assert reduction((100, 100, 100), (1, 1, 1), voxels=300_000) == (1, 2, 2)
        assert reduction((100, 100, 100), (1, 1, 1), voxels=200_000) == (2, 2, 2)

    def test_refuses_no_voxels(self) -> None:
        with pytest.raises(ValueError, match=r"^voxels must be >= 1, got 0$"):
            reduction((1, 1, 1), (1, 1, 1), voxels=0)

    def test_averages_and_picks_by_hand(self) -> None:
        values = np.array([1, 3, 5, 9, 2]).reshape(1, 1, 5)
        np.testing.assert_array_equal(average(values, (1, 1, 2)).ravel(), [2, 7, 2])
        np.testing.assert_array_equal(pick(values, (1, 1, 2)).ravel(), [3, 9, 2])
        np.testing.assert_array_equal(group_centres((4, 0, 7), (1, 1, 2)) @ [1, 0, 0, 1], [9.5, 0, 4, 1])


class TestBox:
    def test_is_all_where_there_is_nothing(self) -> None:
        air = np.full((4, 5, 6), -1000, np.int16)
        assert box_to_show(air, air > 0, (1, 1, 1)) == (slice(0, 4), slice(0, 5), slice(0, 6))

    def test_of_a_large_scan_holds_all_of_the_body(self) -> None:
        """The body is looked for in every third voxel or so."""
        image = np.full((130, 140, 150), -1000, np.int16)
        image[31:98, 40:101, 52:117] = 0
        box = box_to_show(image, np.zeros(image.shape, bool), (10, 10, 10))
        for part, (first, last) in zip(box, ((31, 98), (40, 101), (52, 117)), strict=True):
            assert first - 4 <= part.start <= first - 1
            assert last + 1 <= part.stop <= last + 4


class TestFindings:
    names = ("a", "b")

    def test_of_errors_are_largest_first_and_told_apart(self) -> None:
        truth, prediction = np.zeros((2, 3, 20, 20), np.uint8)
        truth[1, 1:4, 1:4] = 1  # 9 voxels missed
        prediction[1, 10:16, 10:12] = 2  # 12 where there is none
        truth[0, 18, 18], prediction[0, 18, 18] = 2, 1
        errors = largest_errors(truth, prediction, names=self.names, spacing_mm=(10, 10, 10))
        assert [error.text for error in errors] == [
            "b where there is none, 12\xa0ml",
            "a missed, 9.0\xa0ml",
            "b taken for a, 1.0\xa0ml",
        ]
        assert errors[1].at == (1, 2, 2)
        assert errors[2].at == (0, 18, 18)

    def test_lie_in_what_they_tell_of(self) -> None:
        """A ring's centre is no part of it."""
        truth = np.zeros((5, 30, 30), np.uint8)
        rows, columns = np.ogrid[:30, :30]
        radius = np.hypot(rows - 15, columns - 15)
        truth[1:4, (radius > 8) & (radius < 12)] = 2
        found = largest_structure(truth, truth * 0, names=self.names, spacing_mm=(1, 1, 1))
        assert found is not None
        assert truth[found.at] == 2
        assert found.text.startswith("b (ground truth), ")

    def test_of_structures_are_the_predictions_where_the_truth_has_none(self) -> None:
        prediction = np.zeros((2, 2, 2), np.uint8)
        prediction[1, 1, 1] = 1
        found = largest_structure(prediction * 0, prediction, names=self.names, spacing_mm=(1, 2, 3))
        assert found is not None
        assert (found.at, found.text) == ((1, 1, 1), "a (prediction), 6.0\xa0mm\N{SUPERSCRIPT THREE}")

    def test_are_none_of_nothing_and_eight_of_many(self) -> None:
        empty = np.zeros((1, 40, 40), np.uint8)
        assert largest_errors(empty, empty, names=self.names, spacing_mm=(1, 1, 1)) == ()
        assert largest_structure(empty, empty, names=self.names, spacing_mm=(1, 1, 1)) is None
        dots = empty.copy()
        dots[0, ::3, ::3] = 1
        assert len(largest_errors(dots, empty, names=self.names, spacing_mm=(1, 1, 1))) == 8

    def test_of_regions_name_the_innermost(self) -> None:
        regions = Classes(
            (
                SegmentationClass("core", (2, 3), "(2, 3)"),
                SegmentationClass("whole", (1, 2, 3), "(1, 2, 3)"),
                SegmentationClass("enhancing", (3,), "3"),
            ),
            None,
            frozenset(range(4)),
        )
        assert shown_class(np.arange(4), regions).tolist() == [0, 2, 1, 3]

    @pytest.mark.parametrize(
        ("volume_ml", "words"),
        [
            (123.4, "123\xa0ml"),
            (9.96, "10.0\xa0ml"),
            (0.1, "0.1\xa0ml"),
            (0.0996, "100\xa0mm\u00b3"),
            (0.0004, "0.4\xa0mm\u00b3"),
        ],
    )
    def test_give_volumes_in_words(self, volume_ml: float, words: str) -> None:
        assert volume_in_words(volume_ml) == words
