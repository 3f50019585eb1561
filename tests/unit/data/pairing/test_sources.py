"""Which files are cases: raw datasets, plain folders, and what is missing."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from nnunetv2_cfseg.data.pairing.sources import Source, find_sources

Fill = Callable[..., Path]


@pytest.fixture
def fill(tmp_path: Path) -> Fill:
    """A function that fills a folder with empty files and, if asked, a dataset.json."""

    def fill(name: str, *files: str, **dataset_json: Any) -> Path:
        for file in files:
            path = tmp_path / name / file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
        (tmp_path / name).mkdir(exist_ok=True)
        if dataset_json:
            content = {
                "channel_names": {"0": "CT"},
                "labels": {"background": 0, "lesion": 1},
                "numTraining": 1,
                "file_ending": ".nii.gz",
                **dataset_json,
            }
            (tmp_path / name / "dataset.json").write_text(json.dumps(content))
        return tmp_path / name

    return fill


def test_of_a_raw_dataset(fill: Fill) -> None:
    folder = fill(
        "raw",
        *("imagesTr/b_0000.nii.gz", "imagesTr/a_1_0000.nii.gz", "labelsTr/a_1.nii.gz", "labelsTr/b.nii.gz"),
        *("imagesTs/c_0000.nii.gz", "labelsTs/c.nii.gz", "imagesTr/.hidden_0000.nii.gz", "labelsTr/notes.txt"),
        description="scans",
    )
    sources = find_sources(folder)
    assert [(case.name, case.part) for case in sources.cases] == [("a_1", "Tr"), ("b", "Tr"), ("c", "Ts")]
    assert sources.cases[0] == Source(
        "a_1", "Tr", folder / "imagesTr/a_1_0000.nii.gz", folder / "labelsTr/a_1.nii.gz", None
    )
    assert sources.dataset_json["description"] == "scans"
    assert sources.unlabelled == ()


def test_of_three_plain_folders(fill: Fill) -> None:
    thin = fill("thin", "a_0000.nii.gz", "b_0000.nii.gz")
    labels = fill("labels", "a.nii.gz", "b.nii.gz", description="labels")
    thick = fill("thick", "a_0000.nii.gz", "b_0000.nii.gz")
    sources = find_sources(thin, labels, thick)
    assert [case.files for case in sources.cases] == [
        {
            "image": thin / f"{name}_0000.nii.gz",
            "label": labels / f"{name}.nii.gz",
            "thick_image": thick / f"{name}_0000.nii.gz",
        }
        for name in "ab"
    ]


def test_of_a_dataset_and_a_plain_folder_of_all_its_labels(fill: Fill) -> None:
    images = fill("raw", "imagesTr/a_0000.nii.gz", "imagesTs/b_0000.nii.gz", description="x")
    labels = fill("labels", "a.nii.gz", "b.nii.gz")
    assert [(case.name, case.part) for case in find_sources(images, labels).cases] == [("a", "Tr"), ("b", "Ts")]


def test_test_images_without_labels_are_named(fill: Fill) -> None:
    folder = fill("raw", "imagesTr/a_0000.nii.gz", "labelsTr/a.nii.gz", "imagesTs/t_0000.nii.gz", description="x")
    sources = find_sources(folder)
    assert [case.name for case in sources.cases] == ["a"]
    assert sources.unlabelled == ("t",)


def test_another_dataset_json_and_file_ending(fill: Fill) -> None:
    folder = fill("raw", "imagesTr/a_0000.mha", "labelsTr/a.mha")
    other = fill("other", description="x", file_ending=".mha") / "dataset.json"
    assert find_sources(folder, dataset_json=other).cases[0].label == folder / "labelsTr/a.mha"


@pytest.mark.parametrize(
    ("files", "content", "named"),
    [
        ((), {}, "there is no dataset.json; it must lie beside the labels.*raw/dataset.json$"),
        (("imagesTr/a_0000.nii.gz",), {"x": 1}, "there must be a folder of images or labels, and .*: .*labelsTr$"),
        (
            ("imagesTr/a_0000.nii.gz", "imagesTr/b_0000.nii.gz", "labelsTr/a.nii.gz"),
            {"x": 1},
            "must have all its files, and b is in .*raw/imagesTr and not in .*raw/labelsTr$",
        ),
        (
            ("imagesTr/a_0000.nii.gz", "labelsTr/b.nii.gz", "labelsTr/a.nii.gz"),
            {"x": 1},
            "must have all its files, and b is in .*raw/labelsTr and not in .*raw/imagesTr$",
        ),
        (("imagesTr/a_0001.nii.gz", "labelsTr/a.nii.gz"), {"x": 1}, "one CT a case, named CASE_0000.nii.gz: .*a_0001"),
        (("imagesTr/a.nii.gz", "labelsTr/a.nii.gz"), {"x": 1}, "one CT a case, named CASE_0000.nii.gz: .*a.nii.gz$"),
        (
            ("imagesTr/a_0000.mha", "labelsTr/a.mha"),
            {"x": 1},
            "must hold CASE_0000.nii.gz, and holds none: .*raw/imagesTr$",
        ),
        ((), {"channel_names": {"0": "T1"}}, r"the one channel must be CT, .*, got \['T1'\]: .*dataset.json$"),
        ((), {"channel_names": {"0": "CT", "1": "CT"}}, r"the one channel must be CT, .*, got \['CT', 'CT'\]"),
        ((), {"dataset": {}}, "must lie in imagesTr and labelsTr, and dataset.json lists their files: .*dataset.json$"),
        (
            ("imagesTr/a_0000.nii.gz", "labelsTr/a.nii.gz", "imagesTs/a_0000.nii.gz", "labelsTs/a.nii.gz"),
            {"x": 1},
            "in the training or in the test set, and a is in both: .*raw$",
        ),
    ],
)
def test_refusals(fill: Fill, files: tuple[str, ...], content: dict[str, Any], named: str) -> None:
    folder = fill("raw", "imagesTr/.keep", *files, **content)
    with pytest.raises(ValueError, match=named):
        find_sources(folder)


def test_every_case_needs_its_thick_image(fill: Fill) -> None:
    folder = fill("raw", "imagesTr/a_0000.nii.gz", "labelsTr/a.nii.gz", description="x")
    with pytest.raises(ValueError, match=r"and a is in .*raw/imagesTr and not in .*thick$"):
        find_sources(folder, None, fill("thick", "b_0000.nii.gz"))


def test_folders_that_are_swapped_by_their_names(fill: Fill) -> None:
    images, labels = fill("scans", "a_0000.nii.gz"), fill("annotations", "a.nii.gz", x=1)
    with pytest.raises(ValueError, match=r"-i and -l look swapped: .*a_0000.nii.gz is among the labels"):
        find_sources(labels, images)


def test_labels_with_a_channel_number(fill: Fill) -> None:
    images, labels = fill("scans", "a_0000.nii.gz"), fill("annotations", "a_0000.nii.gz", x=1)
    named = r"labels have no channel number, so a_0000.nii.gz must be named a.nii.gz: .*annotations$"
    with pytest.raises(ValueError, match=named):
        find_sources(images, labels)
