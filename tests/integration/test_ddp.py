"""Distributed training: two processes on the CPU go the ways that ``nnUNetv2_train -num_gpus 2`` goes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

WORLD_SIZE = 2


@pytest.mark.slow
def test_two_processes_train_one_network(workspace: Any, trainings: Any, ct: int, tmp_path: Path) -> None:
    trainings.trainer(ct).do_split()  # nnU-Net writes it in whichever process comes first
    environment = {
        **os.environ,
        **workspace.environment(),
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
        "nnUNet_results": str(tmp_path / "results"),
        "CFSEG_TEST_EPOCHS": "1",
        "GLOO_SOCKET_IFNAME": "lo",
        "WORLD_SIZE": str(WORLD_SIZE),
        "OMP_NUM_THREADS": "1",
    }
    worker = [sys.executable, str(Path(__file__).parent / "ddp_worker.py"), str(tmp_path)]
    processes = [
        subprocess.Popen(
            worker,
            env={**environment, "RANK": str(rank)},
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for rank in range(WORLD_SIZE)
    ]
    outputs = [process.communicate(timeout=300)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], "\n".join(outputs)

    reports = [json.loads((tmp_path / f"rank_{rank}.json").read_text()) for rank in range(WORLD_SIZE)]
    for report in reports:
        assert report["wrapped"]
        assert report["network"]
        assert report["batch_size"] == 1  # two in all
        assert report["steps"] == 3
        assert np.isfinite(report["losses"]).all()
        assert not report["prefixed"]
    first, second = reports
    assert first["losses"] == second["losses"]  # gathered
    assert first["trained"] == second["trained"] == first["loaded"] == second["loaded"]
    assert list((tmp_path / "results").rglob("*.tmp")) == []
