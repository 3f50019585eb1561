"""Brain, ventricles, cisterns and dura of a head; see ``skull`` for the coordinates.

Sizes: cortex 2.5 mm (Fischl & Dale, PNAS 2000;97:11050); sulci widen by 0.7 mm in ten years (Kochunov et al., Hum Brain
Mapp 2005;26:210); the third ventricle is 3.4 to 3.9 mm wide and Evans' index 0.28 (Polat et al., Int J Morphol).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy import ndimage

from nnunetv2_cfseg.data.phantom.geometry import Space, blend, bump, carve, ellipsoid, step, tube
from nnunetv2_cfseg.data.phantom.skull import Skull

CORTEX_MM = 2.8
SULCI_WAVELENGTH_MM = 21.0
SULCI_RADIUS_MM = 60.0


@dataclass(frozen=True)
class Sheet:
    """A thin cleft filled with CSF: where ``half_width`` is above ``|distance|``, in mm."""

    space: Space
    half_width: np.ndarray
    distance: np.ndarray


@dataclass(frozen=True)
class Brain:
    """Depths (Z, Y, X) in mm over the whole grid, and the clefts between the gyri.

    Attributes:
        space: coordinates in the brain, which lesions may have displaced.
        cerebrum, cerebellum, brainstem: depth below the pia.
        pia: depth below the nearest surface of the cerebrum, including the sulci.
        ventricles: depth in the ventricles.
        tentorium: height above the tentorium.
        clefts: sulci and fissures.
    """

    space: Space
    cerebrum: np.ndarray
    cerebellum: np.ndarray
    brainstem: np.ndarray
    pia: np.ndarray
    ventricles: np.ndarray
    tentorium: np.ndarray
    clefts: list[Sheet]


@dataclass(frozen=True)
class BrainShape:
    """The parameters that differ between brains.

    Attributes:
        gap_mm: subarachnoid space over the convexity.
        sulcus_mm: half the width of a sulcus at the surface.
        ventricle: radius of the lateral ventricles relative to a young brain's.
    """

    gap_mm: float
    sulcus_mm: float
    ventricle: float

    @classmethod
    def at_age(cls, years: float, rng: np.random.Generator) -> BrainShape:
        """Draw a shape for an age; ventricles grow from 14 ml at 20 to 42 ml at 80 years, 1.4 times the radius."""
        atrophy = (years - 20) / 60
        return cls(
            gap_mm=float(0.8 + 1.2 * atrophy * rng.uniform(0.5, 1.5)),
            sulcus_mm=float(0.45 + 0.75 * atrophy * rng.uniform(0.6, 1.4)),
            ventricle=float((1 + 0.42 * atrophy) * np.clip(rng.normal(1, 0.12), 0.75, 1.3)),
        )


def build_brain(
    skull: Skull, space: Space, shape: BrainShape, *, extra_axial_mm: np.ndarray, rng: np.random.Generator
) -> Brain:
    """Build the brain that fills the cavity.

    Args:
        space: coordinates in the brain: the head's minus the displacement by lesions.
        extra_axial_mm: (Z, Y, X) thickness of the blood between skull and brain.
    """
    # The subarachnoid space under the blood is closed.
    roof = skull.cavity - shape.gap_mm * np.exp(-extra_axial_mm / 2) - extra_axial_mm
    tentorium = _tentorium(space)
    cerebrum = _cerebrum(space, roof, tentorium)
    brainstem = _brainstem(space)
    cerebellum = _cerebellum(space, roof, tentorium)
    sulci, deepest = _sulci(space, roof, cerebrum, shape, rng)
    clefts = [sulci, *_sylvian(space, shape)]
    pia = _pia(cerebrum, clefts, deepest)
    # Beyond the cerebrum, clefts end where there is no CSF.
    free = np.minimum(skull.cavity, -brainstem)
    clefts = [replace(cleft, half_width=np.minimum(cleft.half_width, free[cleft.space.part])) for cleft in clefts]
    ventricles = _ventricles(space, shape.ventricle)
    return Brain(space, cerebrum, cerebellum, brainstem, pia, ventricles, tentorium, clefts)


def _tentorium(space: Space) -> np.ndarray:
    """Height in mm above a tent that slopes down to the sides and to the back."""
    height = -5 - 0.34 * space.folded.x - 0.36 * np.maximum(space.y - 24, 0) - 0.1 * np.minimum(space.y - 24, 0)
    return ((space.z - height) / 1.12).astype(np.float32)


def posterior_fossa(space: Space) -> np.ndarray:
    """Signed distance in mm to the ridges of the petrous bones, positive behind them."""
    return (space.y + 4 - 0.62 * space.folded.x) / 1.18


def _cerebrum(space: Space, roof: np.ndarray, tentorium: np.ndarray) -> np.ndarray:
    y, z, side = space.y, space.z, space.folded.x
    callosum = 1 - np.sqrt(((y - 3) / 40) ** 2 + ((z - 6) / 21) ** 2)
    halves = np.where(callosum > 0, np.maximum(side - 1, callosum * 25), side - 1.0)
    depth = carve(roof, np.maximum(tentorium - 1, -posterior_fossa(space)), 2)
    # Midbrain and cisterns, and the suprasellar star, lie between the temporal lobes.
    core = ellipsoid(space, (0, 5, -26), (17, 15, 15))
    core = np.maximum(core, _suprasellar_star(space))
    core = np.maximum(core, np.minimum(12 - side, np.minimum(-15 - z, y + 14)))
    depth = np.minimum(depth, -core)
    quadrigeminal = ellipsoid(space, (0, 25, -3), (9, 4.5, 7))
    depth = np.minimum(depth, -quadrigeminal)
    return np.minimum(depth, halves).astype(np.float32)


def _suprasellar_star(space: Space) -> np.ndarray:
    angle = np.arctan2(space.x, -(space.y + 13))
    radius = 10.5 + 4.0 * np.cos(5 * angle)
    star = radius - np.hypot(space.x, space.y + 13)
    return np.minimum(star, 8 - np.abs(space.z + 22)) * 0.8


def _brainstem(space: Space) -> np.ndarray:
    near = space.around((0, 0, 0), (0, 30, -110), radius_mm=30)
    depth = tube(near, [(0, 6, -6), (0, 5, -22)], [11, 12.5])
    depth = blend(depth, tube(near, [(0, 3, -32), (0, 4, -42)], [14.5, 14]), 5)
    depth = blend(depth, tube(near, [(0, 10, -52), (0, 24, -68), (0, 31, -82), (0, 32, -125)], [9, 7, 6, 6]), 6)
    whole = np.full(space.x.shape, -99, np.float32)
    whole[near.part] = depth
    return whole


def _cerebellum(space: Space, roof: np.ndarray, tentorium: np.ndarray) -> np.ndarray:
    half = ellipsoid(space.folded, (20, 43, -38), (40, 37, 28))
    worm = ellipsoid(space, (0, 46, -32), (14, 34, 26))
    depth = blend(half, worm, 6)
    arms = space.pair((12, 16, -39), radius_mm=24)
    depth[arms.part] = blend(depth[arms.part], tube(arms, [(6, 8, -38), (18, 24, -40)], [7, 9]), 4)
    depth = np.minimum(np.minimum(depth, roof - 1.0), np.minimum(-tentorium - 1.8, posterior_fossa(space) - 1))
    return depth.astype(np.float32)


def _sulci(
    space: Space, roof: np.ndarray, cerebrum: np.ndarray, shape: BrainShape, rng: np.random.Generator
) -> tuple[Sheet, np.ndarray]:
    """Clefts that run down from the surface, and how deep they reach in mm.

    They lie where noise on a sphere, in the direction of each point, is zero, so that their walls are upright.
    """
    step_mm = 2.0
    size = int(2 * (SULCI_RADIUS_MM + 12) / step_mm)
    noise_grid = replace(space.grid, origin_mm=(0.0, 0.0, 0.0), shape=(size, size, size), step_mm=step_mm)
    noise = noise_grid.smooth_noise(rng, SULCI_WAVELENGTH_MM)
    near = (cerebrum > -4) & (cerebrum < 30)
    x, y, z = (axis[near] for axis in (space.x, space.y - 2, space.z + 2))
    p = np.stack([z / 73, y / 85, x / 67])
    radius = np.sqrt((p**2).sum(axis=0)) + 1e-6
    # A small part of the true radius makes the walls lean.
    p += 0.05 * space.grid.smooth_noise(rng, 22)[near]
    on_sphere = p / radius * SULCI_RADIUS_MM * (0.75 + 0.25 * radius)
    values = np.full(space.x.shape, 1.0, np.float32)
    values[near] = ndimage.map_coordinates(noise, on_sphere / step_mm + (size - 1) / 2, order=1, mode="nearest")
    distance = space.grid.depth(values, smallest_slope=0.02)
    deepest = 13 + 4.5 * space.grid.smooth_noise(rng, 30)
    half_width = shape.sulcus_mm * np.minimum(1.15 - cerebrum / np.maximum(deepest, 4), 1.3 - roof / 36)
    half_width = np.minimum(half_width, shape.sulcus_mm)
    half_width = np.where(near, half_width, -1) * np.where(cerebrum > -4, 1, -1)
    return Sheet(space, half_width.astype(np.float32), distance.astype(np.float32)), deepest


def _sylvian(space: Space, shape: BrainShape) -> list[Sheet]:
    """The lateral fissure and, at its bottom, the cistern over the insula."""
    near = space.pair((50, -5, -5), radius_mm=45)
    side, y, z = near.x, near.y, near.z
    height = -16 + 0.55 * (y + 30) - 0.004 * (y + 30) ** 2 + 1.5 * np.sin(side / 5)
    width = 0.55 + 0.75 * shape.sulcus_mm
    ends = np.minimum(y + 34, 26 - y)
    lateral = np.minimum(width, np.minimum(side - 38, ends) / 6)
    insular = np.minimum(width, np.minimum(12 - np.abs(z - height), ends) / 6)
    bow = side - 39.5 + 0.004 * (y + 4) ** 2
    return [Sheet(near, lateral, (z - height) / 1.08), Sheet(near, insular, bow)]


def _pia(cerebrum: np.ndarray, clefts: list[Sheet], deepest: np.ndarray) -> np.ndarray:
    """Depth below the nearest surface, including the clefts."""
    sulci = clefts[0]
    wall = np.maximum(np.abs(sulci.distance) - np.maximum(sulci.half_width, 0), 0)
    pia = np.minimum(cerebrum, np.hypot(wall, np.maximum(cerebrum - deepest, 0)))
    for cleft in clefts[1:]:
        part = cleft.space.part
        beyond = np.maximum(-cleft.half_width * 3, 0)
        wall = np.maximum(np.abs(cleft.distance) - np.maximum(cleft.half_width, 0), 0)
        pia[part] = np.minimum(pia[part], np.hypot(wall, beyond))
    return pia.astype(np.float32)


def _ventricles(space: Space, scale: float) -> np.ndarray:
    near = space.pair((19, -38, 0), (22, 62, 0), (14, 10, -50), (14, 10, 24), radius_mm=16)
    whole = np.full(space.x.shape, -99, np.float32)
    whole[near.part] = _ventricles_near(near, scale)
    return whole


def _ventricles_near(half: Space, r: float) -> np.ndarray:
    """Depth in the ventricles in the space folded to one side; ``r`` scales the lateral ventricles."""
    horn = tube(half, [(11 + 2 * r, -36, 6), (7, -24, 11), (6.5, -12, 13), (9, 6, 18), (14, 20, 17), (21, 33, 9)],
                [2.2 * r, 4.4 * r, 4.6 * r, 4.8 * r, 5.2 * r, 6.6 * r])  # fmt: skip
    depth = blend(horn, tube(half, [(21, 33, 9), (21, 46, 4), (19, 60, 2)], [6.0 * r, 4.0 * r, 1.6 * r]), 3)
    depth = blend(depth, tube(half, [(22, 33, 6), (30, 22, -10), (32, 6, -20), (28, -10, -24)],
                              [5 * r, 2.4 * r, 1.8 * r, 2.0 * r]), 2)  # fmt: skip
    # The septum separates the lateral ventricles.
    depth = np.minimum(depth, half.x - 0.9)
    third = np.minimum(1.1 + 0.9 * r - half.x, ellipsoid(half, (0, 2, -1), (30, 15, 11)))
    foramen = tube(half, [(5, -11, 11), (0, -9, 6)], [1.6, 1.6])
    aqueduct = tube(half, [(0, 15, -6), (0, 18, -22), (0, 22, -32)], [1.1, 1.1, 2])
    fourth = carve(ellipsoid(half, (0, 25, -40), (8 * r, 5.5 * r, 12)), 4 - 0.55 * (half.x - 4 * r), 2)
    return np.maximum.reduce([depth, third, foramen, aqueduct, fourth])


def deep_grey(space: Space) -> list[tuple[Space, np.ndarray]]:
    """Depth in caudate, lentiform nucleus and thalamus, each with its part of the space."""
    near = space.pair((18, 0, 8), radius_mm=36)
    caudate = tube(near, [(14, -24, 8), (15, -12, 13), (18, 6, 21), (25, 20, 18)], [6.5, 5.5, 3.2, 2])
    turned = replace(near, x=near.x + 0.28 * (near.y + 4))
    lentiform = carve(ellipsoid(turned, (27, -4, 3), (8, 18, 12)), near.x - 14, 4)
    thalamus = ellipsoid(near, (11, 10, 5), (9.5, 15, 9.5))
    return [(near, shape) for shape in (caudate, lentiform, thalamus)]


def convexity(space: Space) -> np.ndarray:
    """1 over the upper surface of the brain, 0 at its base."""
    return step(space.z + 8 + 20 * bump((space.y - 70, 30)), 4)
