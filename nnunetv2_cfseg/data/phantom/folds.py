"""Folds for cross-validation that share out the rare classes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from functools import partial

import numpy as np

MOST_FOLDS = 5


def choose_folds(
    classes: Mapping[str, Collection[str]], *, seed: int, most: int = MOST_FOLDS
) -> list[dict[str, list[str]]]:
    """Split cases for nnU-Net's ``splits_final.json``.

    Case by case, the rarest class first, each goes to the fold with the fewest of its rarest class, then of its next
    one, then of cases.

    Args:
        classes: for each case those it shows.
        seed: decides between cases that are alike.
        most: folds, of as many cases or more.

    Returns:
        min(``most``, cases) folds, each with the sorted names in ``train`` and ``val``. Every case is in one ``val``;
        their lengths differ by one at most.

    Raises:
        ValueError: fewer than two cases, or than two folds.
    """
    if len(classes) < 2:
        raise ValueError(f"folds need at least two cases, got {len(classes)}")
    if most < 2:
        raise ValueError(f"the number of folds must be >= 2, got {most}")
    frequency = Counter(name for shown in classes.values() for name in shown)
    rank = {name: i for i, name in enumerate(sorted(frequency, key=lambda name: (frequency[name], name)))}
    cases = list(classes)
    cases = [cases[i] for i in np.random.default_rng(seed).permutation(len(cases))]
    cases.sort(key=lambda case: min((rank[name] for name in classes[case]), default=len(rank)))
    folds: list[list[str]] = [[] for _ in range(min(most, len(cases)))]
    room = [len(cases[i :: len(folds)]) for i in range(len(folds))]
    for case in cases:
        with_room = [fold for fold, most in zip(folds, room, strict=True) if len(fold) < most]
        rarest_first = sorted(classes[case], key=rank.__getitem__)
        min(with_room, key=partial(_crowding, names=rarest_first, classes=classes)).append(case)
    return [{"train": sorted(set(cases) - set(fold)), "val": sorted(fold)} for fold in folds]


def _crowding(fold: list[str], *, names: list[str], classes: Mapping[str, Collection[str]]) -> tuple[list[int], int]:
    """How many cases of a fold show each of the classes, and how many there are."""
    return [sum(name in classes[case] for case in fold) for name in names], len(fold)
