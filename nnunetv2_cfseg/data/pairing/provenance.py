"""Records what was resampled and left out of a case's files, and by how much, ready for JSON."""

from __future__ import annotations

from typing import Any

import numpy as np

from nnunetv2_cfseg.data.pairing.scans import Labels
from nnunetv2_cfseg.data.pairing.thick_labels import Slabs
from nnunetv2_cfseg.imaging.geometry import VolumeGeometry

DIGITS = 6


def left_out(scan: VolumeGeometry, ends: tuple[float, float], labels: Labels, taken: range) -> dict[str, Any]:
    """What was left out of the pair.

    Args:
        scan: grid of the scan.
        ends: first and last edge of the part that was used, in slices of the scan.
        labels: that were read.
        taken: slices of the labels that were used.

    Returns:
        Numbers of slices before, after and between, and of the annotated voxels lost with them.
    """
    foreground = labels.foreground
    return {
        "image_slices": [round(ends[0], 3), round(scan.shape[0] - ends[1], 3)],
        "label_slices": [taken[0], len(foreground) - 1 - taken[-1]],
        "label_slices_between": (taken.step - 1) * (len(taken) - 1),
        "annotated_voxels": int(foreground.sum() - foreground[list(taken)].sum()),
    }


def image_resampling(scan: VolumeGeometry, made: VolumeGeometry, slabs: Slabs) -> list[dict[str, Any]]:
    """How an image was resampled whose slices do not fit into slabs; empty if they do."""
    if slabs.whole is not None:
        return []
    edges = slabs.thin_edges()
    return [
        {
            "what": "image",
            "along": "z",
            "by": "mean over each new slice",
            "from_mm": round(scan.spacing_mm[0], DIGITS),
            "to_mm": round(made.spacing_mm[0], DIGITS),
            "moved_mm": round(float(np.abs(edges - np.rint(edges)).max()) * scan.spacing_mm[0], DIGITS),
        }
    ]


def label_resampling(labels: Labels, scan: VolumeGeometry) -> list[dict[str, Any]]:
    """How labels were resampled whose pixels are not the image's; empty if they are."""
    placement = labels.placement
    steps = []
    for axis, name in ((1, "y"), (2, "x")):
        if not placement.is_same(axis):
            centers = placement.first[axis] + placement.ratio[axis] * placement.nearest(axis)
            moved = float(np.abs(centers - np.arange(scan.shape[axis])).max())
            steps.append(
                {
                    "what": "label",
                    "along": name,
                    "by": "nearest pixel",
                    "from_mm": round(labels.grid.spacing_mm[axis], DIGITS),
                    "to_mm": round(scan.spacing_mm[axis], DIGITS),
                    "moved_mm": round(moved * scan.spacing_mm[axis], DIGITS),
                }
            )
    return steps
