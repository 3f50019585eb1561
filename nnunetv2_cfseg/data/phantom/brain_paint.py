"""Paints a brain tissue by tissue, from the CSF that fills the cavity to the calcifications of old age."""

from __future__ import annotations

import numpy as np

from nnunetv2_cfseg.data.phantom.brain import CORTEX_MM, Brain, deep_grey, posterior_fossa
from nnunetv2_cfseg.data.phantom.geometry import ellipsoid, tube
from nnunetv2_cfseg.data.phantom.scene import Scene
from nnunetv2_cfseg.data.phantom.skull import Skull


def paint_csf(scene: Scene, skull: Skull) -> None:
    """Fill the cavity with CSF."""
    scene.paint("csf", skull.space, skull.cavity)


def paint_tissue(scene: Scene, brain: Brain) -> None:
    """Paint cerebrum, cerebellum and brainstem, without their clefts and ventricles."""
    space = brain.space
    scene.paint("grey", space, brain.cerebrum)
    scene.paint("white", space, brain.pia - CORTEX_MM)
    for near, depth in deep_grey(space):
        scene.paint("deep grey", near, np.minimum(depth, brain.cerebrum[near.part]))
    scene.paint("cerebellum", space, brain.cerebellum)
    scene.paint("white", space, np.minimum(brain.cerebellum - 9, 2 - scene.coarse))
    _paint_folia(scene, brain)
    scene.paint("brainstem", space, brain.brainstem)


def _paint_folia(scene: Scene, brain: Brain) -> None:
    """Paint the fine clefts of the cerebellum, all around its stalk."""
    near = brain.space.around((0, 46, -40), radius_mm=52)
    radius = np.sqrt(near.x**2 * 0.35 + (near.y - 18) ** 2 + (near.z + 38) ** 2)
    radius = radius + 2.5 * scene.coarse[near.part] + 0.4 * scene.fine[near.part]
    wave = np.sin(radius * (2 * np.pi / 6.5)) * (6.5 / (2 * np.pi))
    scene.paint("csf", near, 0.3 - 0.06 * np.abs(brain.cerebellum[near.part] - 1), sheet=wave)


def paint_clefts(scene: Scene, brain: Brain) -> None:
    """Paint CSF in sulci and fissures."""
    for cleft in brain.clefts:
        part = cleft.space.part
        scene.paint("csf", cleft.space, np.minimum(cleft.half_width, brain.cerebrum[part] + 3), sheet=cleft.distance)


def paint_ventricles(scene: Scene, brain: Brain) -> None:
    """Paint CSF in the ventricles."""
    scene.paint("csf", brain.space, brain.ventricles)


def paint_dura(scene: Scene, skull: Skull, brain: Brain) -> None:
    """Paint falx, tentorium and venous sinuses. The dura is stiff and keeps the head's coordinates, not the brain's."""
    space = skull.space
    edge = np.sqrt(((space.y - 10) / 66) ** 2 + ((space.z + 4) / 44) ** 2) - 1
    falx = np.minimum(np.minimum(edge * 30, skull.cavity * 0.5), np.minimum(0.75, brain.tentorium))
    scene.paint("dura", space, falx, sheet=space.x)
    notch = np.sqrt((space.x / 19) ** 2 + ((space.y - 4) / 28) ** 2) - 1
    tent = np.minimum(np.minimum(notch * 12, skull.cavity * 0.5), np.minimum(0.75, posterior_fossa(space) * 0.3))
    scene.paint("dura", space, tent, sheet=brain.tentorium)
    half = space.folded
    sagittal = np.minimum(4.6 - skull.cavity * 0.62 - half.x, np.minimum(skull.cavity + 0.5, skull.vault * 9 - 4))
    sagittal = np.minimum(sagittal, brain.tentorium + 3)
    scene.paint("sinus blood", space, sagittal)
    transverse = np.minimum(4.2 - np.hypot(skull.cavity - 2, brain.tentorium + 0.5), np.minimum(skull.cavity + 0.5,
                                                                                             space.y - 26))  # fmt: skip
    scene.paint("sinus blood", space, transverse)
    straight = space.around((0, 55, -15), radius_mm=40)
    scene.paint("sinus blood", straight, tube(straight, [(0, 27, -5), (0, 78, -24)], [1.6, 2.2]))


def paint_vessels(scene: Scene, brain: Brain) -> None:
    """Paint the circle of Willis and its branches, as far as they are visible without contrast."""
    space = brain.space
    half = space.pair((20, -20, -18), radius_mm=40)
    scene.paint("artery", half, tube(half, [(9, -14, -30), (8, -15, -20), (20, -20, -17), (38, -22, -11)],
                                     [2.3, 1.9, 1.5, 1.2]))  # fmt: skip
    basilar = space.around((0, -12, -38), radius_mm=30)
    scene.paint("artery", basilar, tube(basilar, [(0, -9, -22), (0.8, -13, -34), (0, -8, -48)], [1.7, 1.8, 1.6]))


def paint_calcifications(scene: Scene, brain: Brain, rng: np.random.Generator) -> dict[str, bool]:
    """Calcify the pineal gland in 70 % of cases, choroid plexus in 60 %, falx in 15 %, and return which.

    These frequencies lie between those of Kwak et al. 1988 and of Ghorbanlou et al., Anat Cell Biol 2022;55:63.
    """
    drawn = {name: bool(rng.random() < share) for name, share in (("pineal", 0.7), ("choroid", 0.6), ("falx", 0.15))}
    space = brain.space
    if drawn["pineal"]:
        near = space.around((0, 21, -3), radius_mm=8)
        scene.paint("calcification", near, ellipsoid(near, (0, 21, -3), (2.0, 2.3, 2.0)))
    if drawn["choroid"]:
        near = space.pair((22, 35, 8), radius_mm=10)
        scene.paint("calcification", near, ellipsoid(near, (22, 36, 7), (2.2, 3.2, 2.6)))
    if drawn["falx"]:
        near = space.around((0, -55, 35), radius_mm=15)
        scene.paint("calcification", near, ellipsoid(near, (0, -52, 40), (1.2, 7, 5)))
    return drawn
