"""Draws blood in and around the brain: intracerebral, intraventricular and subarachnoid haemorrhage.

- Intracerebral: median 15 ml, middle half 5 to 40 (trials with milder cases: 11, 6 to 20, INTERACT2: Anderson et al., N
  Engl J Med 2013;368:2355); 28 % lobar, the rest deep or below the tentorium.
- Intraventricular: median 6 ml, middle half 2 to 18; settles at the back of the ventricles or fills them.
- Subarachnoid: 7 ml of blood in the cisterns with a good outcome, 17 ml with a poor one (Foettinger et al., J Am Heart
  Assoc 2024, doi 10.1161/JAHA.123.032195); thin over the convexity after trauma.
- Oedema: 30 HU on the first day, 27 HU on the fourth (Polymeris et al., Neurocrit Care 2025).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from nnunetv2_cfseg.data.phantom.blood import ANY, BloodAge, Severity, draw_acute
from nnunetv2_cfseg.data.phantom.brain import Brain, Sheet
from nnunetv2_cfseg.data.phantom.geometry import Point, Space, ellipsoid
from nnunetv2_cfseg.data.phantom.skull import Skull

#: Site: centre on the left, spread of it, share, and the largest volume in ml.
INTRACEREBRAL_SITES: dict[str, tuple[Point, Point, float, float]] = {
    "basal ganglia": ((27, -3, 5), (3, 5, 4), 0.40, 90),
    "thalamus": ((14, 11, 6), (2, 3, 2), 0.18, 30),
    "frontal lobe": ((27, -45, 24), (6, 8, 10), 0.10, 90),
    "parietal lobe": ((32, 38, 34), (7, 8, 8), 0.10, 90),
    "temporal lobe": ((46, 2, -22), (5, 9, 4), 0.08, 60),
    "cerebellum": ((20, 50, -42), (5, 5, 4), 0.08, 30),
    "pons": ((2, 2, -36), (2, 1.5, 3), 0.06, 8),
}
MEDIAN_ML, SPREAD = 15.0, 1.1
IVH_MEDIAN_ML, IVH_SPREAD = 6.0, 1.2


@dataclass(frozen=True)
class Haematoma:
    """An intracerebral haemorrhage before the brain around it is built.

    Attributes:
        site: one of ``INTRACEREBRAL_SITES``.
        centre, radii: of its ellipsoid in the head, mm.
        roughness: (Z, Y, X) in mm, added to its depth.
        space: the part of the head that it and its oedema lie in.
        oedema_mm: width of the oedema.
        blood: its age and density.
    """

    site: str
    centre: Point
    radii: Point
    roughness: np.ndarray
    space: Space
    oedema_mm: float
    blood: BloodAge

    @property
    def radius(self) -> float:
        """Radius in mm of the ball with the same volume."""
        return float(np.cbrt(np.prod(self.radii)))

    @property
    def depth(self) -> np.ndarray:
        """(Z, Y, X) depth in the haematoma, mm, before the tissue around it limits it."""
        return ellipsoid(self.space, self.centre, self.radii) + self.roughness

    @property
    def oedema_hu(self) -> float:
        """Density of the oedema: 30 HU at first, falling by 1 HU a day to 20."""
        return max(30.0 - self.blood.days, 20.0)

    def room(self, brain: Brain) -> np.ndarray:
        """Depth in mm in the tissue that the haematoma may replace."""
        tissue = {"cerebellum": brain.cerebellum, "pons": brain.brainstem}.get(self.site, brain.cerebrum)
        return tissue[self.space.part] - 1.0

    @property
    def drawn(self) -> dict[str, Any]:
        """The parameters, for the provenance."""
        return {"site": self.site, "centre_mm": self.centre, "radii_mm": self.radii, "oedema_mm": self.oedema_mm}


def draw_intracerebral(space: Space, rng: np.random.Generator, severity: Severity = ANY) -> list[Haematoma]:
    """Draw one haematoma, sometimes two or three."""
    count = int(rng.choice([1, 2, 3], p=[0.85, 0.11, 0.04]))
    return [_draw_haematoma(space, rng, severity) for _ in range(count)]


def _draw_haematoma(space: Space, rng: np.random.Generator, severity: Severity = ANY) -> Haematoma:
    site = str(rng.choice(list(INTRACEREBRAL_SITES), p=[entry[2] for entry in INTRACEREBRAL_SITES.values()]))
    mean, spread, _, largest_ml = INTRACEREBRAL_SITES[site]
    side = int(rng.choice([-1, 1]))
    offset = rng.normal(0, spread).clip(-1.5 * np.asarray(spread), 1.5 * np.asarray(spread))
    centre = (side * (mean[0] + float(offset[0])), mean[1] + float(offset[1]), mean[2] + float(offset[2]))
    volume_ml = float(np.clip(severity.lognormal(rng, MEDIAN_ML, SPREAD), 0.5, largest_ml))
    shape = np.exp(rng.normal(0, 0.16, 3)) * ((0.85, 1.25, 0.95) if site == "basal ganglia" else (1, 1, 1))
    radii = np.cbrt(3000 * volume_ml / (4 * np.pi)) * shape / np.cbrt(np.prod(shape))
    blood = draw_acute(rng, severity, longest_days=10)
    oedema_mm = float(rng.uniform(1.5, 3) + 1.2 * min(blood.days, 5))
    near = space.around(centre, radius_mm=float(radii.max()) * 1.35 + oedema_mm + 4)
    wavelength = max(10.0, 0.9 * float(radii.min()))
    roughness = 0.13 * float(radii.min()) * space.grid.smooth_noise(rng, wavelength)[near.part]
    radii_mm = (float(radii[0]), float(radii[1]), float(radii[2]))
    return Haematoma(site, centre, radii_mm, roughness, near, oedema_mm, blood)


def displacement(skull: Skull, haematomas: list[Haematoma]) -> list[np.ndarray]:
    """By how much haematomas move the tissue around, mm along the head's x, y, z: half of what preserves its volume."""
    space = skull.space
    moved = [np.zeros(skull.cavity.shape, np.float32) for _ in range(3)]
    room = np.clip(skull.cavity / 20, 0, 1)
    for bleed in haematomas:
        offsets = [axis - c for axis, c in zip((space.x, space.y, space.z), bleed.centre, strict=True)]
        distance = np.sqrt(sum(o * o for o in offsets)) + 1e-3
        push = distance - np.cbrt(np.maximum(distance**3 - bleed.radius**3, 0))
        push = 0.5 * np.minimum(push, bleed.radius) * room / distance
        for axis in range(3):
            moved[axis] += offsets[axis] * push
    return moved


def draw_intraventricular(
    space: Space, brain: Brain, rng: np.random.Generator, severity: Severity = ANY
) -> tuple[np.ndarray, dict[str, Any]]:
    """Draw blood in the ventricles: its depth (Z, Y, X) in mm, and its parameters.

    Settled blood has a level, as the patient lies on the back; a clot fills the ventricles starting from one place.
    """
    settled = bool(rng.random() < 0.6)
    if settled:
        order = np.broadcast_to(space.grid.axis_mm("y")[None, :, None], brain.ventricles.shape)
    else:
        side = int(rng.choice([-1, 1]))
        start = ((side * 8, -15, 12), (side * 20, 30, 10), (0, 0, 0))[rng.integers(3)]
        order = -np.sqrt((space.x - start[0]) ** 2 + (space.y - start[1]) ** 2 + (space.z - start[2]) ** 2)
    volume_ml = float(np.clip(severity.lognormal(rng, IVH_MEDIAN_ML, IVH_SPREAD), 0.8, 60))
    inside = np.sort(order[brain.ventricles > 0])
    points = int(np.clip(1000 * volume_ml / space.grid.step_mm**3, 1, 0.9 * len(inside)))
    level = float(inside[-points])
    depth = np.minimum(brain.ventricles, order - level)
    return depth, {"settled": settled, "planned_volume_ml": volume_ml}


def draw_subarachnoid(
    space: Space, rng: np.random.Generator, severity: Severity = ANY
) -> tuple[np.ndarray, dict[str, Any]]:
    """Draw the region whose subarachnoid space holds blood: the depth (Z, Y, X) in it in mm, and its parameters."""
    cisternal = bool(rng.random() < 0.5)
    balls = _cisternal_balls(rng, severity) if cisternal else _convexity_balls(rng, severity)
    depth = np.full(space.x.shape, -99, np.float32)
    for centre, radius in balls:
        distance = np.sqrt((space.x - centre[0]) ** 2 + (space.y - centre[1]) ** 2 + (space.z - centre[2]) ** 2)
        np.maximum(depth, radius - distance, out=depth)
    depth += 0.15 * np.mean([radius for _, radius in balls]) * space.grid.smooth_noise(rng, 15)
    drawn = {"pattern": "cisternal" if cisternal else "convexity",
             "balls_mm": [[*map(float, centre), float(radius)] for centre, radius in balls]}  # fmt: skip
    return depth, drawn


def _cisternal_balls(rng: np.random.Generator, severity: Severity = ANY) -> list[tuple[Point, float]]:
    """As after a ruptured aneurysm: around the circle of Willis and along the fissures, often more on one side."""
    side = int(rng.choice([-1, 1]))
    balls: list[tuple[Point, float]] = [((0, -12, -22), severity.uniform(rng, 17, 25))]
    for centre, share, radius in (
        ((side * 42, -10, -8), 0.9, severity.uniform(rng, 20, 32)),
        ((-side * 42, -10, -8), 0.5, severity.uniform(rng, 14, 26)),
        ((0, -48, 14), 0.6, severity.uniform(rng, 16, 28)),
        ((side * 16, 12, -18), 0.7, severity.uniform(rng, 12, 18)),
        ((0, -8, -40), 0.5, severity.uniform(rng, 12, 18)),
    ):
        if rng.random() < share:
            balls.append((centre, float(radius)))
    return balls


def _convexity_balls(rng: np.random.Generator, severity: Severity = ANY) -> list[tuple[Point, float]]:
    """As after trauma: over one to three places of the convexity."""
    balls: list[tuple[Point, float]] = []
    for _ in range(int(rng.choice([1, 2, 3], p=[0.4, 0.4, 0.2]))):
        direction = np.array([rng.choice([-1, 1]) * rng.uniform(0.4, 1), rng.uniform(-1, 1), rng.uniform(-0.1, 0.9)])
        direction /= np.linalg.norm(direction)
        centre = direction * (62, 78, 66)
        balls.append(((float(centre[0]), float(centre[1]), float(centre[2])), severity.uniform(rng, 18, 34)))
    return balls


def bloody_clefts(brain: Brain, region: np.ndarray, *, widened_mm: float) -> list[Sheet]:
    """The clefts within a region, widened by the blood in them."""
    clefts = []
    for cleft in brain.clefts:
        part = cleft.space.part
        width = np.minimum(cleft.half_width + widened_mm, 0.5 * region[part])
        # Blood does not extend a cleft beyond its end.
        width = np.where(cleft.half_width > 0, width, np.minimum(width, cleft.half_width))
        clefts.append(Sheet(cleft.space, np.minimum(width, brain.cerebrum[part] + 3), cleft.distance))
    return clefts
