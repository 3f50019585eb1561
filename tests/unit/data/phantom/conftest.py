"""Heads, rendered, and what their fields are at the voxels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import pytest
from scipy import ndimage

from nnunetv2_cfseg.data.phantom.geometry import Grid
from nnunetv2_cfseg.data.phantom.head import Head, build_head
from nnunetv2_cfseg.data.phantom.render import Rendered, Voxels, render
from nnunetv2_cfseg.data.phantom.scene import Material

VOXELS = Voxels((80, 96, 96), (2.0, 2.4, 2.4), (2, 2, 2))


@dataclass(frozen=True)
class Sample:
    """A head and a small perfect scan of it."""

    head: Head
    voxels: Voxels
    rendered: Rendered

    @property
    def labels(self) -> np.ndarray:
        return self.rendered.labels

    def at(self, field: np.ndarray) -> np.ndarray:
        """A field of the whole grid, at the voxels' centres."""
        grid: Grid = self.head.scene.grid
        axes = [
            (self.voxels.centres_mm(axis) - grid.origin_mm[2 - axis]) / grid.step_mm for axis in range(3)
        ]  # fmt: skip
        where = np.stack(np.meshgrid(*axes, indexing="ij"))
        return ndimage.map_coordinates(field, where, order=1, mode="nearest")

    def tissue(self) -> tuple[list[str], np.ndarray, np.ndarray]:
        """Names, the number of the tissue at each voxel's centre, and the HU there."""
        scene, voxels = self.head.scene, replace(self.voxels, samples=(1, 1, 1))
        numbered = {name: Material(number) for number, name in enumerate(scene.materials)}
        number = render(replace(scene, materials=numbered), voxels).hu
        return list(numbered), np.rint(number).astype(int), render(scene, voxels).hu

    def lesions(self, name: str) -> list[dict]:
        return [lesion for lesion in self.head.drawn["lesions"] if lesion["class"] == name]


@pytest.fixture(scope="session")
def make_sample() -> Callable[..., Sample]:
    """A function of a seed and classes; a head is built once."""
    made: dict[tuple, Sample] = {}

    def make(seed: int, *classes: str) -> Sample:
        if (seed, *classes) not in made:
            head = build_head(list(classes), np.random.default_rng(seed))
            made[(seed, *classes)] = Sample(head, VOXELS, render(head.scene, VOXELS))
        return made[(seed, *classes)]

    return make
