"""``cfseg benchmark``: a small matrix, run through and killed on the way."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

pytestmark = pytest.mark.slow

ONE_CELL = ["-d", "901", "-tr", "nnUNetTrainerCFSegShort", "-p", "nnUNetTinyPlans", "--seeds", "1", "--threads", "1",
            "-device", "cpu"]  # fmt: skip
FLAGS = [*ONE_CELL, "--seeds", "1", "2", "--jobs", "2"]
DRIVER = Path(__file__).with_name("warm_driver.py")
COSTS = ["train_s", "predict_s", "predict_s_per_case", "train_peak_gb", "predict_peak_gb"]


@pytest.fixture(scope="module")
def finished(workspace: Any, ct: int, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("benchmark") / "out"
    workspace.run("cfseg", "benchmark", *FLAGS, "-o", str(out), CFSEG_TEST_EPOCHS="2")
    return out


def test_ends_with_tables_and_a_page(finished: Path) -> None:
    results, costs = (pd.read_csv(finished / name) for name in ("results.csv", "costs.csv"))
    assert len(costs) == 2
    assert set(results["seed"]) == {1, 2}
    assert results["Dice"].notna().any()
    assert (costs[["train_s", "predict_s", "train_peak_gb", "predict_peak_gb", "parameters"]] > 0).all(axis=None)
    assert costs["flops_per_voxel"].nunique() == 1
    assert "# Benchmark\n\n2 of 2 cells" in (finished / "results.md").read_text()
    assert (finished / "report.html").read_text().startswith("<!DOCTYPE html>")


def test_a_cell_says_what_it_ran_on(finished: Path) -> None:
    (file, _) = sorted(finished.glob("cells/*/*/*/cell.json"))
    record = json.loads(file.read_text())
    assert record["cell"]["seed"] == 1
    assert record["cell"]["scored_on"] == "validation cases of fold 0, labelsTr"
    assert record["machine"]["cores"] == os.cpu_count()
    assert {"torch", "nnunetv2"} <= record["machine"]["versions"].keys()


def test_what_is_done_is_not_done_again(finished: Path, workspace: Any) -> None:
    before = {file: file.stat().st_mtime_ns for file in finished.glob("cells/**/*") if file.is_file()}
    done = workspace.run("cfseg", "benchmark", *FLAGS, "-o", str(finished))
    assert "2 cells, 2 of them done" in done.stderr
    assert {file: file.stat().st_mtime_ns for file in finished.glob("cells/**/*") if file.is_file()} == before


def test_killed_twice_it_ends_with_the_same_table(finished: Path, workspace: Any, tmp_path: Path) -> None:
    out = tmp_path / "out"
    cold, warm = ["-m", "nnunetv2_cfseg.cli"], [str(DRIVER), workspace.commands.ready_address()]
    stopped = when(lambda: any(out.glob("cells/**/fold_0/checkpoint_latest.pth")), workspace, out, cold)
    stopped.send_signal(signal.SIGTERM)
    assert stopped.wait(60) == 130
    nobody_works_in(out)
    assert not any(out.glob("cells/**/train.json"))  # or it was only waited for
    killed = when(lambda: any(out.glob("cells/**/predict.json")), workspace, out, warm)
    os.killpg(killed.pid, signal.SIGKILL)  # with its jobs, but not the commands that these run
    killed.wait()
    workspace.run("cfseg", "benchmark", *ONE_CELL, "-o", str(out), CFSEG_TEST_EPOCHS="2")
    for name in ("results.csv", "costs.csv"):
        whole, resumed = (pd.read_csv(folder / name).drop(columns=COSTS, errors="ignore") for folder in (finished, out))
        pd.testing.assert_frame_equal(whole[whole["seed"] == 1].reset_index(drop=True), resumed)


def test_a_row_starts_from_another_and_one_trains_nothing(workspace: Any, ct: int, tmp_path: Path) -> None:
    file, out = tmp_path / "benchmark.yaml", tmp_path / "out"
    file.write_text(
        "datasets: [901]\nrows:\n"
        "  after: {trainer: nnUNetTrainerCFSegShort, plans: nnUNetTinyPlans, predict: cfseg predict, after: first}\n"
        "  first: {trainer: nnUNetTrainerCFSegShort, plans: nnUNetTinyPlans, predict: cfseg predict}\n"
        "  truth: {predictions: labelsTr}\n"
    )
    workspace.run("cfseg", "benchmark", str(file), "-o", str(out), "--threads", "1", CFSEG_TEST_EPOCHS="1")
    logs = {name: next(out.glob(f"cells/*/{name}/*/log.txt")).read_text() for name in ("after", "first", "truth")}
    (weights,) = out.glob("cells/*/first/*/nnUNet_results/*/*/fold_0/checkpoint_final.pth")
    assert f"Loading pretrained weights from file  {weights}" in logs["after"]
    assert "pretrained" not in logs["first"]
    assert logs["truth"].count("$ ") == 1  # nothing but the evaluation
    results = pd.read_csv(out / "results.csv")
    assert set(results["row"]) == {"after", "first", "truth"}
    assert (results.loc[results["row"] == "truth", "Dice"].dropna() == 1).all()
    assert pd.read_csv(out / "costs.csv").set_index("row")["parameters"].notna().to_dict() == {
        "after": True, "first": True, "truth": False,
    }  # fmt: skip


def when(is_time: Callable[[], bool], workspace: Any, out: Path, program: list[str]) -> subprocess.Popen:
    """A benchmark that has come so far."""
    command = [sys.executable, *program, "benchmark", *ONE_CELL, "-o", str(out)]
    environment = {**os.environ, **workspace.environment(), "CFSEG_TEST_EPOCHS": "2",
                   "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}  # fmt: skip
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                               start_new_session=True)  # fmt: skip
    deadline = time.monotonic() + 600
    while not is_time() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.2)
    assert is_time()
    return process


def nobody_works_in(folder: Path, *, patience_s: float = 5) -> None:
    """The cells' commands run in their folders."""
    deadline = time.monotonic() + patience_s
    while busy := [place for place in map(working_folder, Path("/proc").glob("[0-9]*")) if folder in place.parents]:
        assert time.monotonic() < deadline, busy
        time.sleep(0.1)


def working_folder(process: Path) -> Path:
    try:
        return (process / "cwd").readlink()
    except OSError:  # it has ended, or is somebody else's
        return Path()
