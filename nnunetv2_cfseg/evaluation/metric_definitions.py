"""The measures of a class in a case: one column each, in the order of the tables."""

from __future__ import annotations

from dataclasses import dataclass
from math import nan


@dataclass(frozen=True)
class Column:
    """A measure.

    Attributes:
        key: its name in tables and ``summary.json``; ends with the unit if it has one.
        title: its name on pages.
        unit: of its values; empty for fractions and counts.
        better: 1 if more is better, -1 if less is better, 0 if neither (a volume).
        perfect: the value of a perfect segmentation; NaN if there is none.
        meaning: its definition in one sentence.
        source: where it is defined.
    """

    key: str
    title: str
    unit: str
    better: int
    perfect: float
    meaning: str
    source: str


COLUMNS = (
    Column("Dice", "Dice", "", 1, 1.0,
        "twice the overlap, divided by the sum of both volumes", "arXiv 2502.05396, Eq. 15; Zou et al. 2004"),
    Column("IoU", "IoU", "", 1, 1.0,
        "the overlap divided by the union", "arXiv 2502.05396, Eq. 13"),
    Column("HD95_mm", "HD95", "mm", -1, 0.0,
        "the larger of the two 95th percentiles, weighted by area, of the distances from one surface to the other",
        "Huttenlocher et al. 1993; Nikolov et al. 2021"),
    Column("ASSD_mm", "surface distance", "mm", -1, 0.0,
        "the mean, weighted by area, of the distances from both surfaces to the other one", "Nikolov et al. 2021"),
    Column("NSD", "surface Dice", "", 1, 1.0,
        "the share of both surfaces that lies within the tolerance of the other one", "Nikolov et al. 2021"),
    Column("volume_ml", "volume", "ml", 0, nan,
        "the predicted volume", "voxels times the volume of one"),
    Column("reference_volume_ml", "true volume", "ml", 0, nan,
        "the reference's volume", "voxels times the volume of one"),
    Column("volume_error_ml", "volume error", "ml", 0, 0.0,
        "the predicted volume less the reference's", "Bland and Altman 1986"),
    Column("absolute_volume_error_ml", "absolute volume error", "ml", -1, 0.0,
        "the volume error without its sign", "Bland and Altman 1986"),
    Column("lesions", "lesions", "", 0, nan,
        "predicted lesions: components that touch by face, edge or corner", "connected-components-3d"),
    Column("reference_lesions", "true lesions", "", 0, nan,
        "the reference's lesions", "connected-components-3d"),
    Column("lesion_precision", "lesion precision", "", 1, 1.0,
        "the share of predicted lesions of which the overlap or more lies in the reference", "Commowick et al. 2018"),
    Column("lesion_recall", "lesion recall", "", 1, 1.0,
        "the share of true lesions of which the overlap or more is predicted", "Commowick et al. 2018"),
    Column("lesion_F1", "lesion F1", "", 1, 1.0,
        "the harmonic mean of lesion precision and recall", "Commowick et al. 2018"),
    Column("boundary_Dice", "boundary-slab Dice", "", 1, 1.0,
        "Dice over the thick voxels of which the reference fills a part: where a copied thick label must err",
        "docs/reference/metrics.md"),
)  # fmt: skip

BY_KEY = {column.key: column for column in COLUMNS}
KEYS = tuple(BY_KEY)
