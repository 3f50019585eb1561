"""Draws blood between skull and brain: epidural and subdural haematomas.

- Epidural: 2 to 120 ml, median 20 (63 % are not operated: Sullivan et al., AJNR 1999;20:107; those from 30 ml on are:
  Bullock et al., Neurosurgery 2006;58(3S):S7); over half of them temporal or temporoparietal (Islam et al. 2011).
- Subdural: bilateral in 15 % (Park et al., Korean J Neurotrauma 2014;10:55); acute ones 4 to 15 mm thick, chronic ones
  about 20 mm. Density by age: hyperdense in the first week in 99 %, of all three kinds in the second and third, iso- or
  hypodense after (Lee et al., J Korean Med Sci 1997;12:353; Scotti et al., J Neurosurg 1977;47:311).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import ndimage

from nnunetv2_cfseg.data.phantom.blood import ANY, BloodAge, Severity, draw_acute, draw_subdural
from nnunetv2_cfseg.data.phantom.geometry import Point, Space, carve, step
from nnunetv2_cfseg.data.phantom.skull import Skull

#: Directions from the middle of the head to where epidural haematomas sit on the left, and how often.
EPIDURAL_SITES = {
    "temporal": ((1.0, -0.05, -0.15), 0.33),
    "temporoparietal": ((1.0, 0.45, 0.3), 0.23),
    "frontal": ((0.62, -1.0, 0.35), 0.24),
    "parietal": ((0.62, 0.5, 0.9), 0.12),
    "occipital": ((0.5, 1.0, 0.0), 0.08),
}


@dataclass(frozen=True)
class ExtraAxial:
    """A haematoma that pushes the brain away.

    Attributes:
        space: the part of the head that it lies in.
        depth: (Z, Y, X) depth in the haematoma, mm.
        push_mm: (Z, Y, X) by how much it moves the brain's surface, mm.
        push_direction: "in" from the skull, or "side" from the falx.
        side: 1 left, -1 right.
        blood: its age and density.
        drawn: its parameters, for the provenance.
    """

    space: Space
    depth: np.ndarray
    push_mm: np.ndarray
    push_direction: str
    side: int
    blood: BloodAge
    drawn: dict[str, Any]


def draw_epidural(skull: Skull, rng: np.random.Generator, severity: Severity = ANY) -> list[ExtraAxial]:
    """Draw one lens under the skull that ends at the sutures."""
    site = str(rng.choice(list(EPIDURAL_SITES), p=[share for _, share in EPIDURAL_SITES.values()]))
    side = int(rng.choice([-1, 1]))
    direction = np.asarray(EPIDURAL_SITES[site][0]) + rng.normal(0, 0.12, 3)
    volume_ml = float(np.clip(severity.lognormal(rng, 20, 0.9), 2, 120))
    # A paraboloid of thickness T and radius R holds pi T R^2 / 2.
    slender = float(rng.uniform(0.38, 0.6))
    radius = float(np.cbrt(2000 * volume_ml / (np.pi * slender)))
    thickness, ratio = slender * radius, float(rng.uniform(0.85, 1.2))
    centre, normal = point_on_table(skull, (side * direction[0], direction[1], direction[2]))
    near = skull.space.around(centre, radius_mm=1.3 * radius + 6)
    a, b, inward = _along_table(near, centre, normal)
    lens = thickness * (1 - (a / (radius * ratio)) ** 2 - (b * ratio / radius) ** 2)
    # Far below the centre the skull base may come close again, but the lens must not appear there.
    lens = np.minimum(lens, thickness + radius**2 / 100 + 3 - inward)
    for distance in skull.sutures.values():
        at_centre = _sample(skull, distance, centre)
        if abs(at_centre) > 4:  # at the suture itself it lifts the dura on both sides
            lens = carve(lens, np.sign(at_centre) * distance[near.part] - 1, 4)
    lens = lens * step(near.x * side - 3, 1.5)
    return [_under_skull(skull, near, lens, side, draw_acute(rng, severity),
                         {"site": site, "planned_volume_ml": volume_ml, "thickness_mm": thickness})]  # fmt: skip


def draw_subdurals(skull: Skull, rng: np.random.Generator, severity: Severity = ANY) -> list[ExtraAxial]:
    """Draw a crescent over one hemisphere, in 15 % over both, or blood along the falx."""
    side = int(rng.choice([-1, 1]))
    if rng.random() < 0.15:
        return [_crescent(skull, side, rng, severity), _crescent(skull, -side, rng, severity)]
    draw = _parafalcine if rng.random() < 0.15 else _crescent
    return [draw(skull, side, rng, severity)]


def _crescent(skull: Skull, side: int, rng: np.random.Generator, severity: Severity = ANY) -> ExtraAxial:
    blood = draw_subdural(rng, severity)
    thickness = severity.uniform(rng, 4, 15) if blood.days < 14 else severity.uniform(rng, 10, 22)
    centre = np.array([side * 60, rng.uniform(-25, 30), rng.uniform(0, 28)])
    length, height = float(rng.uniform(38, 68)), float(rng.uniform(30, 50))
    space = skull.space
    across = ((space.y - centre[1]) / length) ** 2 + ((space.z - centre[2]) / height) ** 2
    uneven = 1 + 0.2 * space.grid.smooth_noise(rng, 45)
    # A sheet of even thickness that tapers at its ends and ignores the sutures.
    crescent = thickness * uneven * np.sqrt(np.maximum(1 - across, 0)) + np.minimum(1 - across, 0) * thickness
    crescent = crescent * step(space.x * side - 12, 4) * step(skull.vault - 0.35, 0.06)
    return _under_skull(skull, space, crescent, side, blood,
                        {"site": "convexity", "thickness_mm": thickness, "length_mm": 2 * length})  # fmt: skip


def _parafalcine(skull: Skull, side: int, rng: np.random.Generator, severity: Severity = ANY) -> ExtraAxial:
    thickness = severity.uniform(rng, 3, 7)
    y, z = float(rng.uniform(-30, 45)), float(rng.uniform(35, 55))
    space = skull.space
    across = ((space.y - y) / rng.uniform(35, 60)) ** 2 + ((space.z - z) / rng.uniform(16, 28)) ** 2
    outside_callosum = np.sqrt(((space.y - 3) / 44) ** 2 + ((space.z - 6) / 26) ** 2) - 1
    sheet = np.minimum(thickness * np.sqrt(np.maximum(1 - across, 0)), outside_callosum * 25)
    beside = side * space.x
    depth = np.minimum(np.minimum(sheet - beside, beside - 0.6), skull.cavity - 0.3)
    depth = np.where(across < 1, depth, -1)
    push = np.maximum(sheet, 0) * (beside > 0)
    drawn = {"class": "SDH", "site": "parafalcine", "thickness_mm": thickness, "side": side}
    return ExtraAxial(space, depth, push, "side", side, draw_acute(rng, severity), drawn)


def _under_skull(
    skull: Skull, near: Space, thickness: np.ndarray, side: int, blood: BloodAge, drawn: dict[str, Any]
) -> ExtraAxial:
    cavity = skull.cavity[near.part]
    depth = np.where(thickness > 0, np.minimum(thickness - cavity, cavity + 0.2), -1)
    push = np.zeros(skull.cavity.shape, np.float32)
    push[near.part] = np.maximum(thickness, 0)
    return ExtraAxial(near, depth, push, "in", side, blood, {**drawn, "side": side})


def displacement(skull: Skull, haematomas: list[ExtraAxial]) -> list[np.ndarray]:
    """By how much haematomas move the brain, mm along the head's x, y, z; this decreases with the distance."""
    moved = [np.zeros(skull.cavity.shape, np.float32) for _ in range(3)]
    inward = np.gradient(skull.cavity, skull.space.grid.step_mm)[::-1]
    for bleed in haematomas:
        if bleed.push_direction == "side":
            moved[0] += bleed.side * bleed.push_mm * np.exp(-np.maximum(bleed.side * skull.space.x, 0) / 25)
            continue
        # Smooth the push, so that it does not end abruptly where the blood ends.
        push = ndimage.gaussian_filter(bleed.push_mm, 6 / skull.space.grid.step_mm)
        fade = np.exp(-np.maximum(skull.cavity, 0) / 45)
        for axis in range(3):
            moved[axis] += np.clip(inward[axis], -1, 1) * push * fade
    return moved


def point_on_table(skull: Skull, direction: Point) -> tuple[Point, np.ndarray]:
    """Where a ray from the middle of the head meets the inner table, and the unit normal into the head there."""
    unit = np.asarray(direction) / np.linalg.norm(direction)
    steps = np.arange(30.0, 115.0, 0.5)
    depths = np.array([_sample(skull, skull.cavity, tuple(unit * t)) for t in steps])
    outside = np.flatnonzero(depths < 0)
    centre = unit * (steps[outside[0]] if len(outside) else steps[-1])
    normal = np.array([
        _sample(skull, skull.cavity, tuple(centre + offset)) - _sample(skull, skull.cavity, tuple(centre - offset))
        for offset in 3 * np.eye(3)
    ])  # fmt: skip
    return (float(centre[0]), float(centre[1]), float(centre[2])), normal / (np.linalg.norm(normal) + 1e-9)


def _sample(skull: Skull, field: np.ndarray, point: Point) -> float:
    grid = skull.space.grid
    where = (skull.space.pose.scanner(point) - np.asarray(grid.origin_mm)) / grid.step_mm
    return float(ndimage.map_coordinates(field, where[::-1, None], order=1, mode="nearest")[0])


def _along_table(space: Space, centre: Point, normal: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Coordinates in mm from a point on the table: forwards and upwards along the table, and into the head."""
    forward = np.cross(normal, (0, 0, 1.0))
    forward /= np.linalg.norm(forward) + 1e-9
    upward = np.cross(forward, normal)
    offset = (space.x - centre[0], space.y - centre[1], space.z - centre[2])
    a = sum(float(forward[i]) * offset[i] for i in range(3))
    b = sum(float(upward[i]) * offset[i] for i in range(3))
    inward = sum(float(normal[i]) * offset[i] for i in range(3))
    return np.asarray(a), np.asarray(b), np.asarray(inward)
