"""Small scans on grids of one's own, written to files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nnunetv2_cfseg.data.pairing.settings import PairSettings
from nnunetv2_cfseg.data.pairing.sources import Source
from nnunetv2_cfseg.imaging.geometry import VolumeGeometry

Write = Callable[..., Path]


@pytest.fixture(scope="session")
def source(write: Write) -> Callable[..., Source]:
    """A function that writes a case: the thin image, labels and, if there is one, the thick image, each on a grid."""

    def make(
        image: tuple[np.ndarray, VolumeGeometry], label: tuple[np.ndarray, VolumeGeometry], thick: Any = None
    ) -> Source:
        return Source("case", "Tr", write(*image), write(*label), None if thick is None else write(*thick))

    return make


@pytest.fixture(scope="session")
def settings() -> Callable[..., PairSettings]:
    """Settings for three classes; labels are thin unless it is said."""

    def make(factor: int, labels: str = "thin", **others: Any) -> PairSettings:
        return PairSettings(factor, labels, **{"values": (0, 1, 2, 3), **others})

    return make
