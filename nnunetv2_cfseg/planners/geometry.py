"""Sizes from spacings: patch, block and crop of a configuration.

All sizes are voxels along z, y, x of the preprocessed data, whose axes nnU-Net may have reordered.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from nnunetv2_cfseg.networks.patches import Size3


def choose_patch_size(spacing_mm: ArrayLike, patch_voxels: int) -> Size3:
    """Choose w along each axis, so that a patch is as close to a cube in mm as whole voxels allow.

    Args:
        spacing_mm: voxel size along z, y, x.
        patch_voxels: approximate number of voxels in a patch.
    """
    spacing = np.asarray(spacing_mm, dtype=float)
    edge_mm = (patch_voxels * spacing.prod()) ** (1 / 3)
    # If slices are thicker than that edge, a patch has one voxel along z and more along the other axes.
    thick = spacing > edge_mm
    if thick.any() and not thick.all():
        edge_mm = (patch_voxels * spacing[~thick].prod()) ** (1 / (~thick).sum())
    z, y, x = (max(1, round(edge_mm / s)) for s in spacing)
    return z, y, x


def choose_crop(
    spacing_mm: ArrayLike,
    median_shape: ArrayLike,
    *,
    center_size: Size3,
    block_size: Size3,
    max_voxels: int,
) -> Size3:
    """Choose a crop of whole centres, as close to a cube in mm and to ``max_voxels`` as possible.

    It holds at least a block, unless scans are smaller.

    Args:
        median_shape: of the preprocessed scans; a crop much larger than a scan would be mostly padding.
        center_size: voxels of a centre.
        block_size: voxels of a block.
    """
    spacing, center, block = np.asarray(spacing_mm, dtype=float), np.array(center_size), np.array(block_size)
    largest = np.ceil(np.asarray(median_shape) / center) * center
    least = np.minimum(np.ceil(block / center) * center, largest)
    edge_mm = (max_voxels * spacing.prod()) ** (1 / 3)
    for _ in range(3):  # voxels that one axis has no room for go to the others
        capped = edge_mm / spacing > largest
        if capped.any() and not capped.all():
            free = ~capped
            edge_mm = (max_voxels / largest[capped].prod() * spacing[free].prod()) ** (1 / free.sum())
    wanted = np.round(edge_mm / spacing / center) * center
    z, y, x = (int(v) for v in np.maximum(np.minimum(wanted, largest), least))
    return z, y, x
