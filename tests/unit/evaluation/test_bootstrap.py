"""The bootstrap over cases: by hand, by its coverage, and where values are missing."""

from __future__ import annotations

from math import isnan, nan

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from nnunetv2_cfseg.evaluation.bootstrap import VALUES_AT_A_TIME, bootstrap_mean, nan_mean


class TestNanMean:
    def test_is_the_mean_of_what_is_known(self) -> None:
        values = np.array([[1.0, nan, nan], [3.0, 5.0, nan]])
        np.testing.assert_array_equal(nan_mean(values, axis=0), [2, 5, nan])
        np.testing.assert_array_equal(nan_mean(values, axis=1), [1, 4])

    def test_of_a_line_is_a_number(self) -> None:
        assert float(nan_mean(np.array([1.0, nan, 2.0]), axis=0)) == 1.5
        assert isnan(nan_mean(np.array([nan]), axis=0))


class TestBootstrapMean:
    def test_of_two_cases_by_hand(self) -> None:
        """Of two cases a quarter of the resamples has mean 0, a half 0.5 and a quarter 1."""
        values = np.array([0.0, 1.0])
        assert bootstrap_mean(values, resamples=2000, seed=0) == (0, 1)
        assert bootstrap_mean(values, resamples=2000, seed=0, confidence=0.4) == (0.5, 0.5)

    def test_draws_a_case_with_all_its_classes(self) -> None:
        """Two classes that add up to one in each case have no spread, drawn apart they would have."""
        one = np.linspace(0, 1, 10)
        assert bootstrap_mean(np.stack([one, 1 - one], axis=1), resamples=500, seed=0) == pytest.approx((0.5, 0.5))

    def test_takes_the_mean_over_classes_of_their_means(self) -> None:
        """The second class has a value in every other case: a mean over all values at once would weigh it less."""
        values = np.tile([[0.0, 1.0], [0.0, nan]], (20, 1))
        assert bootstrap_mean(values, resamples=500, seed=0) == pytest.approx((0.5, 0.5))

    def test_reduces_any_further_axes(self) -> None:
        values = np.random.default_rng(0).normal(size=(12, 2, 3))
        flat = bootstrap_mean(values.reshape(12, 6), resamples=200, seed=4)
        assert bootstrap_mean(values, resamples=200, seed=4) == pytest.approx(flat)

    def test_covers_the_mean_as_often_as_it_says(self) -> None:
        """Of 40 values; the percentile bootstrap covers a little less than 95 % there."""
        rng = np.random.default_rng(1)
        intervals = [bootstrap_mean(rng.exponential(3.0, 40), resamples=400, seed=i) for i in range(400)]
        covered = np.mean([low <= 3 <= high for low, high in intervals])
        assert 0.89 < covered < 0.97

    def test_is_as_wide_as_the_normal_interval_of_normal_values(self) -> None:
        values = np.random.default_rng(2).normal(5, 2, 400)
        low, high = bootstrap_mean(values, resamples=4000, seed=0)
        assert (high - low) == pytest.approx(2 * 1.96 * values.std() / 20, rel=0.06)
        assert (high + low) / 2 == pytest.approx(values.mean(), abs=0.02)

    def test_is_decided_by_the_seed(self) -> None:
        values = np.random.default_rng(3).normal(size=20)
        first = bootstrap_mean(values, resamples=100, seed=0)
        assert bootstrap_mean(values, resamples=100, seed=0) == first
        assert bootstrap_mean(values, resamples=100, seed=1) != first

    def test_draws_the_same_cases_for_all_values(self) -> None:
        values = np.random.default_rng(3).normal(size=20)
        low, high = bootstrap_mean(values, resamples=100, seed=0)
        assert bootstrap_mean(3 * values + 1, resamples=100, seed=0) == pytest.approx((3 * low + 1, 3 * high + 1))

    def test_does_not_depend_on_how_many_values_are_drawn_at_a_time(self, monkeypatch: pytest.MonkeyPatch) -> None:
        values = np.random.default_rng(3).normal(size=(20, 3))
        assert 100 * values.size < VALUES_AT_A_TIME
        at_once = bootstrap_mean(values, resamples=100, seed=0)
        for limit in (1, 1000):
            monkeypatch.setattr("nnunetv2_cfseg.evaluation.bootstrap.VALUES_AT_A_TIME", limit)
            assert bootstrap_mean(values, resamples=100, seed=0) == at_once

    def test_leaves_out_resamples_without_a_value(self) -> None:
        """Two of ten cases have a value: many resamples have none."""
        values = np.array([1.0, 2.0, *[nan] * 8])
        assert bootstrap_mean(values, resamples=500, seed=0) == (1, 2)

    @pytest.mark.parametrize("values", [[], [0.5], [0.5, nan], [nan, nan], [[0.5, 0.7]], [[0.5, 0.7], [nan, nan]]])
    def test_is_unknown_of_fewer_than_two_cases(self, values: list) -> None:
        low, high = bootstrap_mean(np.array(values), resamples=10, seed=0)
        assert isnan(low)
        assert isnan(high)

    def test_takes_other_statistics(self) -> None:
        values = np.array([0.0, 0.0, 0.0, 0.0, 100.0])
        low, high = bootstrap_mean(values, statistic=np.median, resamples=500, seed=0, confidence=0.8)
        assert (low, high) == (0, 0)
        assert bootstrap_mean(values, statistic=np.mean, resamples=500, seed=0, confidence=0.8)[1] == 40

    @given(arrays(float, st.tuples(st.integers(2, 8), st.integers(1, 3)), elements=st.floats(-1e3, 1e3)))
    def test_lies_within_the_class_means_of_single_cases(self, values: np.ndarray) -> None:
        low, high = bootstrap_mean(values, resamples=20, seed=0)
        assert values.min(axis=0).mean() - 1e-9 <= low <= high <= values.max(axis=0).mean() + 1e-9

    @pytest.mark.parametrize(
        ("arguments", "named"),
        [
            ({"resamples": 0}, "number of resamples must be >= 1, got 0"),
            ({"resamples": 1, "confidence": 1.0}, "confidence must be above 0 and below 1, got 1"),
            ({"resamples": 1, "confidence": 0.0}, "confidence must be above 0 and below 1, got 0"),
        ],
    )
    def test_refuses_what_gives_no_interval(self, arguments: dict, named: str) -> None:
        with pytest.raises(ValueError, match=named):
            bootstrap_mean(np.arange(3.0), seed=0, **arguments)
