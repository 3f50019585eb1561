"""nnU-Net's loader with crops that are continued beyond the scan and start at a slab's first slice."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from nnunetv2.training.dataloading.data_loader import nnUNetDataLoader
from nnunetv2.training.nnUNetTrainer import nnUNetTrainer as trainer_module
from torch import Tensor

from nnunetv2_cfseg.networks.beyond_scan import ZEROS, BeyondScan
from nnunetv2_cfseg.trainers.beyond_scan import continue_crop


class CropLoader(nnUNetDataLoader):
    """Loads crops from which blocks are drawn.

    Args:
        beyond_scan: how crops are continued beyond the scan; ``mean`` is nnU-Net's own way, labels included.
        factor: slices in a slab; along z crops start at a multiple of it, also those that start before the scan.
    """

    def __init__(self, *args: Any, beyond_scan: BeyondScan = ZEROS, factor: int = 1, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.beyond_scan = beyond_scan
        self.factor = factor
        #: For each axis, how many voxels of the last crop lie before and behind the scan.
        self.pads: list[tuple[int, int]] = [(0, 0)] * 3
        self.augmentation: Callable[..., dict[str, Any]] | None = kwargs.get("transforms")
        if beyond_scan.mode != "mean":
            self.transforms = self._continue

    def get_bbox(self, data_shape: Any, *args: Any, **kwargs: Any) -> tuple[list[int], list[int]]:
        """nnU-Net's box, moved towards the first slice by less than a slab."""
        starts, ends = super().get_bbox(data_shape, *args, **kwargs)
        surplus = starts[0] % self.factor
        starts, ends = [starts[0] - surplus, *starts[1:]], [ends[0] - surplus, *ends[1:]]
        self.pads = [
            (max(0, -start), max(0, end - size)) for start, end, size in zip(starts, ends, data_shape, strict=True)
        ]
        return starts, ends

    def _continue(self, image: Tensor, segmentation: Tensor) -> dict[str, Any]:
        """Continue a crop that nnU-Net has padded, then augment it."""
        if any(side for pad in self.pads for side in pad):
            continue_crop(image, segmentation, self.pads, self.beyond_scan)
        crop = {"image": image, "segmentation": segmentation}
        return crop if self.augmentation is None else self.augmentation(**crop)


@contextmanager
def crop_loaders(beyond_scan: BeyondScan = ZEROS, *, factor: int = 1) -> Iterator[None]:
    """Make nnU-Net's trainer use :class:`CropLoader`; it has no setting for the loader's class."""
    stock = trainer_module.nnUNetDataLoader
    trainer_module.nnUNetDataLoader = partial(CropLoader, beyond_scan=beyond_scan, factor=factor)
    try:
        yield
    finally:
        trainer_module.nnUNetDataLoader = stock
