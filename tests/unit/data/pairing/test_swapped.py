"""Scans and labels in each other's place."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from nnunetv2_cfseg.data.pairing.pair import make_pair
from nnunetv2_cfseg.data.pairing.settings import PairSettings
from nnunetv2_cfseg.data.pairing.sources import Source
from nnunetv2_cfseg.data.pairing.survey import survey
from nnunetv2_cfseg.data.pairing.swapped import check_not_swapped

SWAPPED = r"-i and -l look swapped: the image holds only 2 whole numbers from 0 to 1, .* from -1000 to 80, .*nrrd$"


@pytest.fixture
def case(make_grid: Any, write: Any) -> Callable[..., Source]:
    """A scan and labels whose slices are so many times as thick, as they should be or swapped."""

    def make(ratio: int = 1, *, swapped: bool) -> Source:
        grid = make_grid((20, 8, 9), (1.0, 1.0, 1.0))
        hu = np.random.default_rng(0).integers(0, 80, grid.shape).astype(np.int16)
        hu[:, 0], hu[0, 0, 0], hu[1, 1, 1] = -1000, -1000, 80
        labels = np.zeros((20 // ratio, 8, 9), np.uint8)
        labels[:, 3, 4] = 1
        files = write(hu, grid), write(labels, grid.with_slices(0, float(ratio), len(labels)))
        return Source("case", "Tr", *(reversed(files) if swapped else files))

    return make


def test_only_what_is_swapped_is_refused(case: Callable[..., Source]) -> None:
    check_not_swapped(case(swapped=False))
    with pytest.raises(ValueError, match=SWAPPED):
        check_not_swapped(case(swapped=True))


@pytest.mark.parametrize("assume_hu", [False, True])
def test_a_swapped_pair(case: Callable[..., Source], assume_hu: bool) -> None:
    settings = PairSettings(4, "thin", assume_hu=assume_hu)
    make_pair(case(swapped=False), settings)
    with pytest.raises(ValueError, match=SWAPPED):
        make_pair(case(swapped=True), settings)


def test_scans_that_are_thicker_than_labels(case: Callable[..., Source]) -> None:
    with pytest.raises(ValueError, match=SWAPPED):
        survey([case(5, swapped=True)], labels=None, factor=None, thickness_mm=None)
