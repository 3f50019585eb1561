"""Statistics of paired values against examples by hand and against scipy."""

from __future__ import annotations

from itertools import pairwise
from math import isnan, nan

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from nnunetv2_cfseg.evaluation.paired_tests import compare_values, holm, smallest_p, wilcoxon_p

probabilities = st.lists(st.floats(0, 1), min_size=1, max_size=12)


class TestWilcoxon:
    @pytest.mark.parametrize(
        ("differences", "p"),
        [
            ([0.1, 0.2, 0.3, 0.4, 0.5], 2 / 32),  # all plus: one of the 32 signs, and its mirror image
            ([-0.1, 0.2, 0.3, 0.4, 0.5], 4 / 32),  # ranks of minus sum up to 1; so they do or are 0 in 2 of the 32
            ([0.1, 0.2, -0.3, 0.4, 0.5], 10 / 32),  # to 3: {}, {1}, {2}, {3}, {1, 2}
            ([0.1, -0.1], 1.0),
            ([0.7], 1.0),
        ],
    )
    def test_by_hand(self, differences: list[float], p: float) -> None:
        assert wilcoxon_p(np.array(differences)) == pytest.approx(p)

    @pytest.mark.parametrize("n", [6, 12, 30, 60])
    def test_is_scipys(self, n: int) -> None:
        differences = np.random.default_rng(n).normal(0.3, 1, n)
        p = wilcoxon_p(differences)
        assert p == pytest.approx(stats.wilcoxon(differences).pvalue)
        assert 0 < p < 0.9

    @pytest.mark.parametrize("n", [1, 3, 20, 100])
    def test_of_equal_values_is_1(self, n: int) -> None:
        assert wilcoxon_p(np.zeros(n)) == 1

    def test_of_nothing_is_undefined(self) -> None:
        assert isnan(wilcoxon_p(np.array([])))

    def test_stays_exact_where_most_values_are_equal(self) -> None:
        """The normal approximation would give 0.043."""
        differences = np.concatenate([np.zeros(20), [0.1, 0.2, 0.3, 0.4, 0.5]])
        assert wilcoxon_p(differences) == pytest.approx(2 / 32)

    def test_takes_rounding_errors_for_no_difference(self) -> None:
        noise = 0.1 + 0.2 - 0.3
        assert noise > 0
        assert wilcoxon_p(np.array([noise, 0.1, 0.2, 0.3, 0.4, 0.5])) == pytest.approx(2 / 32)

    @given(st.lists(st.integers(-3, 3), min_size=1, max_size=9))
    def test_does_not_mind_which_is_the_reference(self, differences: list[int]) -> None:
        p = wilcoxon_p(np.array(differences))
        assert p == pytest.approx(wilcoxon_p(-np.array(differences)))
        assert smallest_p(len(differences)) - 1e-12 <= p <= 1


class TestSmallestP:
    @pytest.mark.parametrize("n", [1, 2, 5, 6, 8])
    def test_is_that_of_differences_of_one_sign(self, n: int) -> None:
        assert smallest_p(n) == pytest.approx(wilcoxon_p(np.arange(1, n + 1)))

    def test_of_five_is_above_the_usual_level(self) -> None:
        assert smallest_p(5) == 0.0625
        assert smallest_p(6) == 0.03125


class TestHolm:
    def test_by_hand(self) -> None:
        """In order: 4 x .005, 3 x .01, 2 x .03, and .04, which is not less than the one before."""
        np.testing.assert_allclose(holm([0.01, 0.04, 0.03, 0.005]), [0.03, 0.06, 0.06, 0.02])

    def test_is_at_most_1(self) -> None:
        np.testing.assert_array_equal(holm([0.5, 0.9, 0.7]), [1, 1, 1])

    def test_does_not_count_what_is_no_test(self) -> None:
        np.testing.assert_allclose(holm([nan, 0.01, nan, 0.04]), [nan, 0.02, nan, 0.04])
        assert np.isnan(holm([nan, nan])).all()
        assert holm([]).shape == (0,)

    @given(probabilities)
    def test_keeps_the_order_and_lies_between_p_and_bonferronis(self, p: list[float]) -> None:
        corrected = holm(p)
        assert (corrected >= np.array(p)).all()
        assert (corrected <= np.minimum(1, np.array(p) * len(p)) + 1e-12).all()
        assert all(a <= b for a, b in pairwise(corrected[np.argsort(p, kind="stable")]))
        assert corrected.min() == pytest.approx(min(1, min(p) * len(p)))


class TestCompare:
    def test_by_hand(self) -> None:
        found = compare_values(np.array([0.5, 0.6, 0.7, 0.8]), np.array([0.7, 0.5, 0.9, 0.8]), better=1)
        assert (found.n, found.wins, found.ties, found.losses) == (4, 2, 1, 1)
        assert found.mean_reference == pytest.approx(0.65)
        assert found.mean_other == pytest.approx(0.725)
        assert found.difference == pytest.approx(0.075)
        assert found.low < 0.075 < found.high
        assert found.p == wilcoxon_p(np.array([0.2, -0.1, 0.2]))

    def test_of_distances_less_wins(self) -> None:
        found = compare_values(np.array([5.0, 5.0, 5.0]), np.array([4.0, 3.0, 9.0]), better=-1)
        assert (found.wins, found.ties, found.losses) == (2, 0, 1)
        assert found.difference == pytest.approx(1 / 3)

    @pytest.mark.parametrize(
        ("other", "counts"),
        [
            (0.7004, (0, 1, 0)),  # both are 0.700
            (0.7006, (1, 0, 0)),
            (0.6994, (0, 0, 1)),
            (0.7, (0, 1, 0)),
        ],
    )
    def test_values_that_round_to_the_same_third_decimal_tie(self, other: float, counts: tuple[int, int, int]) -> None:
        found = compare_values(np.array([0.7]), np.array([other]), better=1)
        assert (found.wins, found.ties, found.losses) == counts

    def test_of_nothing_is_undefined(self) -> None:
        found = compare_values(np.array([]), np.array([]), better=1)
        assert (found.n, found.wins, found.ties, found.losses) == (0, 0, 0, 0)
        for value in (found.mean_reference, found.mean_other, found.difference, found.low, found.high, found.p):
            assert isnan(value)

    def test_of_one_case_has_no_interval(self) -> None:
        found = compare_values(np.array([0.5]), np.array([0.75]), better=1)
        assert (found.n, found.difference, found.p) == (1, 0.25, 1)
        assert isnan(found.low)
        assert isnan(found.high)

    def test_interval_is_that_of_the_mean_difference_over_cases(self) -> None:
        """A constant difference is certain, however much the cases differ from each other."""
        reference = np.linspace(0.1, 0.8, 12)
        found = compare_values(reference, reference + 0.125, better=1)
        assert found.low == pytest.approx(0.125)
        assert found.high == pytest.approx(0.125)

    def test_interval_covers_the_true_difference(self) -> None:
        rng = np.random.default_rng(0)
        covered = 0
        for _ in range(60):
            found = compare_values(np.zeros(40), rng.normal(0.5, 1, 40), better=1, resamples=300)
            covered += found.low <= 0.5 <= found.high
        assert 50 <= covered < 60

    def test_is_decided_by_the_seed(self) -> None:
        a, b = np.random.default_rng(1).random((2, 9))
        assert compare_values(a, b, better=1, seed=3) == compare_values(a, b, better=1, seed=3)
        assert compare_values(a, b, better=1, seed=3).low != compare_values(a, b, better=1, seed=4).low

    @given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=2, max_size=8), st.sampled_from([1, -1]))
    def test_the_other_way_round_is_its_mirror_image(self, pairs: list[tuple[float, float]], better: int) -> None:
        a, b = np.array(pairs).T
        there = compare_values(a, b, better=better, resamples=20)
        back = compare_values(b, a, better=better, resamples=20)
        assert (there.wins, there.ties, there.losses) == (back.losses, back.ties, back.wins)
        assert there.wins + there.ties + there.losses == there.n == len(pairs)
        assert there.difference == pytest.approx(-back.difference)
        assert there.p == pytest.approx(back.p)
        assert there.low == pytest.approx(-back.high)

    @pytest.mark.parametrize("better", [0, 2])
    def test_refuses_what_has_no_direction(self, better: int) -> None:
        with pytest.raises(ValueError, match=rf"direction must be 1 or -1, got {better}$"):
            compare_values(np.zeros(2), np.zeros(2), better=better)

    def test_refuses_values_of_other_cases(self) -> None:
        with pytest.raises(ValueError, match=r"got \(3,\) and \(2,\)$"):
            compare_values(np.zeros(3), np.zeros(2), better=1)
