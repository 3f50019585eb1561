"""Chooses folds for cross-validation that distribute the rare classes evenly."""

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

    Cases with the rarest classes come first. Each case goes to the fold with the fewest cases of its rarest class, then
    of its next rarest ones, then with the fewest cases.

    Args:
        classes: the classes in each case.
        seed: decides between equal cases.
        most: most folds.

    Returns:
        min(``most``, cases) folds, each with the sorted names in ``train`` and ``val``. Every case is in one ``val``;
        their lengths differ by one at most.

    Raises:
        ValueError: there are fewer than two cases, or ``most`` is below 2.
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
    sizes = [len(cases[i :: len(folds)]) for i in range(len(folds))]
    for case in cases:
        open_folds = [fold for fold, size in zip(folds, sizes, strict=True) if len(fold) < size]
        rarest_first = sorted(classes[case], key=rank.__getitem__)
        min(open_folds, key=partial(_crowding, names=rarest_first, classes=classes)).append(case)
    return [{"train": sorted(set(cases) - set(fold)), "val": sorted(fold)} for fold in folds]


def _crowding(fold: list[str], *, names: list[str], classes: Mapping[str, Collection[str]]) -> tuple[list[int], int]:
    """How many cases of a fold have each of the classes, and how many cases it has."""
    return [sum(name in classes[case] for case in fold) for name in names], len(fold)
