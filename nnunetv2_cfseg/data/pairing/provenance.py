"""What became of a case's files, ready for JSON: what was resampled and left out, and by how much."""

from __future__ import annotations

from typing import Any

import numpy as np

from nnunetv2_cfseg.data.pairing.scans import Labels
from nnunetv2_cfseg.data.pairing.thick_labels import Slabs
from nnunetv2_cfseg.imaging.geometry import VolumeGeometry

DIGITS = 6


def left_out(scan: VolumeGeometry, ends: tuple[float, float], labels: Labels, taken: range) -> dict[str, Any]:
    """What is not in the pair.

    Args:
        scan: grid of the scan.
        ends: edges of what was taken of it, in its slices.
        labels: that were read.
        taken: slices of the labels.

    Returns:
        Slices before and after, and the annotated voxels that were lost with slices.
    """
    foreground = labels.foreground
    return {
        "image_slices": [round(ends[0], 3), round(scan.shape[0] - ends[1], 3)],
        "label_slices": [taken[0], len(foreground) - 1 - taken[-1]],
        "label_slices_between": (taken.step - 1) * (len(taken) - 1),
        "annotated_voxels": int(foreground.sum() - foreground[list(taken)].sum()),
    }


def image_resampling(scan: VolumeGeometry, made: VolumeGeometry, slabs: Slabs) -> list[dict[str, Any]]:
    """What was done to an image whose slices do not fit into slabs; nothing for one whose slices do."""
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
    """What was done to labels with other pixels than the image's."""
    placement = labels.placement
    done = []
    for axis, name in ((1, "y"), (2, "x")):
        if not placement.is_same(axis):
            centers = placement.first[axis] + placement.ratio[axis] * placement.nearest(axis)
            moved = float(np.abs(centers - np.arange(scan.shape[axis])).max())
            done.append(
                {
                    "what": "label",
                    "along": name,
                    "by": "nearest pixel",
                    "from_mm": round(labels.grid.spacing_mm[axis], DIGITS),
                    "to_mm": round(scan.spacing_mm[axis], DIGITS),
                    "moved_mm": round(moved * scan.spacing_mm[axis], DIGITS),
                }
            )
    return done
