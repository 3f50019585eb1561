"""The demo's folder: nobody else's, one demo at a time, and markers that say what was done by which commands."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from nnunetv2_cfseg.demo.folder import DemoFolder, Record
from nnunetv2_cfseg.demo.settings import DemoSettings
from nnunetv2_cfseg.demo.steps import demo_steps


def test_a_new_folder_and_an_empty_one_become_a_demos(tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    for path in (tmp_path / "new" / "demo", empty):
        with DemoFolder(path) as folder:
            assert folder.path == path
        with DemoFolder(path):
            pass


def test_a_folder_with_something_else_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("")
    with pytest.raises(ValueError, match=f"-o must name a new .*got: {tmp_path}"):
        DemoFolder(tmp_path).__enter__()
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_file_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "demo"
    file.write_text("")
    with pytest.raises(ValueError, match=f"-o must name a folder, got a file: {file}"):
        DemoFolder(file).__enter__()


def test_only_one_demo_works_in_it(tmp_path: Path) -> None:
    with (
        DemoFolder(tmp_path),
        pytest.raises(ValueError, match=f"another demo.*{tmp_path}"),
    ):
        DemoFolder(tmp_path).__enter__()


def test_a_process_that_outlives_its_demo_keeps_others_out(tmp_path: Path) -> None:
    """As when the demo was killed with SIGKILL in the middle of a training."""
    with DemoFolder(tmp_path) as folder:
        assert folder.lock is not None
        orphan = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, pass_fds=(folder.lock,))
    try:
        with pytest.raises(ValueError, match="another demo"):
            DemoFolder(tmp_path).__enter__()
    finally:
        orphan.communicate(b"\n")
    with DemoFolder(tmp_path):
        pass


def test_what_is_kept_of_a_step_is_read_again(tmp_path: Path) -> None:
    first, second, *_ = demo_steps(DemoSettings())
    with DemoFolder(tmp_path) as folder:
        assert folder.record(first) == Record()
        folder.keep(first, Record(seconds=12.5, runs=2, done=True))
    with DemoFolder(tmp_path) as folder:
        assert folder.record(first) == Record(seconds=12.5, runs=2, done=True)
        assert folder.record(second) == Record()
        folder.check(demo_steps(DemoSettings()))


@pytest.mark.parametrize(
    ("settings", "was", "now"),
    [
        (DemoSettings(seed=1), "--seed 0", "--seed 1"),
        (DemoSettings(train=41), "--train 40", "--train 41"),
        (DemoSettings(matrix=(55, 72, 80)), "--matrix 55 72 64", "--matrix 55 72 80"),
        (DemoSettings(train_seconds=20), "CFSEG_TIME_BUDGET_S=210", "CFSEG_TIME_BUDGET_S=20"),
    ],
)
def test_another_setting_is_refused_by_its_name(tmp_path: Path, settings: DemoSettings, was: str, now: str) -> None:
    with DemoFolder(tmp_path) as folder:
        for step in demo_steps(DemoSettings()):
            folder.keep(step, Record())
        with pytest.raises(ValueError, match=f"started with «{was}» and would now be «{now}», .* remove {tmp_path}"):
            folder.check(demo_steps(settings))


def test_a_setting_of_a_step_that_was_not_begun_may_change(tmp_path: Path) -> None:
    with DemoFolder(tmp_path) as folder:
        for step in demo_steps(DemoSettings())[:2]:
            folder.keep(step, Record(done=True))
        folder.check(demo_steps(DemoSettings(train_seconds=20)))


@pytest.mark.parametrize("text", ["", "[1]", json.dumps({"commands": []})])
def test_a_broken_marker_is_refused_by_its_name(tmp_path: Path, text: str) -> None:
    step = demo_steps(DemoSettings())[0]
    with DemoFolder(tmp_path) as folder:
        folder.keep(step, Record())
        marker = tmp_path / "steps" / "1_phantoms.json"
        marker.write_text(text)
        with pytest.raises(ValueError, match=f"remove it to repeat the step: {marker}"):
            folder.record(step)


def test_a_file_is_written_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with DemoFolder(tmp_path) as folder:
        file = folder.write_text("report.html", "old")
        monkeypatch.setattr("nnunetv2_cfseg.demo.folder.os.replace", _full)
        with pytest.raises(OSError, match="full"):
            folder.write_text("report.html", "new")
        assert file.read_text() == "old"


def _full(*_: object) -> None:
    raise OSError("disk is full")
