"""The commands of a cell, and what they take."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from nnunetv2_cfseg.benchmark import cell
from nnunetv2_cfseg.benchmark.cell import measured, run_cell
from nnunetv2_cfseg.benchmark.matrix import Matrix
from nnunetv2_cfseg.benchmark.row import Row
from nnunetv2_cfseg.files.atomic_files import write_json
from nnunetv2_cfseg.files.text_files import read_json
from nnunetv2_cfseg.nnunet.environment import FOLDERS
from nnunetv2_cfseg.trainers.seed import SEED_VARIABLE
from nnunetv2_cfseg.trainers.timed import BUDGET_VARIABLE


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """Seconds that pass when a test says so, and bytes that a process has."""
    now = SimpleNamespace(s=100.0, bytes=0)
    monkeypatch.setattr(cell.time, "perf_counter", lambda: now.s)
    monkeypatch.setattr(cell, "tree_bytes", lambda pid: now.bytes)
    return now


def runner(clock: SimpleNamespace, looks: list[tuple[float, int]], ends: Callable[[], None] = lambda: None) -> Any:
    """Its command is looked at after seconds, with bytes, and then ends."""

    def run(command: Any, *, watch: Callable[[int], None], **_: Any) -> None:
        for seconds, size in looks:
            clock.s, clock.bytes = clock.s + seconds, size
            watch(os.getpid())
        ends()

    return SimpleNamespace(run=run)


def stopped() -> None:
    raise KeyboardInterrupt


def test_seconds_and_the_most_memory(clock: SimpleNamespace) -> None:
    assert measured(runner(clock, [(1, 5), (2, 9), (1, 3)]), ["train"]) == {"seconds": 4, "peak_bytes": 9}


def test_what_was_stopped_counts_on(clock: SimpleNamespace, tmp_path: Path) -> None:
    file = tmp_path / "so_far.json"
    with pytest.raises(KeyboardInterrupt):
        measured(runner(clock, [(3, 9)], stopped), ["train"], so_far=file)
    clock.s += 1000  # nothing runs
    assert measured(runner(clock, [(4, 5)]), ["train"], so_far=file) == {"seconds": 7, "peak_bytes": 9}


def test_what_was_killed_counts_up_to_the_last_note(
    clock: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, notes = tmp_path / "so_far.json", []
    write = cell.write_json
    monkeypatch.setattr(cell, "write_json", lambda file, content: (notes.append(content), write(file, content)))
    measured(runner(clock, [(6, 1), (6, 2), (6, 3), (6, 4)]), ["train"], so_far=file)
    assert [note["seconds"] for note in notes] == [12, 24, 24]


def test_what_begins_again_does_not_count_on(clock: SimpleNamespace) -> None:
    predict = ["predict"]
    with pytest.raises(KeyboardInterrupt):
        measured(runner(clock, [(3, 9)], stopped), predict)
    assert measured(runner(clock, [(4, 5)]), predict)["seconds"] == 4


def test_a_cells_commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in FOLDERS:
        monkeypatch.setenv(name, str(tmp_path / name))
    ran: list[list[str]] = []

    class Fake:
        def __init__(self, folder: Path, steering: dict[str, str], **_: Any) -> None:
            self.folder = folder
            assert (steering[SEED_VARIABLE], steering[BUDGET_VARIABLE]) == ("4", "60")

        def run(self, command: list[str], **_: Any) -> None:
            ran.append(command)
            write_json(self.folder / "network.json", {"parameters": 1, "machine": {"cores": 2}})
            (self.folder / "summary.csv").write_text("case")

    scans = SimpleNamespace(images=tmp_path, truth=tmp_path, dataset_json=tmp_path / "dataset.json", cases=1, words="")
    monkeypatch.setattr(cell, "CommandRunner", Fake)
    monkeypatch.setattr(cell, "find_scans", lambda *_: scans)
    slices = Row("slices", "T_timed", configuration="2d", predict="cfseg predict", arguments=("--shifts", "4"))
    matrix = Matrix((slices,), ("Dataset007_Tiny",), seeds=(4,), budget_s=60, gpu_memory_target_gb=1)
    (one,) = matrix.cells()
    for _ in range(2):  # nothing is done twice
        run_cell(matrix, one, tmp_path, threads=1)
    train, predict, evaluate = ran
    assert train[4:] == ["Dataset007_Tiny", "2d", "0", "-tr", "T_timed", "-p", "nnUNetPlans_1GB", "-device", "cpu"]
    assert predict[:2] == ["cfseg", "predict"]
    assert predict[predict.index("-c") + 1] == "2d"
    assert predict[-2:] == ["--shifts", "4"]
    assert evaluate[:2] == ["cfseg", "evaluate"]
    record = read_json(tmp_path / one.folder / "cell.json")
    assert (record["cell"]["plans"], record["network"]) == ("nnUNetPlans_1GB", {"parameters": 1})
    assert record["machine"] == {"cores": 2}  # the one that trained
