"""Distributed training: two processes on the CPU go the ways that ``nnUNetv2_train -num_gpus 2`` goes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

WORLD_SIZE = 2


pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def reports(workspace: Any, ct: int, tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What each process has to say of its trainings."""
    folder = tmp_path_factory.mktemp("ddp")
    environment = {
        **os.environ,
        **workspace.environment(),
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
        "nnUNet_results": str(folder / "results"),
        "CFSEG_TEST_EPOCHS": "1",
        "CFSEG_TIME_BUDGET_S": "3",
        "GLOO_SOCKET_IFNAME": "lo",
        "WORLD_SIZE": str(WORLD_SIZE),
        "OMP_NUM_THREADS": "1",
    }
    names = [f"case_{number}" for number in range(6)]  # nnU-Net writes folds in whichever process comes first
    (workspace.dataset_folder(ct) / "splits_final.json").write_text(
        json.dumps([{"train": names[2:], "val": names[:2]}])
    )
    worker = ["python", str(Path(__file__).parent / "ddp_worker.py"), str(folder)]

    def run(rank: int) -> subprocess.CompletedProcess[str]:
        return workspace.commands.run(worker, environment={**environment, "RANK": str(rank)}, cwd=folder)

    with ThreadPoolExecutor(WORLD_SIZE) as pool:
        done = list(pool.map(run, range(WORLD_SIZE)))
    assert [process.returncode for process in done] == [0] * WORLD_SIZE, "\n".join(
        process.stdout + process.stderr for process in done
    )
    assert list((folder / "results").rglob("*.tmp")) == []
    return [json.loads((folder / f"rank_{rank}.json").read_text()) for rank in range(WORLD_SIZE)]


def test_two_processes_train_one_network(reports: list[dict[str, Any]]) -> None:
    for report in reports:
        assert report["wrapped"]
        assert report["network"]
        assert report["batch_size"] == 1  # two in all
        assert report["steps"] == 3
        assert np.isfinite(report["losses"]).all()
    first, second = reports
    assert first["losses"] == second["losses"]  # gathered
    assert first["trained"] == second["trained"]


def test_checkpoint_is_that_of_a_training_in_one_process(reports: list[dict[str, Any]]) -> None:
    for report in reports:
        assert not report["prefixed"]
        assert report["loaded"] == report["trained"]


def test_timed_training_goes_by_one_clock(reports: list[dict[str, Any]]) -> None:
    """The second process begins later; by clocks of their own they would make unequal numbers of steps, and hang."""
    first, second = reports
    assert first["timed_steps"] == second["timed_steps"] > 0
    assert first["timed"] == second["timed"]
