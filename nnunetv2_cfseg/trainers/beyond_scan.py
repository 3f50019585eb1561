"""Crops that reach beyond their scan: what training sees there, and that nothing is learnt from there.

nnU-Net fills such crops up with zeros, calls them background, and trains on them. Here the image goes on as the plans'
``beyond_scan`` says, and the loss is not asked there: centres of blocks lie inside the scan. Where a scan is too thin
to hold one, labels go on as the image does.

Shapes: C channels, Z Y X voxels of the crop, R channels of the target.
"""

from __future__ import annotations

import torch
from batchgeneratorsv2.transforms.base.basic_transform import BasicTransform
from batchgeneratorsv2.transforms.spatial.spatial import SpatialTransform
from batchgeneratorsv2.transforms.utils.remove_label import RemoveLabelTransform
from scipy.ndimage import distance_transform_edt
from torch import Tensor

from nnunetv2_cfseg.networks.beyond_scan import BeyondScan

#: Label of voxels beyond the scan, while a crop is augmented; nnU-Net's own -1 also stands for background inside it.
BEYOND_LABEL = -2
#: Under which a crop holds which voxels are beyond the scan, (Z, Y, X) bool.
BEYOND_KEY = "beyond_scan"


def continue_crop(image: Tensor, segmentation: Tensor, pads: list[tuple[int, int]], beyond_scan: BeyondScan) -> None:
    """Continue a crop, in place, where nnU-Net has filled it up.

    Args:
        image: (C, Z, Y, X).
        segmentation: (R, Z, Y, X), whose first channel gets :data:`BEYOND_LABEL`.
        pads: voxels before and behind each axis that are not of the scan.
    """
    z, y, x = (slice(before, size - behind) for size, (before, behind) in zip(image.shape[1:], pads, strict=True))
    image.copy_(beyond_scan.extend(image[:, z, y, x].clone(), pads))
    inside = segmentation[0, z, y, x].clone()
    segmentation[0] = BEYOND_LABEL
    segmentation[0, z, y, x] = inside


def continue_labels(target: Tensor, beyond: Tensor) -> Tensor:
    """Give voxels beyond the scan what the nearest voxel of the scan has.

    Args:
        target: (R, Z, Y, X) of any type.
        beyond: (Z, Y, X) bool.

    Returns:
        A new tensor, or the same one where nothing or everything is beyond.
    """
    if not beyond.any() or beyond.all():
        return target
    nearest = distance_transform_edt(beyond.numpy(), return_distances=False, return_indices=True)
    z, y, x = torch.from_numpy(nearest).long()
    return target[:, z, y, x]


class SetAsideBeyondScan(BasicTransform):
    """Moves :data:`BEYOND_LABEL` out of the labels, to ``beyond_scan``; those voxels become background."""

    def apply(self, data_dict: dict, **params: object) -> dict:
        """Of a crop."""
        labels = data_dict["segmentation"][0]
        beyond = labels == BEYOND_LABEL
        if beyond.any():
            labels[beyond] = 0
            data_dict[BEYOND_KEY] = beyond
        return data_dict


class ContinueLabels(BasicTransform):
    """Labels beyond the scan go on as the image does, for validation, which looks at whole crops.

    Args:
        beyond_scan: how the image goes on.
    """

    def __init__(self, beyond_scan: BeyondScan) -> None:
        super().__init__()
        self.beyond_scan = beyond_scan

    def apply(self, data_dict: dict, **params: object) -> dict:
        """Of a crop."""
        beyond = data_dict.pop(BEYOND_KEY, None)
        if beyond is not None and self.beyond_scan.shows_scan:
            data_dict["segmentation"] = continue_labels(data_dict["segmentation"], beyond)
        return data_dict


def continue_in_augmentation(transforms: list[BasicTransform]) -> list[BasicTransform]:
    """nnU-Net's steps, such that what a turned crop has no voxels for goes on and is not learnt from either."""
    changed: list[BasicTransform] = []
    for transform in transforms:
        if isinstance(transform, SpatialTransform):
            transform.padding_mode_image = "border"
            transform.border_mode_seg, transform.padding_value_seg = "constant", BEYOND_LABEL
        if isinstance(transform, RemoveLabelTransform):
            changed.append(SetAsideBeyondScan())
        changed.append(transform)
    return changed
