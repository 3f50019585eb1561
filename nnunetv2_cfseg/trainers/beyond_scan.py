"""Crops that reach beyond their scan: how they are filled, and that the loss ignores them there.

nnU-Net pads such crops with zeros, labels the padding background, and trains on it. Here the image is continued as the
plans' ``beyond_scan`` says, and the loss is not computed there: centres of blocks lie inside the scan. If a scan is too
thin to hold a centre, its labels are continued in the same way as the image.

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

#: Label of voxels beyond the scan while a crop is augmented; nnU-Net's own -1 also marks background inside the scan.
BEYOND_LABEL = -2
#: Key of a crop's mask of voxels beyond the scan, (Z, Y, X) bool.
BEYOND_KEY = "beyond_scan"


def continue_crop(image: Tensor, segmentation: Tensor, pads: list[tuple[int, int]], beyond_scan: BeyondScan) -> None:
    """Continue a crop, in place, where nnU-Net has padded it.

    Args:
        image: (C, Z, Y, X).
        segmentation: (R, Z, Y, X); padded voxels of its first channel are set to :data:`BEYOND_LABEL`.
        pads: for each axis, how many voxels at its start and at its end lie beyond the scan.
    """
    z, y, x = (slice(before, size - behind) for size, (before, behind) in zip(image.shape[1:], pads, strict=True))
    image.copy_(beyond_scan.extend(image[:, z, y, x].clone(), pads))
    inside = segmentation[0, z, y, x].clone()
    segmentation[0] = BEYOND_LABEL
    segmentation[0, z, y, x] = inside


def continue_labels(target: Tensor, beyond: Tensor) -> Tensor:
    """Give each voxel beyond the scan the labels of the nearest voxel in the scan.

    Args:
        target: (R, Z, Y, X) of any type.
        beyond: (Z, Y, X) bool.

    Returns:
        A new tensor, or the same one if no voxel or every voxel is beyond the scan.
    """
    if not beyond.any() or beyond.all():
        return target
    nearest = distance_transform_edt(beyond.numpy(), return_distances=False, return_indices=True)
    z, y, x = torch.from_numpy(nearest).long()
    return target[:, z, y, x]


class SetAsideBeyondScan(BasicTransform):
    """Turns voxels labelled :data:`BEYOND_LABEL` into background and stores their mask under ``beyond_scan``."""

    def apply(self, data_dict: dict, **params: object) -> dict:
        """Change a crop's ``segmentation`` in place; add the mask, (Z, Y, X) bool, only if any voxel is beyond."""
        labels = data_dict["segmentation"][0]
        beyond = labels == BEYOND_LABEL
        if beyond.any():
            labels[beyond] = 0
            data_dict[BEYOND_KEY] = beyond
        return data_dict


class ContinueLabels(BasicTransform):
    """Continues labels beyond the scan in the same way as the image, for validation, which uses whole crops.

    Args:
        beyond_scan: how the image is continued.
    """

    def __init__(self, beyond_scan: BeyondScan) -> None:
        super().__init__()
        self.beyond_scan = beyond_scan

    def apply(self, data_dict: dict, **params: object) -> dict:
        """Remove a crop's ``beyond_scan`` mask, and continue its labels there if the image is continued there."""
        beyond = data_dict.pop(BEYOND_KEY, None)
        if beyond is not None and self.beyond_scan.shows_scan:
            data_dict["segmentation"] = continue_labels(data_dict["segmentation"], beyond)
        return data_dict


def continue_in_augmentation(transforms: list[BasicTransform]) -> list[BasicTransform]:
    """nnU-Net's transforms, changed so that the empty corners of a rotated crop are continued and not trained on."""
    changed: list[BasicTransform] = []
    for transform in transforms:
        if isinstance(transform, SpatialTransform):
            transform.padding_mode_image = "border"
            transform.border_mode_seg, transform.padding_value_seg = "constant", BEYOND_LABEL
        if isinstance(transform, RemoveLabelTransform):
            changed.append(SetAsideBeyondScan())
        changed.append(transform)
    return changed
