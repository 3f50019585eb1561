"""A dataset's folder: who may write to it, what is left of a run that was stopped, and who may go on."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from nnunetv2_cfseg.files.folder_lock import lock_folder
from nnunetv2_cfseg.files.resumable_dataset import ResumableDataset, put_in_place, unfinished_file
from nnunetv2_cfseg.files.schema import Document
from nnunetv2_cfseg.files.text_files import read_json

SETTINGS = {"seed": 1, "size": (2, 3), "cases": 4}


class Begun(Document):
    seed: int


def dataset(folder: Path, **changes: Any) -> ResumableDataset:
    start = {"document": Begun, "optional": {"extra": False}, "may_grow": ("cases",), **changes}
    return ResumableDataset(folder, "begun.json", "a test dataset", "cfseg test", **start)


def write(folder: Path, settings: dict[str, Any], *, case: str | None = "a", finish: bool = True) -> dict[str, Any]:
    """Write a case, and what a run is to find of the last one."""
    made = dataset(folder)
    with made.writing(settings) as before:
        made.write_record(settings)
        if case is not None:
            unfinished_file(folder, case, f"images/{case}.txt").write_text(case)
            put_in_place(folder, case, [f"images/{case}.txt"])
        if finish:
            made.finish({"numTraining": 1})
    return before


def test_a_run_begins_and_another_goes_on(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "Dataset001_x"
    assert write(folder, SETTINGS, finish=False) == {}
    assert sorted(path.name for path in folder.iterdir()) == ["begun.json", "images"]
    assert write(folder, SETTINGS) == {"seed": 1, "size": [2, 3], "cases": 4}
    assert read_json(folder / "dataset.json") == {"numTraining": 1}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"seed": 2}, "seed was 1 and is now 2; "),
        ({"size": (2, 4)}, r"size was \[2, 3\] and is now \[2, 4\]; "),
        ({"cases": 3}, "cases was 4 and is now 3; .* at least as many: "),
        ({"extra": True}, "extra was false and is now true; "),
        ({"seed": "x" * 100}, r"is now \"x{56}\.\.\.; "),
    ],
)
def test_other_settings_are_refused(tmp_path: Path, change: dict[str, Any], words: str) -> None:
    write(tmp_path, SETTINGS)
    with pytest.raises(ValueError, match=rf"{words}.*begun.json$"):
        write(tmp_path, {**SETTINGS, **change})
    assert read_json(tmp_path / "begun.json")["seed"] == 1


def test_a_setting_that_is_as_usual_again_is_another(tmp_path: Path) -> None:
    write(tmp_path, {**SETTINGS, "extra": True})
    with pytest.raises(ValueError, match="extra was true and is now false; "):
        write(tmp_path, SETTINGS)


def test_a_number_may_grow(tmp_path: Path) -> None:
    write(tmp_path, SETTINGS)
    assert write(tmp_path, {**SETTINGS, "cases": 9})["cases"] == 4


def test_what_was_begun_without_a_case_binds_nobody(tmp_path: Path) -> None:
    (tmp_path / "x" / "images").mkdir(parents=True)
    (tmp_path / "x" / "begun.json").write_text('{"seed": 7}')
    assert write(tmp_path / "x", SETTINGS) == {}


def test_a_run_without_a_case_leaves_nothing(tmp_path: Path) -> None:
    made = dataset(tmp_path / "x")
    with made.writing(SETTINGS):
        made.write_record(SETTINGS)
        (made.folder / "images").mkdir()
        unfinished_file(made.folder, "a", "images/a.txt").write_text("half")
    assert not (tmp_path / "x").exists()


def test_leftovers_of_a_killed_run_go(tmp_path: Path) -> None:
    write(tmp_path, SETTINGS)
    unfinished_file(tmp_path, "b", "images/b.txt").write_text("half")
    (tmp_path / "images" / f".b.txt.{os.getpid()}.tmp").write_text("half")
    write(tmp_path, SETTINGS)
    assert sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()) == [
        "begun.json", "dataset.json", "images/a.txt",
    ]  # fmt: skip


@pytest.mark.parametrize("record", ["{", "[]", "{}", '{"seed": "x"}'])
def test_a_record_that_is_none_is_refused(tmp_path: Path, record: str) -> None:
    (tmp_path / "begun.json").write_text(record)
    with pytest.raises(ValueError, match=r"^begun.json must be what cfseg test wrote, and is not: .*begun.json$"):
        write(tmp_path, SETTINGS)


def test_the_folder_of_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "imagesTr").mkdir()
    with pytest.raises(ValueError, match=f"^a test dataset needs a folder of its own, and imagesTr is in {tmp_path}$"):
        write(tmp_path, SETTINGS)


def test_one_run_at_a_time(tmp_path: Path) -> None:
    with lock_folder(tmp_path), pytest.raises(ValueError, match="another run is at work"):
        write(tmp_path, SETTINGS)
