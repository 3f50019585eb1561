"""Compute all measures of one class in one case."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import hypot, inf, nan, prod

import numpy as np

from nnunetv2_cfseg.evaluation.boundary_slabs import boundary_dice
from nnunetv2_cfseg.evaluation.lesions import match_lesions
from nnunetv2_cfseg.evaluation.overlap import Overlap, count_overlap
from nnunetv2_cfseg.evaluation.surfaces import measure_surfaces

#: Which of truth and prediction hold the class: both, the truth alone, the prediction alone, neither.
PRESENCE = ("both", "missed", "false_alarm", "absent")


@dataclass(frozen=True)
class MetricSettings:
    """What the measures depend on.

    Attributes:
        tolerance_mm: tolerance of the surface Dice.
        lesion_overlap: fraction of a lesion's voxels that the other mask must cover, in (0, 1].
        factor: thin slices in a thick one; None leaves out the boundary-slab Dice.
        slice_axis: the axis of (Z, Y, X) along which slices are stacked.

    Raises:
        ValueError: a value is out of its range.
    """

    tolerance_mm: float = 1.0
    lesion_overlap: float = 0.1
    factor: int | None = None
    slice_axis: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.tolerance_mm < inf:
            raise ValueError(f"a tolerance must be >= 0 mm and finite, got {self.tolerance_mm:g} mm")
        if not 0 < self.lesion_overlap <= 1:
            raise ValueError(f"a lesion overlap must be above 0 and at most 1, got {self.lesion_overlap:g}")
        if self.factor is not None and self.factor < 2:
            raise ValueError(f"a factor must be >= 2 or left out, got {self.factor}")
        if self.slice_axis not in (0, 1, 2):
            raise ValueError(f"a slice axis must be 0, 1 or 2, got {self.slice_axis}")


def measure(
    truth: np.ndarray,
    prediction: np.ndarray,
    spacing_mm: Sequence[float],
    *,
    settings: MetricSettings,
    ignore: np.ndarray | None = None,
) -> dict[str, float | str]:
    """Measure a predicted class.

    The values depend on ``presence``, which says which of the masks hold the class:

    ===========  ==============  ================  ================  =============  =========
    presence     Dice, IoU, NSD  HD95_mm, ASSD_mm  lesion_precision  lesion_recall  lesion_F1
    ===========  ==============  ================  ================  =============  =========
    both         value           value             value             value          value
    missed       0               diagonal          NaN               0              0
    false_alarm  0               diagonal          0                 NaN            0
    absent       NaN             NaN               NaN               NaN            NaN
    ===========  ==============  ================  ================  =============  =========

    "Diagonal" is that of the whole image in mm, a finite penalty: missing a class never improves a mean. Classes
    absent from both masks are excluded from means of quality, as in nnU-Net. Volumes, their errors, lesions and voxels
    are counted in all cases. ``boundary_Dice`` is NaN without a factor, or a boundary thick voxel in the truth.
    Ignored voxels are removed from both masks first; surfaces close along them, and agree if both masks reach them.

    Args:
        truth: (Z, Y, X) bool.
        prediction: (Z, Y, X) bool.
        spacing_mm: z, y, x.
        settings: tolerance, lesion overlap and slabs.
        ignore: (Z, Y, X) bool, voxels to leave out.

    Returns:
        ``presence``, every key of ``metric_definitions.KEYS`` in order, then nnU-Net's TP FP FN TN n_pred n_ref.

    Raises:
        ValueError: masks differ in shape or are not bool with three axes, or a spacing is not positive.
    """
    _check(truth, prediction, ignore=ignore, spacing_mm=spacing_mm)
    overlap = count_overlap(truth, prediction, ignore=ignore)
    diagonal_mm = hypot(*(voxels * step for voxels, step in zip(truth.shape, spacing_mm, strict=True)))
    truth, prediction, ignore = _cropped(truth, prediction, ignore, settings)
    presence = _presence(overlap)
    return {
        "presence": presence,
        "Dice": overlap.dice,
        "IoU": overlap.iou,
        **_surfaces(truth, prediction, spacing_mm, presence=presence, penalty_mm=diagonal_mm, settings=settings),
        **_volumes(overlap, voxel_ml=prod(spacing_mm) / 1000),
        **_lesions(truth, prediction, settings),
        "boundary_Dice": _boundary_dice(truth, prediction, ignore=ignore, settings=settings),
        **_voxel_counts(overlap),
    }


def _check(
    truth: np.ndarray, prediction: np.ndarray, *, ignore: np.ndarray | None, spacing_mm: Sequence[float]
) -> None:
    masks = {"truth": truth, "prediction": prediction} | ({} if ignore is None else {"ignore": ignore})
    for name, mask in masks.items():
        if mask.dtype != bool or mask.ndim != 3:
            raise ValueError(f"masks must be bool with three axes, got {mask.dtype} with {mask.ndim}: {name}")
        if mask.shape != truth.shape:
            raise ValueError(f"masks must have the shape of the truth, {truth.shape}, got {mask.shape}: {name}")
    if len(spacing_mm) != 3 or not all(0 < step < inf for step in spacing_mm):
        raise ValueError(f"a spacing must be three positive lengths in mm, got {tuple(spacing_mm)}")


def _presence(overlap: Overlap) -> str:
    if overlap.reference:
        return "both" if overlap.predicted else "missed"
    return "false_alarm" if overlap.predicted else "absent"


def _cropped(
    truth: np.ndarray, prediction: np.ndarray, ignore: np.ndarray | None, settings: MetricSettings
) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """Both masks without ignored voxels, and the ignored voxels, all cropped to the box of the masks."""
    box = _box(truth, prediction, settings)
    truth, prediction = truth[box], prediction[box]
    if ignore is None:
        return truth, prediction, None
    ignore = ignore[box]
    return truth & ~ignore, prediction & ~ignore, ignore


def _box(truth: np.ndarray, prediction: np.ndarray, settings: MetricSettings) -> tuple[slice, slice, slice]:
    """The smallest box that holds both masks, in whole slabs if there is a factor; empty if both masks are."""
    plane = np.logical_or(truth.any(axis=0), prediction.any(axis=0))
    column = np.logical_or(truth.any(axis=(1, 2)), prediction.any(axis=(1, 2)))
    filled = (column, plane.any(axis=1), plane.any(axis=0))
    box = []
    for axis, line in enumerate(filled):
        filled_voxels = np.flatnonzero(line)
        start, stop = (int(filled_voxels[0]), int(filled_voxels[-1]) + 1) if len(filled_voxels) else (0, 0)
        if settings.factor and axis == settings.slice_axis:
            start -= start % settings.factor
            stop += -stop % settings.factor  # a slice ends with the array
        box.append(slice(start, stop))
    return box[0], box[1], box[2]


def _surfaces(
    truth: np.ndarray,
    prediction: np.ndarray,
    spacing_mm: Sequence[float],
    *,
    presence: str,
    penalty_mm: float,
    settings: MetricSettings,
) -> dict[str, float]:
    if presence == "absent":
        return {"HD95_mm": nan, "ASSD_mm": nan, "NSD": nan}
    if presence != "both":
        return {"HD95_mm": penalty_mm, "ASSD_mm": penalty_mm, "NSD": 0.0}
    surfaces = measure_surfaces(truth, prediction, spacing_mm)
    return {
        "HD95_mm": surfaces.percentile_mm(95),
        "ASSD_mm": surfaces.mean_mm(),
        "NSD": surfaces.share_within(settings.tolerance_mm),
    }


def _volumes(overlap: Overlap, *, voxel_ml: float) -> dict[str, float]:
    predicted, reference = overlap.predicted * voxel_ml, overlap.reference * voxel_ml
    return {
        "volume_ml": predicted,
        "reference_volume_ml": reference,
        "volume_error_ml": predicted - reference,
        "absolute_volume_error_ml": abs(predicted - reference),
    }


def _lesions(truth: np.ndarray, prediction: np.ndarray, settings: MetricSettings) -> dict[str, float]:
    match = match_lesions(truth, prediction, overlap=settings.lesion_overlap)
    return {
        "lesions": match.predicted,
        "reference_lesions": match.reference,
        "lesion_precision": match.precision,
        "lesion_recall": match.recall,
        "lesion_F1": match.f1,
    }


def _voxel_counts(overlap: Overlap) -> dict[str, float]:
    return {
        "TP": overlap.true_positives,
        "FP": overlap.false_positives,
        "FN": overlap.false_negatives,
        "TN": overlap.true_negatives,
        "n_pred": overlap.predicted,
        "n_ref": overlap.reference,
    }


def _boundary_dice(
    truth: np.ndarray, prediction: np.ndarray, *, ignore: np.ndarray | None, settings: MetricSettings
) -> float:
    if settings.factor is None:
        return nan
    return boundary_dice(truth, prediction, factor=settings.factor, slice_axis=settings.slice_axis, ignore=ignore)
