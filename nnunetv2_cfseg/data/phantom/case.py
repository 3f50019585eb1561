"""One phantom scan from a seed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from nnunetv2_cfseg.data.phantom.settings import PhantomSettings


@dataclass(frozen=True)
class PhantomCase:
    """A thin scan and its truth.

    Attributes:
        image: (Z, Y, X) int16, HU.
        labels: (Z, Y, X) uint8: 0, or a value of ``settings.CLASSES``.
        spacing_mm: along z, y, x.
        origin_mm: SimpleITK's, in x, y, z.
        direction: SimpleITK's, nine numbers.
        provenance: every parameter drawn, ready for JSON.
    """

    image: np.ndarray
    labels: np.ndarray
    spacing_mm: tuple[float, float, float]
    origin_mm: tuple[float, float, float]
    direction: tuple[float, ...]
    provenance: dict[str, Any]


def make_case(settings: PhantomSettings, *, seed: int, index: int) -> PhantomCase:
    """Make the scan number ``index`` of the dataset with this seed; the same arguments give the same bytes."""
    raise NotImplementedError
