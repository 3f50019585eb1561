"""Crops begin at a slab's first slice, inside the scan and above it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from nnunetv2.training.dataloading.data_loader import nnUNetDataLoader
from nnunetv2.training.nnUNetTrainer import nnUNetTrainer as trainer_module

from nnunetv2_cfseg.trainers.slab_loader import SlabDataLoader, slab_data_loaders


def loader(factor: int, crop: tuple[int, int, int]) -> SlabDataLoader:
    data: Any = SimpleNamespace(identifiers=["case"])
    labels: Any = SimpleNamespace(all_labels=[0, 1], has_ignore_label=False)
    return SlabDataLoader(data, 1, crop, crop, labels, factor=factor)


@pytest.mark.parametrize("slices", [40, 12, 20])
@pytest.mark.parametrize("force_foreground", [False, True])
def test_crops_are_whole_slabs(slices: int, force_foreground: bool) -> None:
    np.random.seed(0)
    own = loader(4, (16, 8, 8))
    locations = {1: np.array([[0, z, 5, 5] for z in range(slices)])}
    starts = set()
    for _ in range(50):
        low, high = own.get_bbox(np.array([slices, 20, 20]), force_foreground, locations)
        assert low[0] % 4 == 0
        assert [b - a for a, b in zip(low, high, strict=True)] == [16, 8, 8]
        starts.add(low[0])
    if slices == 40:
        assert {0, 12, 20} <= starts


def test_the_trainer_makes_loaders_of_this_kind_within_alone() -> None:
    with slab_data_loaders(4):
        made = trainer_module.nnUNetDataLoader(
            SimpleNamespace(identifiers=["case"]), 1, (8, 8, 8), (8, 8, 8),
            SimpleNamespace(all_labels=[0], has_ignore_label=False),
        )  # fmt: skip
        assert isinstance(made, SlabDataLoader)
        assert made.factor == 4
    assert trainer_module.nnUNetDataLoader is nnUNetDataLoader


def test_an_error_restores_nnunets_own() -> None:
    with pytest.raises(RuntimeError, match="no data"), slab_data_loaders(4):
        raise RuntimeError("no data")
    assert trainer_module.nnUNetDataLoader is nnUNetDataLoader
