"""Warns of thick labels that were written with the origin of their thin scan."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from nnunetv2_cfseg.data.pairing.align import TOLERANCE
from nnunetv2_cfseg.imaging.geometry import VolumeGeometry
from nnunetv2_cfseg.imaging.notices import say


def has_same_origin(labels: VolumeGeometry, scan: VolumeGeometry) -> bool:
    """Whether the first voxels of thicker labels and of a scan, as they are stored, have the same centre."""
    distance_mm = np.abs(np.subtract(labels.origin_mm, scan.origin_mm)).max()
    return labels.spacing_mm[0] > scan.spacing_mm[0] and bool(distance_mm <= TOLERANCE * scan.spacing_mm[0])


def say_same_origins(names: Sequence[str], *, of: int) -> None:
    """Warn of cases whose thick labels have the scan's origin; nothing is said if there are none.

    Args:
        names: of these cases.
        of: number of all cases.
    """
    if names:
        say(
            f"the thick labels of {len(names)} of {of} cases, the first is {names[0]}, have the scan's own origin, "
            f"which is the centre of the first slice; labels that were only written with it lie half a slab off, so "
            f"compare them with the scans in the pictures"
        )
