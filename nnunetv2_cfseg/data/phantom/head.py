"""Builds a head from a random generator: its pose, age and shape, and everything painted in order."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from scipy.spatial.transform import Rotation

from nnunetv2_cfseg.data.phantom import brain_paint
from nnunetv2_cfseg.data.phantom.blood import ANY, Severity
from nnunetv2_cfseg.data.phantom.brain import Brain, BrainShape, build_brain
from nnunetv2_cfseg.data.phantom.geometry import Grid, Pose, Space
from nnunetv2_cfseg.data.phantom.haemorrhages import Haemorrhages
from nnunetv2_cfseg.data.phantom.scene import Scene
from nnunetv2_cfseg.data.phantom.skull import Skull, build_skull, paint_head
from nnunetv2_cfseg.data.phantom.tissues import draw_tissues

#: The grid on which every head is built, whatever voxels the scan has.
GRID = Grid((-118.0, -124.0, -112.0), (106, 124, 119), 2.0)
WARP_MM, WARP_WAVELENGTH_MM = 0.9, 80.0


def place_head(rng: np.random.Generator) -> tuple[Space, dict[str, Any]]:
    """Draw where each point of the grid lies in the head: pose, size, and a smooth warp that makes it uneven."""
    degrees = rng.normal(0, (4, 2.5, 3)).clip(-9, 9)
    size = rng.normal((0.95, 1.0, 0.98), 0.025).clip(0.88, 1.07)
    centre = np.array([0, 0, -10]) + rng.normal(0, 3, 3).clip(-7, 7)
    pose = Pose(tuple(centre), Rotation.from_euler("xyz", degrees, degrees=True).as_matrix(), tuple(size))
    scanner = np.meshgrid(*(GRID.axis_mm(axis) for axis in "zyx"), indexing="ij", sparse=True)
    offsets = [scanner[2] - centre[0], scanner[1] - centre[1], scanner[0] - centre[2]]
    head = [
        (sum(row[i] * offsets[i] for i in range(3)) + WARP_MM * GRID.smooth_noise(rng, WARP_WAVELENGTH_MM)).astype(
            np.float32
        )
        for row in pose.to_head
    ]
    everything = (slice(0, GRID.shape[0]), slice(0, GRID.shape[1]), slice(0, GRID.shape[2]))
    drawn = {"rotation_degrees": degrees.tolist(), "size": size.tolist(), "centre_mm": centre.tolist()}
    return Space(GRID, pose, head[0], head[1], head[2], everything, margin_mm=4 * WARP_MM), drawn


@dataclass(frozen=True)
class Head:
    """A painted head.

    Attributes:
        scene: for the scanner.
        skull, brain: by which its lesions were placed.
        drawn: every parameter, ready for JSON.
    """

    scene: Scene
    skull: Skull
    brain: Brain
    drawn: dict[str, Any]


def build_head(classes: list[str], rng: np.random.Generator, severity: Severity = ANY) -> Head:
    """Draw a head with these classes of haemorrhage, and paint it.

    Each part has its own random numbers, so that no part changes the others.
    """
    parts = ("place", "texture", "tissue", "age", "skull", "brain", "paint", "bleed")
    streams = dict(zip(parts, rng.spawn(len(parts)), strict=True))
    space, pose = place_head(streams["place"])
    scene = Scene(GRID, GRID.smooth_noise(streams["texture"], 5), GRID.smooth_noise(streams["texture"], 25))
    drawn: dict[str, Any] = {"pose": pose, "tissues_hu": draw_tissues(scene, streams["tissue"])}
    drawn["age_years"] = years = float(streams["age"].uniform(25, 90))
    shape = BrainShape.at_age(years, streams["age"])
    drawn["brain"] = asdict(shape)
    skull = build_skull(space)
    bleeds = Haemorrhages(skull, classes, streams["bleed"], severity)
    brain = build_brain(
        skull, bleeds.displaced(space), shape, extra_axial_mm=bleeds.thickness_mm(), rng=streams["brain"]
    )
    drawn["skull"] = paint_head(scene, skull, streams["skull"])
    brain_paint.paint_csf(scene, skull)
    bleeds.enter(scene, brain)
    bleeds.paint_subarachnoid()
    brain_paint.paint_tissue(scene, brain)
    brain_paint.paint_clefts(scene, brain)
    bleeds.paint_clefts()
    bleeds.paint_intracerebral()
    brain_paint.paint_ventricles(scene, brain)
    bleeds.paint_intraventricular()
    brain_paint.paint_dura(scene, skull, brain)
    brain_paint.paint_vessels(scene, brain)
    drawn["calcified"] = brain_paint.paint_calcifications(scene, brain, streams["paint"])
    bleeds.paint_extra_axial()
    drawn["lesions"] = bleeds.drawn
    return Head(scene, skull, brain, drawn)
