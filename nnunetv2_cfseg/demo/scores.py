"""Dice and IoU out of nnU-Net's ``summary.json``."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import isnan, nan
from pathlib import Path

from nnunetv2_cfseg.demo.settings import CLASSES


@dataclass(frozen=True)
class ClassScore:
    """One class over all unseen scans; NaN where there is no scan to take a mean of.

    Attributes:
        name: of the class.
        label: its value in segmentations.
        shown: scans whose truth shows it.
        false_alarms: scans whose truth does not show it and whose prediction does.
        dice_shown: mean Dice over the scans that show it.
        iou_shown: mean IoU over them.
        dice: nnU-Net's mean, over the scans that show it or whose prediction does; a false alarm counts as 0.
        iou: the same for IoU.
    """

    name: str
    label: int
    shown: int
    false_alarms: int
    dice_shown: float
    iou_shown: float
    dice: float
    iou: float


@dataclass(frozen=True)
class CaseScore:
    """One unseen scan.

    Attributes:
        name: of the scan.
        truth: its reference segmentation, as named in the summary.
        prediction: its predicted segmentation, as named in the summary.
        dice: of each class by label; NaN where neither truth nor prediction shows it.
        false_alarms: labels that only the prediction shows.
        mean_dice_shown: over the classes that its truth shows.
        mean_dice: over the classes that are not NaN; a false alarm counts as 0.
    """

    name: str
    truth: Path
    prediction: Path
    dice: Mapping[int, float]
    false_alarms: frozenset[int]
    mean_dice_shown: float
    mean_dice: float


@dataclass(frozen=True)
class Scores:
    """All of a summary.

    Attributes:
        classes: in the order of their labels.
        cases: in the order of the summary.
        mean_dice: nnU-Net's mean over the classes.
        mean_dice_shown: mean over the classes of their mean over the scans that show them.
    """

    classes: tuple[ClassScore, ...]
    cases: tuple[CaseScore, ...]
    mean_dice: float
    mean_dice_shown: float

    def ranked(self) -> list[CaseScore]:
        """Scans from the best to the worst by the classes that they show; without those that show none."""
        shown = [case for case in self.cases if not isnan(case.mean_dice_shown)]
        return sorted(shown, key=lambda case: -case.mean_dice_shown)

    def best_median_worst(self) -> dict[str, CaseScore]:
        """Up to three different scans and what they are; an even number of scans has its lower middle as median."""
        ranked = self.ranked()
        if not ranked:
            return {}
        chosen = {"best": ranked[0], "worst": ranked[-1], "median": ranked[len(ranked) // 2]}
        different = {case.name: title for title, case in reversed(chosen.items())}
        return {title: chosen[title] for title in ("best", "median", "worst") if title in different.values()}


def read_scores(summary: Path) -> Scores:
    """Read what ``nnUNetv2_evaluate_folder`` wrote.

    Raises:
        ValueError: it is not such a summary of the five classes.
    """
    try:
        content = json.loads(summary.read_text(encoding="utf-8"))
        classes = tuple(_class_score(content, name, label) for name, label in CLASSES.items())
        cases = tuple(_case_score(entry) for entry in content["metric_per_case"])
        return Scores(
            classes=classes,
            cases=cases,
            mean_dice=content["foreground_mean"]["Dice"],
            mean_dice_shown=_mean(score.dice_shown for score in classes),
        )
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"a summary must hold nnU-Net's metrics of the labels {list(CLASSES.values())}, got {error!r}: {summary}"
        ) from error


def _class_score(content: Mapping, name: str, label: int) -> ClassScore:
    metrics = [entry["metrics"][str(label)] for entry in content["metric_per_case"]]
    shown = [values for values in metrics if values["n_ref"]]
    mean = content["mean"][str(label)]
    return ClassScore(
        name=name,
        label=label,
        shown=len(shown),
        false_alarms=sum(1 for values in metrics if values["n_pred"] and not values["n_ref"]),
        dice_shown=_mean(values["Dice"] for values in shown),
        iou_shown=_mean(values["IoU"] for values in shown),
        dice=mean["Dice"],
        iou=mean["IoU"],
    )


def _case_score(entry: Mapping) -> CaseScore:
    metrics = {label: entry["metrics"][str(label)] for label in CLASSES.values()}
    dice = {label: float(values["Dice"]) for label, values in metrics.items()}
    prediction = Path(entry["prediction_file"])
    return CaseScore(
        name=prediction.name.removesuffix(".nii.gz"),
        truth=Path(entry["reference_file"]),
        prediction=prediction,
        dice=dice,
        false_alarms=frozenset(label for label, v in metrics.items() if v["n_pred"] and not v["n_ref"]),
        mean_dice_shown=_mean(dice[label] for label, v in metrics.items() if v["n_ref"]),
        mean_dice=_mean(dice.values()),
    )


def _mean(values: Iterable[float]) -> float:
    """Mean of what is not NaN; NaN of nothing."""
    numbers = [value for value in values if not isnan(value)]
    return sum(numbers) / len(numbers) if numbers else nan
