"""What a cell's commands take."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from nnunetv2_cfseg.benchmark import cell
from nnunetv2_cfseg.benchmark.cell import measured


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
