"""A scene: layers of tissue, each painted over the earlier ones."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from nnunetv2_cfseg.data.phantom.geometry import Grid, Space


@dataclass(frozen=True)
class Material:
    """How a tissue looks in a CT.

    Attributes:
        hu: mean.
        fine_hu, coarse_hu: standard deviation of its variation over a few mm and over a few cm.
        label: label of a haemorrhage, 0 for other tissues.
    """

    hu: float
    fine_hu: float = 0.0
    coarse_hu: float = 0.0
    label: int = 0


@dataclass(frozen=True)
class Layer:
    """A tissue wherever ``depth`` is above ``|sheet|``; without a sheet, wherever it is above 0.

    A sheet is a structure that is thinner than the grid's step. It is described by the signed distance to its middle
    surface, which is smooth, unlike the depth inside it.

    Attributes:
        material: its number in the scene.
        depth: (Z, Y, X) on the layer's part of the grid, mm.
        part: slices of the grid.
        sheet: (Z, Y, X) mm, or None.
    """

    material: int
    depth: np.ndarray
    part: tuple[slice, slice, slice]
    sheet: np.ndarray | None = None


@dataclass
class Scene:
    """Everything that a scanner sees. The first material fills the scene before anything is painted: air."""

    grid: Grid
    fine: np.ndarray
    coarse: np.ndarray
    materials: dict[str, Material] = field(default_factory=lambda: {"air": Material(-1000)})
    layers: list[Layer] = field(default_factory=list)

    def add(self, name: str, material: Material) -> None:
        """Add a named material, so that it can be painted."""
        self.materials[name] = material

    def paint(self, name: str, space: Space, depth: np.ndarray, *, sheet: np.ndarray | None = None) -> None:
        """Paint a material wherever ``depth`` (mm, on the space's part of the grid) is above 0, or above ``|sheet|``.

        Only the box around the painted points is kept.
        """
        occupied = [np.flatnonzero((depth > 0).any(axis=axes)) for axes in ((1, 2), (0, 2), (0, 1))]
        if not all(len(indices) for indices in occupied):
            return
        # One point more on each side: the surface lies between the last point inside and the first outside.
        low = [max(0, int(indices[0]) - 1) for indices in occupied]
        high = [min(size, int(indices[-1]) + 2) for indices, size in zip(occupied, depth.shape, strict=True)]
        box = (slice(low[0], high[0]), slice(low[1], high[1]), slice(low[2], high[2]))
        starts = [whole.start for whole in space.part]
        part = (
            slice(starts[0] + low[0], starts[0] + high[0]),
            slice(starts[1] + low[1], starts[1] + high[1]),
            slice(starts[2] + low[2], starts[2] + high[2]),
        )
        number = list(self.materials).index(name)
        kept = np.ascontiguousarray(depth[box], dtype=np.float32)
        kept_sheet = None if sheet is None else np.ascontiguousarray(sheet[box], dtype=np.float32)
        self.layers.append(Layer(number, kept, part, kept_sheet))
