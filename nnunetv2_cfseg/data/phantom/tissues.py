"""CT numbers of the tissues of a head: the ranges that cases are drawn from.

Sources, by the key in the table's comments; ranges without a source are those of textbooks.

- Cala: Cala et al., AJNR 1981;2:41: white matter 30 (sd 3), deep grey 33 (sd 3) on an early scanner.
- Brooks: Brooks et al., J Comput Assist Tomogr 1980;4:489: grey minus white 5.5 HU.
- Oh: Oh et al., Am J Emerg Med 2019;37:680: scanners differ by 1 to 10 HU on grey and on white matter.
- Buyck: Buyck et al., AJNR 2013;34:1568: venous sinus 53 (sd 7); HU over haematocrit 1.33 (sd 0.12).
- Polymeris: Polymeris et al., Neurocrit Care 2025 (i-DEF): oedema round a haematoma 30 on the first day, 27 on the
  fourth.
"""

from __future__ import annotations

import numpy as np

from nnunetv2_cfseg.data.phantom.scene import Material, Scene

#: Range of the mean HU (from, to); then the standard deviations of the variation over mm and over cm.
TISSUES: dict[str, tuple[float, float, float, float]] = {
    "skin": (30, 60, 5, 5),
    "fat": (-110, -85, 8, 8),
    "muscle": (48, 62, 8, 5),
    "table": (1100, 1450, 120, 150),
    "diploe": (350, 650, 170, 150),
    "face bone": (700, 1000, 150, 100),
    "dense bone": (1200, 1500, 150, 100),
    "suture": (150, 350, 60, 0),
    "cavity": (-1000, -1000, 0, 0),
    "csf": (4, 10, 0, 0.5),
    "grey": (36, 40, 1.0, 0.7),  # Brooks, Oh
    "white": (28.5, 31.5, 0.7, 0.7),  # Cala, Brooks
    "deep grey": (35, 38, 0.7, 0.7),  # Cala
    "cerebellum": (33, 36, 1.5, 0.7),
    "brainstem": (30, 33, 1.0, 0.7),
    "dura": (45, 60, 3, 2),
    "sinus blood": (46, 60, 1, 1),  # Buyck
    "artery": (42, 52, 1, 1),  # Buyck
    "calcification": (120, 350, 40, 0),
    "vitreous": (5, 14, 0, 0),
    "lens": (60, 90, 3, 0),
    "sclera": (40, 55, 3, 0),
    "orbit": (-100, -80, 12, 5),
    "cartilage": (60, 110, 10, 5),
    "holder": (-150, 50, 0, 0),
}


def draw_tissues(scene: Scene, rng: np.random.Generator) -> dict[str, float]:
    """Add every tissue to the scene, with a mean drawn uniformly from its range; returns the means in HU."""
    means = {}
    for name, (low, high, fine_hu, coarse_hu) in TISSUES.items():
        means[name] = float(rng.uniform(low, high))
        scene.add(name, Material(means[name], fine_hu, coarse_hu))
    return means
