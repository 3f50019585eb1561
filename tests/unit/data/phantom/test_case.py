"""One case from a seed: the same again, and what is written down about it."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from nnunetv2_cfseg.data.phantom import case as case_module
from nnunetv2_cfseg.data.phantom.blood import Severity
from nnunetv2_cfseg.data.phantom.case import PhantomCase, draw_classes, make_case
from nnunetv2_cfseg.data.phantom.head import Head, build_head
from nnunetv2_cfseg.data.phantom.render import Voxels, render
from nnunetv2_cfseg.data.phantom.settings import CLASSES, FREQUENCIES, PhantomSettings

pytestmark = pytest.mark.slow

SETTINGS = PhantomSettings(
    matrix=(40, 48, 52), spacing_mm=(4.0, 4.5, 4.2), supersampling=1, frequencies=dict.fromkeys(CLASSES, 1.0)
)


@pytest.fixture(scope="module")
def case() -> PhantomCase:
    return make_case(SETTINGS, seed=3, index=1)


@pytest.fixture(scope="module")
def heads() -> dict[tuple, Head]:
    """By the random numbers that they are built from."""
    return {}


@pytest.fixture
def _each_head_once(heads: dict[tuple, Head], monkeypatch: pytest.MonkeyPatch) -> None:
    """For tests of what is the same head with other settings; that it is the same again is a test of its own."""

    def build(classes: list[str], rng: np.random.Generator, severity: Severity) -> Head:
        numbers = rng.bit_generator.seed_seq
        key = (*classes, *numbers.entropy, *numbers.spawn_key, severity)
        if key not in heads:
            heads[key] = build_head(classes, rng, severity)
        return heads[key]

    monkeypatch.setattr(case_module, "build_head", build)


class TestCase:
    def test_is_a_scan_of_all_classes(self, case: PhantomCase) -> None:
        assert case.image.dtype == np.int16
        assert case.labels.dtype == np.uint8
        assert case.image.shape == case.labels.shape == (40, 48, 52)
        assert case.geometry.spacing_mm == (4.0, 4.5, 4.2)
        assert set(np.unique(case.labels)) == {0, 1, 2, 3, 4, 5}
        assert case.image.min() < -950
        assert case.image.max() > 900

    def test_labels_are_those_of_the_head_in_the_image(self, case: PhantomCase) -> None:
        """The head's random numbers are the second of three streams; the scanner's flaws move no lesion."""
        head = build_head(list(CLASSES), np.random.default_rng([3, 1]).spawn(3)[1])
        perfect = render(head.scene, Voxels(SETTINGS.matrix, SETTINGS.spacing_mm, (1, 1, 1)))
        np.testing.assert_array_equal(case.labels, perfect.labels)
        assert np.corrcoef(case.image.ravel(), perfect.hu.ravel())[0, 1] > 0.97

    def test_is_the_same_again(self, case: PhantomCase) -> None:
        again = make_case(SETTINGS, seed=3, index=1)
        np.testing.assert_array_equal(case.image, again.image)
        np.testing.assert_array_equal(case.labels, again.labels)
        assert again.provenance == case.provenance

    @pytest.mark.parametrize(("seed", "index"), [(3, 2), (4, 1)])
    def test_is_another_for_another_seed_or_index(self, case: PhantomCase, seed: int, index: int) -> None:
        other = make_case(SETTINGS, seed=seed, index=index)
        assert (other.labels != case.labels).any()
        assert other.provenance["pose"] != case.provenance["pose"]
        assert other.provenance["scanner"] != case.provenance["scanner"]

    def test_lies_in_the_middle_of_the_scanner(self, case: PhantomCase) -> None:
        image = case.geometry.image_of(case.image)
        middle = [(size - 1) / 2 for size in image.GetSize()]
        np.testing.assert_allclose(image.TransformContinuousIndexToPhysicalPoint(middle), 0, atol=1e-9)
        np.testing.assert_allclose(case.geometry.origin_mm, (-25.5 * 4.2, -23.5 * 4.5, -19.5 * 4.0))
        assert case.geometry.direction == tuple(np.eye(3).ravel())

    @pytest.mark.usefixtures("_each_head_once")
    def test_labels_of_chosen_classes_count_up_from_one(self) -> None:
        bleeding = replace(SETTINGS, frequencies={"ICH": 1.0, "SDH": 1.0})
        all_labels = make_case(bleeding, seed=3, index=1).labels
        chosen = make_case(replace(bleeding, classes=("ICH", "SDH")), seed=3, index=1)
        assert set(np.unique(chosen.labels)) == {0, 1, 2}
        assert chosen.labels.dtype == np.uint8
        for label, name in enumerate(("ICH", "SDH"), 1):
            np.testing.assert_array_equal(chosen.labels == label, all_labels == CLASSES[name])

    def test_is_as_severe_as_asked_for(self) -> None:
        settings = replace(SETTINGS, matrix=(16, 16, 16), smallest=0.9, fresh=True)
        lesions = make_case(settings, seed=3, index=1).provenance["lesions"]
        assert max(lesion["days"] for lesion in lesions) <= 1
        (epidural,) = [lesion for lesion in lesions if lesion["class"] == "EDH"]
        assert epidural["planned_volume_ml"] > 60

    def test_provenance_is_json_and_whole(self, case: PhantomCase) -> None:
        provenance = json.loads(json.dumps(case.provenance, allow_nan=False))
        assert provenance["classes"] == list(CLASSES)
        assert {lesion["class"] for lesion in provenance["lesions"]} == set(CLASSES)
        assert set(provenance) == {
            *("classes", "scanner", "pose", "tissues_hu", "age_years", "brain", "skull", "calcified", "lesions")
        }
        assert 25 <= provenance["age_years"] <= 90
        assert 6 <= provenance["scanner"]["noise_hu"] <= 10
        assert all(0 <= lesion["days"] <= 90 and 15 <= lesion["hu"] <= 80 for lesion in provenance["lesions"])

    @pytest.mark.usefixtures("_each_head_once")
    def test_without_noise_is_smooth(self, case: PhantomCase) -> None:
        still = make_case(replace(SETTINGS, noise_hu=0.0), seed=3, index=1)
        np.testing.assert_array_equal(still.labels, case.labels)
        assert still.provenance["scanner"] == {**case.provenance["scanner"], "noise_hu": 0.0}
        assert {**still.provenance, "scanner": 0} == {**case.provenance, "scanner": 0}
        difference = (case.image.astype(float) - still.image)[10:30]
        assert difference.std() > 0.3
        corner = still.image[-6:, :6, :6].astype(float)  # air
        assert corner.std() < 1
        noisier = make_case(replace(SETTINGS, noise_hu=40.0), seed=3, index=1)
        louder = (noisier.image.astype(float) - still.image)[10:30].var() / (difference.var() - 1 / 6)  # rounding
        assert np.sqrt(louder) == pytest.approx(40 / case.provenance["scanner"]["noise_hu"], rel=0.1)


class TestClasses:
    def drawn(self, frequencies: dict[str, float], count: int = 2000) -> np.ndarray:
        """(count, classes): whether a case shows a class."""
        settings = replace(SETTINGS, frequencies=frequencies)
        rng = np.random.default_rng(0)
        shown = [draw_classes(settings, rng) for _ in range(count)]
        return np.array([[name in names for name in CLASSES] for names in shown])

    @pytest.mark.parametrize("frequencies", [FREQUENCIES, {"EDH": 0.1, "SAH": 0.3}])
    def test_are_shown_as_often_as_asked_for_when_there_is_one(self, frequencies: dict[str, float]) -> None:
        drawn = self.drawn(frequencies)
        assert drawn.any(axis=1).all()
        some = 1 - np.prod([1 - share for share in frequencies.values()])
        for column, name in enumerate(CLASSES):
            expected = frequencies.get(name, 0) / some
            tolerance = 4 * np.sqrt(expected * (1 - expected) / len(drawn))
            assert drawn[:, column].mean() == pytest.approx(expected, abs=tolerance)

    def test_are_independent_of_each_other(self) -> None:
        drawn = self.drawn(dict.fromkeys(CLASSES, 0.5))
        # Given one, the others are there as often as not.
        others = drawn[drawn[:, 0]][:, 1:].mean(axis=0)
        np.testing.assert_allclose(others, 0.5, atol=0.07)

    def test_always_and_never(self) -> None:
        settings = replace(SETTINGS, frequencies={"IVH": 1.0, "SDH": 1.0, "EDH": 0.0})
        assert draw_classes(settings, np.random.default_rng(0)) == ["IVH", "SDH"]

    def test_come_in_the_order_of_their_labels(self) -> None:
        settings = replace(SETTINGS, frequencies=dict.fromkeys(reversed(CLASSES), 1.0))
        assert draw_classes(settings, np.random.default_rng(0)) == list(CLASSES)


class TestSettings:
    @pytest.mark.parametrize(
        ("change", "named"),
        [
            ({"matrix": (15, 20, 20)}, r"at least 16 .* along each axis, got \(15, 20, 20\)$"),
            ({"spacing_mm": (1.0, 0.0, 1.0)}, r"must be from 0.05 to 50 mm, got \(1.0, 0.0, 1.0\) mm$"),
            ({"spacing_mm": (1.0, float("inf"), 1.0)}, "must be from 0.05 to 50 mm, got "),
            ({"spacing_mm": (1.0, float("nan"), 1.0)}, "must be from 0.05 to 50 mm, got "),
            ({"factor": 0}, "must be >= 1 and divide the number of slices, got 0 for 40 slices$"),
            ({"factor": 7}, "must be >= 1 and divide the number of slices, got 7 for 40 slices$"),
            ({"supersampling": 0}, "supersampling must be from 1 to 8, got 0$"),
            ({"noise_hu": -0.1}, "noise must be from 0 to 200 HU, got -0.1 HU$"),
            ({"noise_hu": 200}, "noise must be from 0 to 200 HU, got 200 HU$"),
            ({"noise_hu": float("nan")}, "noise must be from 0 to 200 HU, got nan HU$"),
            ({"smallest": 1.0}, "must be a quantile from 0 to below 1, got 1$"),
            ({"smallest": -0.1}, "must be a quantile from 0 to below 1, got -0.1$"),
            ({"smallest": float("nan")}, "must be a quantile from 0 to below 1, got nan$"),
            ({"classes": ()}, r"must be some of EDH, ICH, IVH, SAH, SDH in this order, got \(\)$"),
            ({"classes": ("IVH", "ICH")}, r"must be some of .* in this order, got \('IVH', 'ICH'\)$"),
            ({"classes": ("ICH", "XYZ")}, r"must be some of .* in this order, got \('ICH', 'XYZ'\)$"),
            ({"classes": ("ICH",), "frequencies": {"EDH": 0.1}}, "one of the dataset's, ICH, got EDH$"),
            ({"frequencies": {"XYZ": 0.5}}, "classes are EDH, ICH, IVH, SAH, SDH, got 'XYZ'$"),
            ({"frequencies": {"EDH": 1.1}}, "must be from 0 to 1, got 1.1 for EDH$"),
            ({"frequencies": {"EDH": float("nan")}}, "must be from 0 to 1, got nan for EDH$"),
            (
                {"frequencies": {"EDH": 0.0}},
                "at least one class must have a frequency of .* got 0 at most$",
            ),
            ({"frequencies": {}}, "at least one class must have a frequency of .* got 0 at most$"),
        ],
    )
    def test_refuse_what_is_out_of_range(self, change: dict[str, Any], named: str) -> None:
        with pytest.raises(ValueError, match=named):
            replace(SETTINGS, **change)
