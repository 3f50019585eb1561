"""Skull, skull base, face and soft tissue of a head.

Coordinates are those of the head: x to the left, y to the back, z to the top, in mm; the origin lies between
the thalami. The inner table is an egg above, and a floor of three fossae below.
Skull thickness: frontal 8.0, parietal 7.0, temporal 4.7, occipital 8.0 mm (CT of 100 adults, see
docs/explanation/phantom-anatomy.md).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from nnunetv2_cfseg.data.phantom.geometry import Space, blend, bump, carve, ellipsoid, step, tube
from nnunetv2_cfseg.data.phantom.scene import Scene

FORAMEN_MAGNUM = (0.0, 30.0)
LENS_RADII = (5.0, 2.2, 5.0)


@dataclass(frozen=True)
class Skull:
    """The parts of the skull that the brain and the lesions need.

    Attributes:
        space: the whole head.
        cavity: (Z, Y, X) depth below the inner table, mm, negative in bone and beyond.
        vault: (Z, Y, X) 1 at the roof of the skull, 0 at its base.
        sutures: signed distance to the coronal, sagittal and lambdoid suture, mm.
    """

    space: Space
    cavity: np.ndarray
    vault: np.ndarray
    sutures: dict[str, np.ndarray]


def build_skull(space: Space) -> Skull:
    """Build the cavity and its sutures; nothing is painted yet."""
    floor = _floor(space)
    # On a steep floor the height above it is larger than the distance to it.
    base = (space.z - floor) / np.sqrt(1 + space.grid.slope(floor) ** 2)
    canal = 14 - np.hypot(space.x, space.y - FORAMEN_MAGNUM[1])
    base = blend(base, canal, 5)
    vault = _vault(space)
    cavity = carve(vault, base, 7)
    is_roof = step(base - vault - 3, 2.5)
    return Skull(space, cavity.astype(np.float32), is_roof.astype(np.float32), suture_distances(space))


def _vault(space: Space) -> np.ndarray:
    """Depth in an egg that is wider behind and flat at the sides."""
    width = 67.5 + 4.5 * np.tanh((space.y - 5) / 40) - 4 * step(-space.z - 25, 10)
    p = np.abs(space.x) / width, np.abs(space.y - 2) / 85, np.abs(space.z - 4) / np.where(space.z > 4, 73, 80)
    radius = (p[0] ** 2.25 + p[1] ** 2.2 + p[2] ** 2.2) ** (1 / 2.2)
    return space.grid.depth(1 - radius)


def _floor(space: Space) -> np.ndarray:
    """Height of the skull base over each point, mm."""
    x, y, side = space.x, space.y, space.folded.x
    ridge_y = -4 + 0.62 * side
    wing_y = -27 + 0.004 * (side - 30) ** 2
    anterior = step(wing_y - y, 1.5)
    posterior = step(y - ridge_y, 1.5)
    middle = 1 - anterior - posterior
    front = -19 + 5 * bump((side - 30, 12), (y + 52, 16)) - 5 * bump((x, 5), (y + 60, 18))
    temporal = -44 + 20 * bump((x, 13)) + 0.004 * (side - 38) ** 2
    behind = -66 + 0.006 * (side - 26) ** 2 + 20 * step(y - 72, 8)
    clivus = (-26 - 1.3 * (y + 4)) * 1.0
    behind = behind + np.maximum(clivus - behind, 0) * bump((x, 11))
    petrous = 26 * bump((y - ridge_y, 6 + 0.05 * side)) * step(side - 13, 2)
    dorsum = 8 * bump((x, 7), (y + 3, 2.5))
    return anterior * front + middle * temporal + posterior * behind + petrous * (1 - 0.4 * anterior) + dorsum


def suture_distances(space: Space) -> dict[str, np.ndarray]:
    """Signed distance in mm to each of the zigzag sutures."""

    def wave(along: np.ndarray, mm: float) -> np.ndarray:
        return 1.6 * np.sin(along * (2 * np.pi / mm)) + 0.8 * np.sin(along * (4.6 * np.pi / mm) + 1)

    coronal = space.y + 20 - 0.22 * (75 - space.z) + wave(space.x, 13)
    lambdoid = space.y - 68 + 0.62 * space.folded.x - 0.25 * (space.z - 30) + wave(space.folded.x, 11)
    sagittal = space.x + wave(space.y, 12)
    return {"coronal": coronal, "sagittal": sagittal, "lambdoid": lambdoid}


def paint_head(scene: Scene, skull: Skull, rng: np.random.Generator) -> dict[str, float]:
    """Paint everything outside the brain, from the head holder to the inner table; returns what was drawn."""
    space = skull.space
    drawn = {
        "scalp_mm": float(rng.uniform(4.5, 8)),
        "skull_mm": float(np.clip(rng.normal(1, 0.1), 0.75, 1.25)),
        "holder": float(rng.random() < 0.8),
    }
    thickness = _thickness(skull, rng) * drawn["skull_mm"]
    outer = skull.cavity + thickness
    if drawn["holder"]:
        _paint_holder(scene, space)
    face = _paint_soft_tissue(scene, skull, outer, drawn["scalp_mm"], rng)
    _paint_bone(scene, skull, thickness, outer)
    _paint_face(scene, space, face, skull.cavity, rng)
    return drawn


def _thickness(skull: Skull, rng: np.random.Generator) -> np.ndarray:
    """Thickness of the skull in mm by region, with a smooth variation of 10 %."""
    space = skull.space
    side, y, z = space.folded.x, space.y, space.z
    roof = 7.0 + 1.2 * bump((y + 80, 25)) + 1.5 * bump((y - 85, 20)) - 2.6 * bump((side - 70, 14), (z + 10, 22))
    roof = roof + 5 * bump((space.x, 4), (y - 86, 12), (z + 18, 10)) + 1.5 * bump((space.x, 5), (y + 83, 10))
    ridge = bump((y + 4 - 0.62 * side, 9)) * step(side - 14, 3) * step(66 - side, 3)
    base = 4.5 + 20 * ridge + 6 * bump((space.x, 12), (y + 5, 22)) + 4 * step(y - 55, 6)
    thickness = skull.vault * roof + (1 - skull.vault) * base
    return np.maximum(thickness * (1 + 0.1 * space.grid.smooth_noise(rng, 40)), 1.5)


def _paint_holder(scene: Scene, space: Space) -> None:
    grid = scene.grid
    y, x = grid.axis_mm("y")[None, :, None], grid.axis_mm("x")[None, None, :]
    ring = np.hypot(x, y + 12) - 118
    where = np.broadcast_to(np.minimum(2.2, (y - 35) / 2), grid.shape)
    scene.paint("holder", space, where, sheet=np.broadcast_to(ring, grid.shape))


def _paint_soft_tissue(
    scene: Scene, skull: Skull, outer: np.ndarray, scalp_mm: float, rng: np.random.Generator
) -> np.ndarray:
    """Paint skin, fat and muscle; returns the depth below the skin."""
    space = skull.space
    face = ellipsoid(space, (0, -52, -62), (60, 50, 62))
    face = blend(face, ellipsoid(space, (0, -104, -52), (13, 14, 22)), 10)
    neck = 56 - np.hypot(space.x, (space.y - 22) / 1.1) + 0.15 * np.minimum(space.z + 70, 0)
    neck = np.minimum(neck, -space.z - 35)
    skin = blend(blend(outer + scalp_mm, face, 12), neck, 15)
    scene.paint("skin", space, skin)
    scene.paint("fat", space, np.minimum(skin - 1.8, np.where(skull.vault > 0.5, outer + scalp_mm - 1.8, 99)))
    galea = skull.space.pair((60, 0, 0), radius_mm=130)
    scene.paint("muscle", galea, np.minimum(skin - 0.55 * scalp_mm, 0.8 + outer * 0.0), sheet=outer + 0.8)
    streaks = scene.coarse * 1.5 + scene.fine * 0.7
    deep = np.minimum(skin - 6, np.minimum(-space.z - 28, 3 + streaks * 2))
    scene.paint("muscle", space, deep)
    temporal = space.pair((66, -18, -15), radius_mm=45)
    scene.paint("muscle", temporal, np.minimum(ellipsoid(temporal, (64, -16, -18), (13, 34, 40)),
                                               skin[temporal.part] - 4))  # fmt: skip
    ear = space.pair((78, 22, -38), radius_mm=40)
    pinna = np.minimum(ellipsoid(ear, (78, 24, -36), (9, 15, 26)), 99)
    scene.paint("cartilage", ear, carve(pinna, np.abs(ear.x - 77 - 0.3 * (ear.y - 20)) * -1 + 2.0, 1))
    return skin


def _paint_bone(scene: Scene, skull: Skull, thickness: np.ndarray, outer: np.ndarray) -> None:
    space, cavity = skull.space, skull.cavity
    shell = np.minimum(outer, 0.3 - cavity)
    scene.paint("table", space, shell)
    table = 1.7
    diploe = np.minimum(outer - table, -cavity - 1.4)
    scene.paint("diploe", space, np.minimum(diploe, (skull.vault - 0.4) * 20))
    base = np.minimum(np.minimum(outer - 1.5, -cavity - 1.5), (0.5 - skull.vault) * 20)
    scene.paint("face bone", space, base)
    ridge = space.pair((35, 18, -38), radius_mm=45)
    dense = tube(ridge, [(20, 6, -34), (50, 26, -38)], [5, 8])
    scene.paint("dense bone", ridge, np.minimum(dense, shell[ridge.part]))
    for name, distance in skull.sutures.items():
        where = np.minimum(np.minimum(shell, 0.45), (skull.vault - 0.6) * 20)
        if name == "sagittal":
            where = np.minimum(where, np.minimum(skull.sutures["coronal"], -skull.sutures["lambdoid"]))
            where = np.minimum(where, space.z - 20)
        scene.paint("suture", space, where, sheet=distance)


def _paint_face(scene: Scene, space: Space, skin: np.ndarray, cavity: np.ndarray, rng: np.random.Generator) -> None:
    _paint_sinuses(scene, space, rng)
    _paint_orbits(scene, space, skin, cavity)
    _paint_ears(scene, space)
    jaw = space.pair((45, -20, -85), radius_mm=60)
    scene.paint("table", jaw, tube(jaw, [(50, -6, -52), (47, -18, -85), (42, -40, -112)], [4, 5, 7]))
    scene.paint("diploe", jaw, tube(jaw, [(50, -6, -52), (47, -18, -85), (42, -40, -112)], [2, 3, 4.5]))
    cheek = space.pair((60, -40, -48), radius_mm=45)
    scene.paint("face bone", cheek, tube(cheek, [(44, -78, -50), (62, -50, -48), (66, -22, -48), (62, -8, -46)],
                                         [5, 2.5, 2, 3]))  # fmt: skip
    atlas = space.around((0, 30, -80), radius_mm=45)
    ring = np.hypot(atlas.x, (atlas.y - 30) / 0.9)
    scene.paint("diploe", atlas, np.minimum(6, 7 - np.abs(atlas.z + 80)), sheet=(ring - 23).astype(np.float32))
    scene.paint("diploe", atlas, tube(atlas, [(0, 12, -72), (0, 12, -110)], [4.5, 8]))


def _paint_sinuses(scene: Scene, space: Space, rng: np.random.Generator) -> None:
    middle = space.around((0, -55, -45), radius_mm=60)
    block = blend(ellipsoid(middle, (0, -26, -38), (20, 18, 15)), ellipsoid(middle, (0, -66, -42), (15, 32, 24)), 6)
    scene.paint("face bone", middle, block)
    scene.paint("cavity", middle, ellipsoid(middle, (0, -27, -39), (15, 12, 10)))
    scene.paint("cavity", middle, ellipsoid(middle, (0, -66, -42), (13.5, 30, 22)))
    scene.paint("cavity", middle, tube(middle, [(0, -45, -60), (0, -12, -72), (0, -8, -112)], [11, 9, 9]))
    # Septa and conchae: thin walls through the air.
    scene.paint("face bone", middle, np.minimum(block - 0.5, 0.8), sheet=middle.x)
    cells = 2.2 * space.grid.smooth_noise(rng, 11)[middle.part]
    scene.paint("face bone", middle, np.minimum(block - 0.5, 0.4) * step(middle.z + 50, 1), sheet=cells)
    concha = space.pair((6, -66, -52), radius_mm=35)
    scene.paint("skin", concha, tube(concha, [(6, -88, -56), (7, -45, -54)], [3, 3.5]))
    scene.paint("skin", concha, tube(concha, [(6, -84, -44), (6, -50, -44)], [2, 2.5]))
    cheek = space.pair((28, -62, -66), radius_mm=30)
    antrum = ellipsoid(cheek, (29, -62, -67), (14, 17, 16))
    scene.paint("face bone", cheek, antrum + 1.6)
    scene.paint("cavity", cheek, antrum)
    size = float(rng.uniform(0.5, 1.25))
    front = space.pair((11, -92, 2), radius_mm=25)
    sinus = ellipsoid(front, (11, -90, -2), (11 * size, 3.5 + 1.5 * size, 12 * size))
    scene.paint("table", front, sinus + 2)
    scene.paint("cavity", front, np.minimum(sinus, front.x - 0.8))


def _paint_orbits(scene: Scene, space: Space, skin: np.ndarray, cavity: np.ndarray) -> None:
    eye = space.pair((32, -66, -30), radius_mm=42)
    cone = tube(eye, [(15, -36, -30), (31, -70, -34), (34, -88, -34)], [5, 16.5, 16])
    front = np.minimum(np.minimum(cone, eye.y + 93), np.minimum(skin[eye.part] - 2, -cavity[eye.part] - 3))
    scene.paint("table", eye, np.minimum(cone + 2.0, np.minimum(eye.y + 84 - 0.35 * (eye.x - 30), 9)))
    scene.paint("orbit", eye, front)
    globe = ellipsoid(eye, (32, -79, -33), (12, 12.3, 12))
    scene.paint("skin", eye, ellipsoid(eye, (33, -90, -33), (17, 5, 11)))
    for points, radius in (
        ([(17, -40, -29), (22, -62, -30), (22, -78, -31)], 2.2),
        ([(18, -40, -29), (43, -62, -31), (43, -78, -31)], 2.0),
        ([(17, -38, -25), (30, -62, -19), (32, -78, -18)], 2.2),
        ([(17, -38, -32), (30, -62, -42), (32, -78, -43)], 2.2),
    ):
        scene.paint("muscle", eye, tube(eye, points, [1.2, radius, 1.2]))
    scene.paint("brainstem", eye, tube(eye, [(12, -34, -27), (24, -58, -30), (31, -68, -33)], [2.2, 2.2, 2.0]))
    scene.paint("sclera", eye, globe)
    scene.paint("vitreous", eye, globe - 1.2)
    scene.paint("lens", eye, ellipsoid(eye, (32, -87.5, -33), LENS_RADII))


def _paint_ears(scene: Scene, space: Space) -> None:
    ear = space.pair((58, 28, -48), radius_mm=35)
    mastoid = blend(ellipsoid(ear, (58, 34, -52), (11, 15, 20)), ellipsoid(ear, (56, 14, -44), (9, 8, 9)), 5)
    scene.paint("table", ear, mastoid)
    scene.paint("face bone", ear, mastoid - 1.5)
    scene.paint("cavity", ear, np.minimum(mastoid - 2.2, 2.2 * (scene.fine[ear.part] - 0.1)))
    canal = tube(ear, [(82, 12, -42), (60, 11, -42), (46, 10, -41)], [4, 3, 4])
    scene.paint("cavity", ear, canal)
    scene.paint("cavity", ear, tube(ear, [(28, 10, -35), (34, 12, -36)], [1.5, 1.5]))
