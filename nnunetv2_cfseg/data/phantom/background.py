"""Puts lesions into a real head CT; its skull, brain and ventricles are found well enough to place blood by them.

The scan's tissue is not displaced, and its noise stays where it was.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from scipy import ndimage

from nnunetv2_cfseg.data.phantom.blood import ANY, Severity
from nnunetv2_cfseg.data.phantom.brain import Brain, BrainShape, Sheet, build_brain
from nnunetv2_cfseg.data.phantom.geometry import Grid, Pose, Space, step
from nnunetv2_cfseg.data.phantom.haemorrhages import Haemorrhages
from nnunetv2_cfseg.data.phantom.render import Voxels, render
from nnunetv2_cfseg.data.phantom.scene import Material, Scene
from nnunetv2_cfseg.data.phantom.skull import Skull, suture_distances
from nnunetv2_cfseg.imaging.geometry import VolumeGeometry
from nnunetv2_cfseg.imaging.hounsfield import check_hounsfield
from nnunetv2_cfseg.imaging.orientation import LPS, turn
from nnunetv2_cfseg.imaging.read import read_scan

STEP_MM = 2.0
BONE_HU = 120.0
CSF_HU = 17.0
#: HU per mm over which CSF changes to brain.
FLUID_SLOPE = 6.0
#: Passages out of the skull are closed up to twice this width.
PASSAGE_MM = 6.0
#: Noise is the difference between a voxel and the mean around it, up to this many HU.
NOISE_HU = 25.0
#: Size of the phantom's own cavity in mm along x, y, z; heads are scaled to it.
CAVITY_MM = (138.0, 170.0, 142.0)
CAVITY_ML = (700.0, 2200.0)


@dataclass(frozen=True)
class Background:
    """A head CT, its axes turned to the patient's left, back and head.

    Attributes:
        image: (Z, Y, X) float32 HU.
        spacing_mm: along z, y, x.
        reference: where the voxels of the file lie, whose grid everything is written on.
        skull, brain: as found in the image.
    """

    image: np.ndarray
    spacing_mm: tuple[float, float, float]
    reference: VolumeGeometry
    skull: Skull
    brain: Brain

    def to_reference(self, volume: np.ndarray) -> np.ndarray:
        """Turn a (Z, Y, X) volume back to the axes of the file."""
        return np.ascontiguousarray(turn(self.reference.order, to=LPS).undo(volume))


def read_background(file: Path) -> Background:
    """Read a head CT and find its cavity and ventricles.

    Raises:
        ValueError: the file cannot be read, is not in HU, or holds no closed skull or no ventricles.
    """
    scan = read_scan(file)
    turned = scan.turned(LPS)
    image, spacing_mm = np.ascontiguousarray(turned.values, np.float32), turned.geometry.spacing_mm
    check_hounsfield(image, file)
    grid, coarse = _coarse(image, spacing_mm)
    cavity = _cavity(coarse)
    volume_ml = float((cavity > 0).sum()) * STEP_MM**3 / 1000
    if not CAVITY_ML[0] <= volume_ml <= CAVITY_ML[1]:
        raise ValueError(
            f"a background must show a whole closed skull, of {CAVITY_ML[0]:.0f} to {CAVITY_ML[1]:.0f} ml inside, and "
            f"{volume_ml:.0f} ml were found: {file}"
        )
    space = _space(grid, cavity)
    skull = Skull(space, cavity, step(space.z + 14, 2).astype(np.float32), suture_distances(space))
    brain = _brain(skull, coarse)
    if not (brain.ventricles > 0).any():
        raise ValueError(f"a background must show the ventricles, and none were found: {file}")
    return Background(image, spacing_mm, scan.geometry, skull, brain)


def bleed_into(
    background: Background, classes: list[str], *, samples: int, rng: np.random.Generator, severity: Severity = ANY
) -> tuple[np.ndarray, np.ndarray, list[dict[str, Any]]]:
    """Image (Z, Y, X) float32 HU and labels uint8 on the turned axes, and what was drawn."""
    streams = rng.spawn(3)
    grid = background.skull.space.grid
    scene = Scene(grid, grid.smooth_noise(streams[0], 5), grid.smooth_noise(streams[0], 25), {"none": Material(0)})
    bleeds = Haemorrhages(background.skull, classes, streams[1], severity)
    bleeds.enter(scene, background.brain)
    bleeds.paint_clefts()
    bleeds.paint_intracerebral()
    bleeds.paint_intraventricular()
    bleeds.paint_extra_axial()
    shape = background.image.shape
    voxels = Voxels((shape[0], shape[1], shape[2]), background.spacing_mm, (samples, samples, samples))
    painted = render(scene, voxels)
    # The blood keeps the scan's own noise; at the skull, the difference from the mean is not noise, so it is clipped.
    sigma = [2.0 / mm for mm in background.spacing_mm]
    noise = np.clip(background.image - ndimage.gaussian_filter(background.image, sigma), -NOISE_HU, NOISE_HU)
    image = background.image * painted.empty + painted.hu + noise * (1 - painted.empty)
    return image, painted.labels, bleeds.drawn


def _coarse(image: np.ndarray, spacing_mm: tuple[float, float, float]) -> tuple[Grid, np.ndarray]:
    """The image on the phantom's kind of grid, centred on the volume."""
    extent = [n * mm for n, mm in zip(image.shape, spacing_mm, strict=True)]
    shape = tuple(int(mm // STEP_MM) for mm in extent)
    low = [-(n - 1) / 2 * STEP_MM for n in shape]
    smooth = ndimage.gaussian_filter(image, [0.5 * STEP_MM / mm for mm in spacing_mm])
    where = [
        (start + STEP_MM * np.arange(n)) / mm + (size - 1) / 2
        for start, n, mm, size in zip(low, shape, spacing_mm, image.shape, strict=True)
    ]
    coarse = smooth
    for axis, position in enumerate(where):
        below = np.clip(np.floor(position).astype(int), 0, image.shape[axis] - 2)
        weight = (position - below).reshape([-1 if a == axis else 1 for a in range(3)])
        coarse = np.take(coarse, below, axis) * (1 - weight) + np.take(coarse, below + 1, axis) * weight
    return Grid((low[2], low[1], low[0]), (shape[0], shape[1], shape[2]), STEP_MM), coarse.astype(np.float32)


def _cavity(coarse: np.ndarray) -> np.ndarray:
    """Depth in the cavity, mm: the largest piece of soft tissue after closing all passages narrower than 12 mm."""
    tissue = (coarse > -15) & (coarse < BONE_HU)
    core = _edt(tissue) > PASSAGE_MM
    pieces, count = ndimage.label(core)
    if count == 0:
        return np.full(coarse.shape, -1, np.float32)
    largest = pieces == 1 + np.argmax(np.bincount(pieces.ravel())[1:])
    inside = ndimage.binary_fill_holes((_edt(~largest) <= PASSAGE_MM + STEP_MM) & (coarse < BONE_HU))
    depth = _edt(inside) - _edt(~inside)
    return ndimage.gaussian_filter(depth, 0.7).astype(np.float32)


def _edt(mask: np.ndarray) -> np.ndarray:
    return ndimage.distance_transform_edt(mask, sampling=STEP_MM)


def _space(grid: Grid, cavity: np.ndarray) -> Space:
    """Lay the phantom's head over the cavity: same middle, same extent along each axis."""
    points = np.argwhere(cavity > 0)
    # The spinal canal does not count for the head's height, so it is measured down from the top.
    top = np.percentile(points[:, 0], 99.8)
    low, high = np.percentile(points[points[:, 0] > top - 0.5 * CAVITY_MM[2] / STEP_MM], [0.2, 99.8], axis=0)
    width, length = (float(high[axis] - low[axis]) * STEP_MM / CAVITY_MM[2 - axis] for axis in (2, 1))
    size = (width, length, (width + length) / 2)
    centre = (
        float(grid.origin_mm[0] + STEP_MM * (low[2] + high[2]) / 2),
        float(grid.origin_mm[1] + STEP_MM * (low[1] + high[1]) / 2 - 2 * length),
        float(grid.origin_mm[2] + STEP_MM * top - 77 * size[2]),
    )
    z, y, x = np.meshgrid(*(grid.axis_mm(axis) for axis in "zyx"), indexing="ij", sparse=True)
    head = [
        np.ascontiguousarray(np.broadcast_to((axis - c) / s, grid.shape), dtype=np.float32)
        for axis, c, s in zip((x, y, z), centre, size, strict=True)
    ]
    everything = (slice(0, grid.shape[0]), slice(0, grid.shape[1]), slice(0, grid.shape[2]))
    return Space(grid, Pose(centre, np.eye(3), size), head[0], head[1], head[2], everything, margin_mm=5.0)


def _brain(skull: Skull, coarse: np.ndarray) -> Brain:
    """The phantom's brain in this cavity, but with the scan's own ventricles and subarachnoid space."""
    none = np.zeros(skull.cavity.shape, np.float32)
    shape = BrainShape(gap_mm=1.0, sulcus_mm=0.6, ventricle=1.5)
    brain = build_brain(skull, skull.space, shape, extra_axial_mm=none, rng=np.random.default_rng(0))
    fluid = (CSF_HU - ndimage.gaussian_filter(coarse, 0.6)) / FLUID_SLOPE
    ventricles = np.minimum(fluid, brain.ventricles + 6)
    outer = np.minimum(np.minimum(fluid, skull.cavity + 0.5), -(brain.ventricles + 7))
    outer = np.where(skull.cavity < 30, outer, -1)
    nothing = Sheet(skull.space, outer.astype(np.float32), none)
    return replace(brain, ventricles=ventricles.astype(np.float32), clefts=[nothing])
