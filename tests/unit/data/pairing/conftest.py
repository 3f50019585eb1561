"""Small scans on grids of one's own, written to files."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk

from nnunetv2_cfseg.data.pairing.grids import Grid
from nnunetv2_cfseg.data.pairing.settings import PairSettings
from nnunetv2_cfseg.data.pairing.sources import Source

STRAIGHT = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)
#: A head tilted by a rotation about x, and its first two axes run the other way: NIfTI's usual order.
TILTED = (-1.0, 0.0, 0.0, 0.0, -0.96, 0.28, 0.0, 0.28, 0.96)

Write = Callable[..., Path]


@pytest.fixture(scope="session")
def make_grid() -> Callable[..., Grid]:
    """A grid from its size, with an origin of its own."""

    def make(
        shape: tuple[int, int, int],
        spacing_mm: tuple[float, float, float] = (1.0, 0.7, 0.9),
        *,
        origin_mm: tuple[float, float, float] = (-12.5, 30.0, 101.25),
        direction: tuple[float, ...] = STRAIGHT,
    ) -> Grid:
        return Grid(shape, spacing_mm, origin_mm, direction)

    return make


@pytest.fixture(scope="session")
def write(tmp_path_factory: pytest.TempPathFactory) -> Write:
    """A function that writes values on a grid to a new file, NRRD by default: it keeps all digits."""
    folder, numbers = tmp_path_factory.mktemp("scans"), count()

    def write(values: np.ndarray, grid: Grid, name: str = "", *, ending: str = ".nrrd") -> Path:
        assert values.shape == grid.shape
        file = folder / f"{name}{next(numbers)}{ending}"
        sitk.WriteImage(grid.place(np.ascontiguousarray(values)), str(file))
        return file

    return write


@pytest.fixture(scope="session")
def source(write: Write) -> Callable[..., Source]:
    """A function that writes a case: the thin image, labels and, if there is one, the thick image, each on a grid."""

    def make(image: tuple[np.ndarray, Grid], label: tuple[np.ndarray, Grid], thick: Any = None) -> Source:
        return Source("case", "Tr", write(*image), write(*label), None if thick is None else write(*thick))

    return make


@pytest.fixture(scope="session")
def settings() -> Callable[..., PairSettings]:
    """Settings for three classes; labels are thin unless it is said."""

    def make(factor: int, labels: str = "thin", **others: Any) -> PairSettings:
        return PairSettings(factor, labels, **{"values": (0, 1, 2, 3), **others})

    return make


@pytest.fixture(scope="session")
def tilted() -> tuple[float, ...]:
    """Direction cosines of a tilted head."""
    return TILTED
