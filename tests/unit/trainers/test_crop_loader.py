"""Crops begin at a slab's first slice, inside the scan and above it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from nnunetv2.training.dataloading.data_loader import nnUNetDataLoader
from nnunetv2.training.nnUNetTrainer import nnUNetTrainer as trainer_module

from nnunetv2_cfseg.networks.beyond_scan import BeyondScan
from nnunetv2_cfseg.trainers.beyond_scan import BEYOND_LABEL
from nnunetv2_cfseg.trainers.crop_loader import CropLoader, crop_loaders

LABELS: Any = SimpleNamespace(all_labels=[0, 1], has_ignore_label=False)


def loader(factor: int, crop: tuple[int, int, int]) -> CropLoader:
    return CropLoader(SimpleNamespace(identifiers=["case"]), 1, crop, crop, LABELS, factor=factor)


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
    with crop_loaders(BeyondScan("edge"), factor=4):
        made = trainer_module.nnUNetDataLoader(
            SimpleNamespace(identifiers=["case"]), 1, (8, 8, 8), (8, 8, 8),
            SimpleNamespace(all_labels=[0], has_ignore_label=False),
        )  # fmt: skip
        assert isinstance(made, CropLoader)
        assert (made.factor, made.beyond_scan.mode) == (4, "edge")
    assert trainer_module.nnUNetDataLoader is nnUNetDataLoader


def test_an_error_restores_nnunets_own() -> None:
    with pytest.raises(RuntimeError, match="no data"), crop_loaders(factor=4):
        raise RuntimeError("no data")
    assert trainer_module.nnUNetDataLoader is nnUNetDataLoader


class OneCase:
    """A dataset of one scan whose voxels are all different, and labels that are too."""

    def __init__(self, shape: tuple[int, int, int]) -> None:
        self.identifiers = ["case"]
        self.image = np.arange(1.0, 1 + np.prod(shape), dtype=np.float32).reshape(1, *shape)
        self.labels = (self.image % 2).astype(np.int16)

    def load_case(self, name: str) -> tuple[Any, ...]:
        return self.image, self.labels, None, {"class_locations": {1: np.argwhere(self.labels == 1)}}


class Recording(CropLoader):
    """Keeps the box of the last crop."""

    def get_bbox(self, *args: Any, **kwargs: Any) -> tuple[list[int], list[int]]:
        self.box = super().get_bbox(*args, **kwargs)
        return self.box


@pytest.mark.parametrize("mode", ["mean", "edge", "air", "reflect"])
@pytest.mark.parametrize("shape", [(1, 7, 20), (3, 4, 5), (16, 8, 9), (40, 20, 20)])
@pytest.mark.parametrize("factor", [1, 4])
def test_crops_are_cut_from_a_continued_scan(mode: str, shape: tuple[int, int, int], factor: int) -> None:
    """Each crop is found, as a whole, in the scan that was continued far on every side."""
    np.random.seed(0)
    crop, far = (16, 8, 8), 40
    data = OneCase(shape)
    padded = np.pad(data.image[0], far, **{
        "mean": {"constant_values": 0}, "edge": {"mode": "edge"}, "air": {"constant_values": -9},
        "reflect": {"mode": "reflect"},
    }[mode])  # fmt: skip
    beyond = np.pad(np.zeros(shape, bool), far, constant_values=True)
    labels = np.pad(data.labels[0], far, constant_values=-1 if mode == "mean" else BEYOND_LABEL)
    # nnU-Net asks for more than it trains on where crops are turned, so that they begin before the scan.
    own = Recording(data, 2, crop, (12, 6, 6), LABELS, factor=factor,
                     beyond_scan=BeyondScan(mode, (-9.0,) if mode == "air" else ()))  # fmt: skip
    reached_beyond = 0
    for _ in range(5):
        batch = own.generate_train_batch()
        last = tuple(slice(low + far, high + far) for low, high in zip(*own.box, strict=True))
        assert np.array_equal(batch["data"][-1, 0].numpy(), padded[last])
        assert np.array_equal(batch["target"][-1, 0].numpy(), labels[last])
        reached_beyond += beyond[last].any()
    assert reached_beyond or shape == (40, 20, 20)
