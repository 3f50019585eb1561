"""Classes of ``dataset.json``; ``tests/contract/test_evaluate.py`` compares them with nnU-Net's."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nnunetv2_cfseg.nnunet.classes import Classes, SegmentationClass, read_classes, read_classes_and_ending
from nnunetv2_cfseg.nnunet.dataset_json import read_dataset_json


def write(folder: Path, labels: Any, **entries: Any) -> Path:
    file = folder / "dataset.json"
    file.write_text(json.dumps({"labels": labels, "file_ending": ".nii.gz", **entries}))
    return file


def test_labels_come_in_the_order_of_their_values(tmp_path: Path) -> None:
    file = write(tmp_path, {"late": 10, "background": 0, "second": 2, "first": [1]})
    assert read_classes(file) == Classes(
        foreground=(
            SegmentationClass("first", (1,), "1"),
            SegmentationClass("second", (2,), "2"),
            SegmentationClass("late", (10,), "10"),
        ),
        ignore=None,
        values=frozenset({0, 1, 2, 10}),
    )


def test_regions_come_in_the_order_of_the_file(tmp_path: Path) -> None:
    labels = {"background": 0, "whole": [1, 2, 3], "rest": 3, "core": [2], "ignore": 4}
    assert read_classes(write(tmp_path, labels, regions_class_order=[1, 2, 3])) == Classes(
        foreground=(
            SegmentationClass("whole", (1, 2, 3), "(1, 2, 3)"),
            SegmentationClass("rest", (3,), "3"),
            SegmentationClass("core", (2,), "(2,)"),
        ),
        ignore=4,
        values=frozenset(range(5)),
    )


def test_ignore_is_no_class(tmp_path: Path) -> None:
    classes = read_classes(write(tmp_path, {"background": 0, "lesion": 1, "ignore": 2}))
    assert [one.name for one in classes.foreground] == ["lesion"]
    assert classes.ignore == 2
    assert classes.values == {0, 1, 2}


@pytest.mark.parametrize(
    ("values", "expected"), [((2,), [[False, False], [True, False]]), ((1, 3), [[False, True], [False, True]])]
)
def test_a_mask_shows_all_values_of_a_class(values: tuple[int, ...], expected: list) -> None:
    mask = SegmentationClass("one", values, "").mask(np.array([[[0, 1], [2, 3]]], np.uint8))
    assert mask.dtype == bool
    np.testing.assert_array_equal(mask, [expected])


@pytest.mark.parametrize(
    ("labels", "named"),
    [
        ({"lesion": 1}, "labels must name background, and it must be 0"),
        ({"background": 1, "lesion": 0}, "must be 0, got .*1"),
        ({"background": [0], "lesion": 1}, r"must be 0, got .*\[0\]"),
        ({"background": 0}, "a class besides background, got none"),
        ({"background": 0, "lesion": "dark"}, "labels.lesion must be .*, got 'dark'"),
        ({"background": 0, "lesion": []}, r"labels.lesion must be .*, got \[\]"),
        ({"background": 0, "lesion": 1, "ignore": 1}, "must be above all other label values, 2, got 1"),
        ({"background": 0, "lesion": 1, "ignore": 3}, "must be above all other label values, 2, got 3"),
        ({"background": 0, "lesion": 1, "ignore": [2]}, r"must have one value for ignore, got .*\[2\]"),
        ({"background": 0, "whole": [1, 2], "core": 2}, "regions_class_order of 2 values, got None"),
        ({"background": 0, "left": 1, "right": 1}, "must differ in their labels, got 1 for left and right"),
    ],
)
def test_refuses_labels_that_make_no_classes(tmp_path: Path, labels: dict[str, Any], named: str) -> None:
    file = write(tmp_path, labels)
    with pytest.raises(ValueError, match=named) as error:
        read_classes(file)
    assert str(error.value).endswith(f": {file}")


def test_refuses_an_order_of_fewer_regions_than_there_are(tmp_path: Path) -> None:
    file = write(tmp_path, {"background": 0, "whole": [1, 2], "core": 2}, regions_class_order=[1])
    with pytest.raises(ValueError, match=r"of 2 values, got \[1\]"):
        read_classes(file)


@pytest.mark.parametrize(
    ("content", "named"),
    [
        ("{", "must be JSON"),
        ("[]", "must hold a JSON object, got a list"),
        ('{"file_ending": ".nii.gz"}', "labels is missing"),
        ('{"labels": [1], "file_ending": ".nii.gz"}', r"labels must .*, got \[1\]"),
        ('{"labels": {"background": 0}, "file_ending": ""}', "file_ending must be .*, got ''"),
    ],
)
def test_refuses_what_is_no_dataset_json(tmp_path: Path, content: str, named: str) -> None:
    file = tmp_path / "dataset.json"
    file.write_text(content)
    with pytest.raises(ValueError, match=named) as error:
        read_dataset_json(file)
    assert str(error.value).endswith(f": {file}")


def test_refuses_a_missing_dataset_json(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"dataset.json must be a file, and there is none: .*dataset.json$"):
        read_dataset_json(tmp_path / "dataset.json")


def test_classes_and_ending_are_read_at_once(tmp_path: Path) -> None:
    file = tmp_path / "dataset.json"
    file.write_text(json.dumps({"labels": {"background": 0, "lesion": 1}, "file_ending": ".nii.gz"}))
    assert read_classes_and_ending(file) == (read_classes(file), ".nii.gz")
