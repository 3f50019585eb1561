"""All haemorrhages of a case: drawn before the brain, which makes room for them, and painted between its tissues."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Any

import numpy as np

from nnunetv2_cfseg.data.phantom import extra_axial, intra_axial
from nnunetv2_cfseg.data.phantom.blood import ANY, BloodAge, Severity, draw_acute
from nnunetv2_cfseg.data.phantom.brain import Brain
from nnunetv2_cfseg.data.phantom.extra_axial import ExtraAxial
from nnunetv2_cfseg.data.phantom.geometry import Space
from nnunetv2_cfseg.data.phantom.intra_axial import Haematoma
from nnunetv2_cfseg.data.phantom.scene import Material, Scene
from nnunetv2_cfseg.data.phantom.settings import CLASSES
from nnunetv2_cfseg.data.phantom.skull import Skull

#: By how much clotted blood widens the clefts that it fills, mm to each side.
CLEFT_WIDENED_MM = (0.6, 1.3)


class Haemorrhages:
    """The haemorrhages of one head. Each class has its own random numbers, so that the others do not change it."""

    def __init__(self, skull: Skull, classes: list[str], rng: np.random.Generator, severity: Severity = ANY) -> None:
        self.skull, self.classes, self.severity = skull, classes, severity
        self.rng = dict(zip(CLASSES, rng.spawn(len(CLASSES)), strict=True))
        self.epidurals = extra_axial.draw_epidural(skull, self.rng["EDH"], severity) if "EDH" in classes else []
        self.subdurals = extra_axial.draw_subdurals(skull, self.rng["SDH"], severity) if "SDH" in classes else []
        self.haematomas: list[Haematoma] = []
        if "ICH" in classes:
            self.haematomas = intra_axial.draw_intracerebral(skull.space, self.rng["ICH"], severity)
        self.drawn: list[dict[str, Any]] = []

    def thickness_mm(self) -> np.ndarray:
        """(Z, Y, X): thickness of the blood between skull and brain."""
        thickness = np.zeros(self.skull.cavity.shape, np.float32)
        for bleed in self._extra_axial():
            if bleed.push_direction == "in":
                np.maximum(thickness, bleed.push_mm, out=thickness)
        return thickness

    def displaced(self, space: Space) -> Space:
        """The original coordinates of the brain tissue at each point, after the haemorrhages have displaced it."""
        if not self._extra_axial() and not self.haematomas:
            return space
        moved = extra_axial.displacement(self.skull, self._extra_axial())
        for total, change in zip(moved, intra_axial.displacement(self.skull, self.haematomas), strict=True):
            total += change
        farthest = float(max(np.abs(axis).max() for axis in moved))
        return replace(
            space, x=space.x - moved[0], y=space.y - moved[1], z=space.z - moved[2],
            margin_mm=space.margin_mm + farthest,
        )  # fmt: skip

    def enter(self, scene: Scene, brain: Brain) -> None:
        """Set the scene to paint and the brain, and draw what depends on the brain."""
        self.scene, self.brain = scene, brain
        if "SAH" in self.classes:
            self.subarachnoid, drawn = intra_axial.draw_subarachnoid(brain.space, self.rng["SAH"], self.severity)
            drawn["widened_mm"] = self.widened_mm = float(self.rng["SAH"].uniform(*CLEFT_WIDENED_MM))
            self._add("SAH", "SAH", draw_acute(self.rng["SAH"], self.severity, longest_days=3), drawn)

    def paint_subarachnoid(self) -> None:
        """Paint blood over the CSF that the brain will leave free."""
        if "SAH" in self.classes:
            self.scene.paint("SAH", self.skull.space, np.minimum(self.subarachnoid, self.skull.cavity - 0.3))

    def paint_clefts(self) -> None:
        """Paint blood in sulci and fissures."""
        if "SAH" in self.classes:
            for cleft in intra_axial.bloody_clefts(self.brain, self.subarachnoid, widened_mm=self.widened_mm):
                self.scene.paint("SAH", cleft.space, cleft.half_width, sheet=cleft.distance)

    def paint_intracerebral(self) -> None:
        """Paint oedema, then blood over it."""
        for number, bleed in enumerate(self.haematomas):
            room, depth = bleed.room(self.brain), bleed.depth
            self.scene.add(f"oedema {number}", Material(bleed.oedema_hu, 1.0, 1.0))
            oedema = np.minimum(depth + bleed.oedema_mm, np.minimum(room, self.brain.pia[bleed.space.part] - 2.0))
            self.scene.paint(f"oedema {number}", bleed.space, oedema)
        for number, bleed in enumerate(self.haematomas):
            self._add("ICH", f"ICH {number}", bleed.blood, bleed.drawn)
            self.scene.paint(f"ICH {number}", bleed.space, np.minimum(bleed.depth, bleed.room(self.brain)))

    def paint_intraventricular(self) -> None:
        """Paint blood over the CSF in the ventricles."""
        if "IVH" in self.classes:
            depth, drawn = intra_axial.draw_intraventricular(
                self.brain.space, self.brain, self.rng["IVH"], self.severity
            )
            self._add("IVH", "IVH", draw_acute(self.rng["IVH"], self.severity), drawn)
            self.scene.paint("IVH", self.brain.space, depth)

    def paint_extra_axial(self) -> None:
        """Paint subdural blood, then epidural blood, which lies outside it."""
        for name, bleeds in (("SDH", self.subdurals), ("EDH", self.epidurals)):
            for number, bleed in enumerate(bleeds):
                self._add(name, f"{name} {number}", bleed.blood, bleed.drawn)
                self.scene.paint(f"{name} {number}", bleed.space, bleed.depth)

    def _extra_axial(self) -> list[ExtraAxial]:
        return [*self.epidurals, *self.subdurals]

    def _add(self, name: str, material: str, blood: BloodAge, drawn: dict[str, Any]) -> None:
        self.scene.add(material, blood.material(CLASSES[name]))
        self.drawn.append({"class": name, **asdict(blood), **drawn})
