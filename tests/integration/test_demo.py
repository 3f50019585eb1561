"""``cfseg demo`` as a user runs it: stopped in the middle of the training, started again, and done."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from fixtures.warm_commands import WarmCommands

from nnunetv2_cfseg.demo.settings import BLEEDS
from nnunetv2_cfseg.demo.steps import COPY_PREDICTIONS, FOLDS, PREDICTIONS, RAW, TRAINER, TRUTH

pytestmark = pytest.mark.slow

FLAGS = ["--train", "3", "--test", "2", "--train_seconds", "6", "--seed", "3"]
FLAGS += ["--matrix", "24", "32", "32", "--spacing", "7", "7", "7"]
PATIENCE_S = 1200
DRIVER = Path(__file__).with_name("demo_driver.py")


def start(folder: Path, commands: WarmCommands) -> subprocess.Popen:
    """In a process of its own, as a user starts it."""
    return subprocess.Popen(
        [sys.executable, str(DRIVER), commands.ready_address(), "demo", "-o", folder.name, *FLAGS],
        cwd=folder.parent,
        env=environment(),
        stderr=subprocess.PIPE,
        text=True,
        # pytest may itself run where Ctrl-C is ignored, which processes inherit
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )


def again(folder: Path, commands: WarmCommands, *flags: str) -> subprocess.CompletedProcess[str]:
    return commands.run(
        ["python", str(DRIVER), "", "demo", "-o", folder.name, *FLAGS, *flags],
        environment=environment(),
        cwd=folder.parent,
    )


def environment() -> dict[str, str]:
    clean = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    clean.pop("PYTHONWARNINGS", None)
    return {**clean, "nnUNet_n_proc_DA": "0"}


def processes_in(folder: Path) -> list[str]:
    """Command lines of the processes that work in a folder."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if (process / "cwd").resolve(strict=True) == folder:
                found.append((process / "cmdline").read_text().replace("\0", " "))
        except OSError:
            continue
    return found


def wait_for(file: Path, demo: subprocess.Popen) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not file.exists():
        assert demo.poll() is None, demo.communicate()[1]
        assert time.monotonic() < deadline, f"{file} must be there by now"
        time.sleep(0.2)


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory, commands: WarmCommands) -> Path:
    """The folder of a demo that was stopped by Ctrl-C while it trained, and went on."""
    folder = tmp_path_factory.mktemp("demo") / "demo"
    first = start(folder, commands)
    try:
        wait_for(folder / FOLDS[TRAINER] / "checkpoint_latest.pth", first)
        assert processes_in(folder) != []
        first.send_signal(signal.SIGINT)
        _, err = first.communicate(timeout=PATIENCE_S)
    finally:
        first.kill()
        first.wait()
    assert first.returncode == 130, err
    assert err.splitlines()[-1] == "cfseg demo: stopped"
    assert processes_in(folder) == []
    begun = {name: (folder / "steps" / name).stat().st_mtime_ns for name in ("1_phantoms.json", "3_preprocess.json")}

    second = again(folder, commands)
    assert second.returncode == 0, second.stderr
    assert "[4/8] Training on copied labels, to compare: already done" in second.stderr
    assert begun == {name: (folder / "steps" / name).stat().st_mtime_ns for name in begun}
    assert processes_in(folder) == []
    return folder


def test_training_went_on_from_its_checkpoint(demo: Path) -> None:
    log = (demo / "logs" / "5_train.log").read_text()
    first, second = log.split("$ nnUNetv2_train")[1:]
    assert second.splitlines()[0].endswith(" --c")
    epochs = [[int(n) for n in re.findall(r": Epoch (\d+)", part)] for part in (first, second)]
    assert epochs[0][:1] in ([], [0])  # a killed process may not have written all it printed
    assert 0 not in epochs[1]  # on a slow machine the first epoch may have spent the budget, and there is no other
    assert "Training done." in second
    assert json.loads((demo / "steps" / "5_train.json").read_text())["runs"] == 2


@pytest.mark.parametrize("predictions", [PREDICTIONS, COPY_PREDICTIONS])
def test_predictions_have_the_grid_of_the_thin_truth(demo: Path, predictions: str) -> None:
    names = sorted(file.name for file in (demo / TRUTH).iterdir())
    assert names == sorted(file.name for file in (demo / predictions).glob("*.nii.gz"))
    assert len(names) == 2
    for name in names:
        truth, prediction = (sitk.ReadImage(str(demo / part / name)) for part in (TRUTH, predictions))
        assert prediction.GetSize() == truth.GetSize() == (32, 32, 20)  # four slices are not a slab
        assert prediction.GetSpacing() == pytest.approx(truth.GetSpacing())
        assert prediction.GetOrigin() == pytest.approx(truth.GetOrigin())
        assert set(np.unique(sitk.GetArrayViewFromImage(prediction))) <= set(range(len(BLEEDS) + 1))


def test_training_saw_thick_labels_alone(demo: Path) -> None:
    for file in (demo / RAW / "labelsTr").iterdir():
        slabs = sitk.GetArrayFromImage(sitk.ReadImage(str(file))).reshape(4, 5, 32, 32)
        assert (slabs == slabs[:, :1]).all()


def test_the_report_shows_the_summary_the_scans_and_the_commands(demo: Path) -> None:
    summary = json.loads((demo / "summary.json").read_text(), parse_constant=pytest.fail)  # strict: no NaN
    assert set(summary["mean"]) == {"1", "2"}
    assert None not in [summary["foreground_mean"][name] for name in ("Dice", "IoU", "HD95_mm", "n_pred", "n_ref")]
    report = (demo / "report.html").read_text()
    assert len(summary["metric_per_case"]) == 2
    assert "of 5 classes" not in report
    for label, name in enumerate(BLEEDS, 1):
        assert summary["cfseg"]["classes"][str(label)]["name"] == name
        assert f"{summary['mean'][str(label)]['Dice']:.3f}" in report
    for case in summary["metric_per_case"]:
        assert Path(case["reference_file"]).name.removesuffix(".nii.gz") in report
    assert "CFSEG_TIME_BUDGET_S=6" in report
    assert "Compared with copied labels" in report


def test_the_report_and_the_commands_name_no_place_on_this_machine(demo: Path) -> None:
    for name in ("report.html", "commands.sh", "summary.json"):
        assert str(demo.parent) not in (demo / name).read_text()


def test_another_setting_is_refused(demo: Path, commands: WarmCommands) -> None:
    before = (demo / "report.html").read_bytes()
    other = again(demo, commands, "--train_seconds", "7")
    assert other.returncode == 2
    assert other.stderr.count("\n") == 1
    assert "CFSEG_TIME_BUDGET_S=6" in other.stderr
    assert (demo / "report.html").read_bytes() == before
