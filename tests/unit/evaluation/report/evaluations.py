"""Made-up evaluations, and small datasets to evaluate."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from math import nan
from pathlib import Path

import numpy as np
import pandas as pd
import SimpleITK as sitk

from nnunetv2_cfseg.evaluation.evaluate import TABLE_COLUMNS, Evaluation, evaluate_folders
from nnunetv2_cfseg.evaluation.files import Case
from nnunetv2_cfseg.evaluation.metric_definitions import KEYS
from nnunetv2_cfseg.evaluation.metrics import MetricSettings
from nnunetv2_cfseg.nnunet.classes import Classes, SegmentationClass

#: The diagonal of made-up images.
DIAGONAL_MM = 400.0


def make_classes(names: Sequence[str]) -> Classes:
    """Classes of one label each."""
    foreground = tuple(SegmentationClass(name, (label,), str(label)) for label, name in enumerate(names, 1))
    return Classes(foreground, None, frozenset(range(len(names) + 1)))


def make_evaluation(dice: Mapping[str, Sequence[float | str]], names: Sequence[str] | None = None) -> Evaluation:
    """An evaluation from the Dice of each class in each case, or from "missed", "false_alarm" or "absent".

    All else follows from Dice in a simple way: HD95 is 40 mm less 40 Dice, true volumes are 10 ml and more in later
    cases, errors are 2 ml less 2 Dice.
    """
    count = len(next(iter(dice.values())))
    names = names or [f"case_{number:03d}" for number in range(count)]
    classes = make_classes(list(dice))
    rows = [
        _row(case, one, dice[one.name][index], 10.0 + index)
        for index, case in enumerate(names)
        for one in classes.foreground
    ]
    cases = [Case(name, Path("truth", f"{name}.nii.gz"), Path("made", f"{name}.nii.gz")) for name in names]
    return Evaluation(pd.DataFrame(rows, columns=list(TABLE_COLUMNS)), classes, cases, MetricSettings())


def _row(case: str, one: SegmentationClass, dice: float | str, true_ml: float) -> dict[str, float | str]:
    presence = dice if isinstance(dice, str) else "both"
    score = {"both": dice, "absent": nan}.get(presence, 0.0)
    quality = float(score)
    distance = {"both": 40 - 40 * quality, "absent": nan}.get(presence, DIAGONAL_MM)
    true_ml = true_ml if presence in ("both", "missed") else 0.0
    error_ml = {"both": 2 - 2 * quality, "missed": -true_ml, "false_alarm": 3.0, "absent": 0.0}[presence]
    values: dict[str, float | str] = dict.fromkeys(KEYS, nan)
    values |= dict.fromkeys(("Dice", "NSD", "lesion_F1", "lesion_recall", "lesion_precision"), quality)
    values |= {"IoU": quality / (2 - quality), "HD95_mm": distance, "ASSD_mm": distance / 4}
    values |= {"volume_ml": true_ml + error_ml, "reference_volume_ml": true_ml, "volume_error_ml": error_ml}
    values |= {"absolute_volume_error_ml": abs(error_ml), "lesions": 1.0, "reference_lesions": 1.0}
    counts = dict.fromkeys(("TP", "FP", "FN", "TN", "n_pred", "n_ref"), 0)
    return {"case": case, "class": one.name, "label": one.key, "presence": presence, **values, **counts}


def write_dataset(
    folder: Path, *, names: Sequence[str] = ("one", "two", "three"), labels: Sequence[str] = ("liver", "tumour")
) -> Path:
    """Folders truth, made, with dataset.json, and images; predictions are a voxel off, the last of several is empty."""
    for part in ("truth", "made", "images"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    for index, name in enumerate(names):
        truth = np.zeros((10, 16, 14), np.uint8)
        for label in range(1, len(labels) + 1):
            truth[3:7, 1 + 3 * label : 4 + 3 * label, 4 : 8 + index] = label
        made = np.roll(truth, 1, axis=2) if index < len(names) - 1 or len(names) == 1 else np.zeros_like(truth)
        image = rng.normal(40, 20, truth.shape).astype(np.int16)
        for part, values in (("truth", truth), ("made", made)):
            _write(values, folder / part / f"{name}.nii.gz")
        _write(image, folder / "images" / f"{name}_0000.nii.gz")
    content = {"labels": {"background": 0, **{name: label for label, name in enumerate(labels, 1)}}}
    content |= {"channel_names": {"0": "CT"}, "numTraining": len(names), "file_ending": ".nii.gz"}
    (folder / "made" / "dataset.json").write_text(json.dumps(content))
    return folder


def evaluate_dataset(folder: Path) -> Evaluation:
    """The evaluation of such a dataset."""
    return evaluate_folders(
        folder / "truth",
        folder / "made",
        dataset_json=folder / "made" / "dataset.json",
        plans_json=None,
        settings=MetricSettings(),
        num_processes=1,
        progress=False,
    )


def _write(values: np.ndarray, file: Path) -> None:
    image = sitk.GetImageFromArray(values)
    image.SetSpacing((1.5, 1.5, 3.0))
    sitk.WriteImage(image, str(file))
