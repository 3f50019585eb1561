"""Folds: every case is validated once, the lengths are even, and so is the rarest class."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nnunetv2_cfseg.data.phantom.folds import choose_folds
from nnunetv2_cfseg.data.phantom.settings import CLASSES

shown = st.lists(st.sets(st.sampled_from(list(CLASSES))), min_size=2, max_size=40)


def named(sets: list[set[str]]) -> dict[str, set[str]]:
    return {f"case_{i:02d}": classes for i, classes in enumerate(sets)}


@given(shown, st.integers(0, 100))
def test_every_case_is_validated_once(sets: list[set[str]], seed: int) -> None:
    classes = named(sets)
    folds = choose_folds(classes, seed=seed)
    assert len(folds) == min(5, len(classes))
    assert sorted(name for fold in folds for name in fold["val"]) == sorted(classes)
    for fold in folds:
        assert fold["val"] == sorted(fold["val"])
        assert fold["train"] == sorted(set(classes) - set(fold["val"]))
    lengths = [len(fold["val"]) for fold in folds]
    assert max(lengths) - min(lengths) <= 1


@given(shown, st.integers(0, 100))
def test_the_rarest_class_is_shared_out_evenly(sets: list[set[str]], seed: int) -> None:
    classes = named(sets)
    frequency = Counter(name for shown in sets for name in shown)
    if not frequency:
        return
    rarest = min(frequency, key=lambda name: (frequency[name], name))
    counts = [sum(rarest in classes[name] for name in fold["val"]) for fold in choose_folds(classes, seed=seed)]
    assert max(counts) - min(counts) <= 1


def test_every_rare_class_is_shared_out() -> None:
    """Five cases of each class among 50, in runs: as they come, a fold would hold all cases of two classes."""
    classes = {f"case_{i:02d}": {list(CLASSES)[i // 5]} if i < 25 else set() for i in range(50)}
    for fold in choose_folds(classes, seed=3):
        assert Counter(name for case in fold["val"] for name in classes[case]) == dict.fromkeys(CLASSES, 1)


@pytest.mark.parametrize("seed", range(5))
def test_a_class_that_comes_with_a_rarer_one_is_shared_out(seed: int) -> None:
    classes = named([{"EDH", "ICH"}] * 5 + [{"EDH"}] * 5 + [{"ICH"}] * 10 + [set()] * 10)
    for fold in choose_folds(classes, seed=seed):
        assert Counter(name for case in fold["val"] for name in classes[case]) == {"EDH": 2, "ICH": 3}


def test_the_seed_decides() -> None:
    classes = named([{"ICH"}] * 20)
    assert choose_folds(classes, seed=1) == choose_folds(classes, seed=1)
    assert choose_folds(classes, seed=1) != choose_folds(classes, seed=2)


@pytest.mark.parametrize("count", [0, 1])
def test_refuses_fewer_than_two_cases(count: int) -> None:
    with pytest.raises(ValueError, match=f"^folds need at least two cases, got {count}$"):
        choose_folds(named([{"ICH"}] * count), seed=0)


@pytest.mark.parametrize("most", [2, 3, 10])
def test_there_are_as_many_as_asked_for(most: int) -> None:
    folds = choose_folds(named([{"ICH"}] * 7), seed=0, most=most)
    assert len(folds) == min(most, 7)
    assert sorted(name for fold in folds for name in fold["val"]) == sorted(named([set()] * 7))


@pytest.mark.parametrize("most", [1, 0, -1])
def test_there_are_two_at_least(most: int) -> None:
    with pytest.raises(ValueError, match=f"^the number of folds must be >= 2, got {most}$"):
        choose_folds(named([{"ICH"}] * 7), seed=0, most=most)
