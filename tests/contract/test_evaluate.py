"""Our classes and our summary against nnU-Net's own."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
from nnunetv2.evaluation.evaluate_predictions import compute_metrics_on_folder2, load_summary_json
from nnunetv2.utilities.label_handling.label_handling import LabelManager

from nnunetv2_cfseg.evaluation.evaluate import evaluate_folders
from nnunetv2_cfseg.evaluation.metrics import MetricSettings
from nnunetv2_cfseg.evaluation.summary import summarise, write_summary
from nnunetv2_cfseg.nnunet.classes import read_classes

LABELS: dict[str, dict[str, Any]] = {
    "labels": {"labels": {"background": 0, "lesion": 2, "organ": 1, "vessel": 3}},
    "lists of one": {"labels": {"background": 0, "b": [2], "a": [1]}},
    "ignore": {"labels": {"background": 0, "a": 1, "b": 2, "ignore": 3}},
    "regions": {
        "labels": {"background": 0, "whole": [1, 2, 3], "rest": 3, "core": [2]},
        "regions_class_order": [1, 2, 3],
    },
    "regions and ignore": {
        "labels": {"core": [2], "background": 0, "whole": [1, 2], "ignore": 3},
        "regions_class_order": [1, 2],
    },
}
#: What nnU-Net does not take.
REFUSED: dict[str, dict[str, Any]] = {
    "no background": {"labels": {"a": 1}},
    "background in a list": {"labels": {"background": [0], "a": 1}},
    "background is not 0": {"labels": {"background": 1, "a": 0}},
    "ignore is a region": {"labels": {"background": 0, "a": 1, "ignore": [2]}},
    "ignore within the labels": {"labels": {"background": 0, "a": 2, "ignore": 1}},
    "regions without their order": {"labels": {"background": 0, "a": [1, 2], "b": 2}},
    "an order of too few": {"labels": {"background": 0, "a": [1, 2], "b": 2}, "regions_class_order": [1]},
}
NNUNET_KEYS = {"Dice", "IoU", "TP", "FP", "FN", "TN", "n_pred", "n_ref"}


def write_dataset(folder: Path, entries: dict[str, Any]) -> Path:
    file = folder / "dataset.json"
    file.write_text(json.dumps({"channel_names": {"0": "CT"}, "numTraining": 1, "file_ending": ".nii.gz", **entries}))
    return file


@pytest.mark.parametrize("name", LABELS)
def test_classes_are_those_of_nnunet(tmp_path: Path, name: str) -> None:
    entries = LABELS[name]
    manager = LabelManager(entries["labels"], entries.get("regions_class_order"))
    expected = manager.foreground_regions if manager.has_regions else manager.foreground_labels
    classes = read_classes(write_dataset(tmp_path, entries))
    assert [one.key for one in classes.foreground] == [str(one) for one in expected]
    assert [one.values for one in classes.foreground] == [one if isinstance(one, tuple) else (one,) for one in expected]
    assert classes.ignore == manager.ignore_label
    assert classes.values == {*manager.all_labels, *([] if classes.ignore is None else [classes.ignore])}


@pytest.mark.parametrize("name", REFUSED)
def test_labels_that_nnunet_refuses_are_refused(tmp_path: Path, name: str) -> None:
    entries = REFUSED[name]
    with pytest.raises((AssertionError, RuntimeError)):
        LabelManager(entries["labels"], entries.get("regions_class_order"))
    with pytest.raises(ValueError, match=r"dataset\.json$"):
        read_classes(write_dataset(tmp_path, entries))


def write_cases(folder: Path, *, ignore: bool) -> None:
    """Random label maps; not every one shows every label, and none of the last case's pair shows any."""
    rng = np.random.default_rng(0)
    for number, (shown, predicted) in enumerate(
        [((0, 1, 2), (0, 1)), ((0, 1), (0, 2)), ((0, 2), (0, 1, 2)), ((0,),) * 2]
    ):
        for part, labels in (("truth", shown), ("prediction", predicted)):
            values = rng.choice(labels, (6, 8, 10)).astype(np.uint8)
            if ignore and part == "truth":
                values[rng.random(values.shape) < 0.3] = 3
            (folder / part).mkdir(exist_ok=True)
            image = sitk.GetImageFromArray(values)
            image.SetSpacing((0.5, 0.8, 5.0))
            sitk.WriteImage(image, str(folder / part / f"case_{number}.nii.gz"))


@pytest.mark.filterwarnings("ignore:Mean of empty slice:RuntimeWarning")
@pytest.mark.parametrize("name", LABELS)
def test_summary_holds_nnunets_values(tmp_path: Path, threads_for_processes: None, name: str) -> None:
    """Label 3 is ignored, or a class that no case shows."""
    dataset_json = write_dataset(tmp_path, LABELS[name])
    write_cases(tmp_path, ignore="ignore" in name)
    plans_json = tmp_path / "plans.json"
    plans_json.write_text('{"label_manager": "LabelManager", "image_reader_writer": "SimpleITKIO"}')
    folders = (tmp_path / "truth", tmp_path / "prediction")
    files = [tmp_path / "theirs.json", tmp_path / "ours.json"]
    compute_metrics_on_folder2(*map(str, (*folders, dataset_json, plans_json, files[0])), num_processes=1)
    evaluation = evaluate_folders(
        *folders, dataset_json=dataset_json, plans_json=plans_json, settings=MetricSettings(), num_processes=1,
        progress=False,
    )  # fmt: skip
    write_summary(evaluation, summarise(evaluation, resamples=10), files[1])

    theirs, ours = (load_summary_json(str(file)) for file in files)
    assert set(theirs) < set(ours)
    assert_holds(ours["foreground_mean"], theirs["foreground_mean"])
    assert set(ours["mean"]) == set(theirs["mean"])
    for key, values in theirs["mean"].items():
        assert_holds(ours["mean"][key], values)
    for our_case, case in zip(ours["metric_per_case"], theirs["metric_per_case"], strict=True):
        assert set(our_case) == set(case)
        for name in ("prediction_file", "reference_file"):
            assert str(files[1].parent / our_case[name]) == case[name]  # ours is relative to the summary
        assert set(our_case["metrics"]) == set(case["metrics"])
        for key, values in case["metrics"].items():
            assert_holds(our_case["metrics"][key], values)
    assert all(math.isnan(values["Dice"]) for values in theirs["metric_per_case"][-1]["metrics"].values())


def assert_holds(ours: dict[str, float], theirs: dict[str, float]) -> None:
    """Every value of nnU-Net's is among ours, of the same type; its NaN is null here."""
    assert set(theirs) == NNUNET_KEYS
    for key, value in theirs.items():
        if math.isnan(value):
            assert ours[key] is None, key
            continue
        assert type(ours[key]) is type(value), key
        assert ours[key] == pytest.approx(value, abs=1e-6), key
