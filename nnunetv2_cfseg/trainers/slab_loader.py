"""nnU-Net's loader with crops that begin at a slab's first slice."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from nnunetv2.training.dataloading.data_loader import nnUNetDataLoader
from nnunetv2.training.nnUNetTrainer import nnUNetTrainer as trainer_module


class SlabDataLoader(nnUNetDataLoader):
    """Crops along z by whole slabs of ``factor`` slices; those that begin above the scan do so by whole slabs too."""

    def __init__(self, *args: Any, factor: int, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.factor = factor

    def get_bbox(self, *args: Any, **kwargs: Any) -> tuple[list[int], list[int]]:
        """nnU-Net's, moved up by less than a slab."""
        starts, ends = super().get_bbox(*args, **kwargs)
        surplus = starts[0] % self.factor
        return [starts[0] - surplus, *starts[1:]], [ends[0] - surplus, *ends[1:]]


@contextmanager
def slab_data_loaders(factor: int) -> Iterator[None]:
    """Within it nnU-Net's trainer makes loaders of this kind; it has no other way to name a loader's class."""
    stock = trainer_module.nnUNetDataLoader
    trainer_module.nnUNetDataLoader = partial(SlabDataLoader, factor=factor)
    try:
        yield
    finally:
        trainer_module.nnUNetDataLoader = stock
