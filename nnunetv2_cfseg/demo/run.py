"""Run the demo: phantoms annotated on thick slices, two trainings, prediction of unseen scans, and a report."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path

from nnunetv2_cfseg.data.phantom.settings import PhantomSettings
from nnunetv2_cfseg.demo.folder import DemoFolder, Record
from nnunetv2_cfseg.demo.progress import Files, TrainingLog, Watcher, bar
from nnunetv2_cfseg.demo.settings import PROCESSES, SOURCE, DemoSettings
from nnunetv2_cfseg.demo.steps import (
    CONFIGURATION,
    COPY_PREDICTIONS,
    COPY_TRAINER,
    ENVIRONMENT,
    FOLDS,
    PLANS,
    PREDICTIONS,
    PREPROCESSED,
    RAW,
    TRAINER,
    Command,
    Step,
    demo_steps,
    shell_script,
)
from nnunetv2_cfseg.nnunet.environment import FOLDERS
from nnunetv2_cfseg.processes.stop_signals import stopped_by_signals
from nnunetv2_cfseg.processes.subprocess_runner import CommandRunner

REPORT_S = 10


def run_demo(output: Path, settings: DemoSettings) -> Path:
    """Run the steps of a demo that are not done yet, and return the file of its report.

    Args:
        output: the demo's folder: a new one, or one of a demo that was stopped.
        settings: the demo's settings.

    Raises:
        ValueError: the folder holds something else or a demo with other settings, or a command failed.
    """
    PhantomSettings(settings.matrix, settings.spacing_mm).require_memory(processes=PROCESSES)
    steps = demo_steps(settings)
    with DemoFolder(output) as folder, stopped_by_signals():
        folder.check(steps)
        folder.write_text("commands.sh", shell_script(steps))
        _announce(folder, steps)
        runner = _runner(folder)
        count = len(steps) + 1
        for number, step in enumerate(steps, 1):
            if folder.record(step).done:
                _say(f"[{number}/{count}] {step.title}: already done")
                continue
            _say(f"[{number}/{count}] {step.title}, about {_duration(step.expected_s)} (log: {folder.path / step.log})")
            run_step(step, folder, runner.run, _watcher(step, folder.path, settings))
        _say(f"[{count}/{count}] Writing the report")
        report = _report(folder, steps, settings)
        _say(f"Done. Open {report}")
        return report


def run_step(step: Step, folder: DemoFolder, run: Callable[..., None], watcher: Watcher | None = None) -> None:
    """Run the commands of a step and record its time, even if it is stopped.

    Args:
        step: the step to run.
        folder: the demo's folder.
        run: :meth:`~nnunetv2_cfseg.processes.subprocess_runner.CommandRunner.run`.
        watcher: watches the progress of the step for a bar.

    Raises:
        ValueError: a command failed.
    """
    before, begun, done = folder.record(step), time.monotonic(), False
    folder.keep(step, before)
    if step.key == "6_predict":  # a prediction that was stopped may have left broken files
        for predictions in (PREDICTIONS, COPY_PREDICTIONS):
            shutil.rmtree(folder.path / predictions, ignore_errors=True)
    try:
        with bar(watcher) as shown:
            for command in step.commands:
                arguments = (*command.arguments, *_continuation(command, folder.path))
                watch = shown.update if shown else lambda pid: None
                run(arguments, environment=command.environment, log=step.log, watch=watch)
        done = True
    finally:
        seconds = before.seconds + time.monotonic() - begun
        folder.keep(step, Record(seconds=seconds, runs=before.runs + 1, done=done))


def _continuation(command: Command, path: Path) -> tuple[str, ...]:
    """nnU-Net's flag to continue a training that was stopped; empty for other commands."""
    if command.arguments[0] != "nnUNetv2_train":
        return ()
    fold = path / FOLDS[command.arguments[command.arguments.index("-tr") + 1]]
    if (fold / "checkpoint_final.pth").is_file():
        return ("--val",)
    if any((fold / f"checkpoint_{name}.pth").is_file() for name in ("latest", "best")):
        return ("--c",)
    return ()


def _watcher(step: Step, path: Path, settings: DemoSettings) -> Watcher | None:
    scans = settings.train + settings.test
    labels = ("labelsTr/*.nii.gz", "labelsTs/*.nii.gz")
    watchers: dict[str, Watcher] = {
        "1_phantoms": Files(path / "nnUNet_raw" / SOURCE, *labels, total=scans),
        "2_pairs": Files(path / RAW, *labels, total=scans),
        "3_preprocess": Files(path / PREPROCESSED / f"{PLANS}_{CONFIGURATION}", "*.pkl", total=settings.train),
        "4_train_copy": TrainingLog(path / FOLDS[COPY_TRAINER], settings.train_seconds),
        "5_train": TrainingLog(path / FOLDS[TRAINER], settings.train_seconds),
        "6_predict": Files(path, f"{PREDICTIONS}/*.nii.gz", f"{COPY_PREDICTIONS}/*.nii.gz", total=2 * settings.test),
    }
    return watchers.get(step.key)


def _runner(folder: DemoFolder) -> CommandRunner:
    environment = {name: str(folder.path.resolve() / name) for name in FOLDERS}
    for path in environment.values():
        Path(path).mkdir(exist_ok=True)
    return CommandRunner(folder.path, {**environment, **ENVIRONMENT}, inherited=folder.lock)


def _report(folder: DemoFolder, steps: list[Step], settings: DemoSettings) -> Path:
    from nnunetv2_cfseg.demo.report import write_report  # matplotlib and SimpleITK: slow to import

    return write_report(folder, steps, settings)


def _announce(folder: DemoFolder, steps: list[Step]) -> None:
    left_s = REPORT_S + sum(max(0.0, step.expected_s - folder.record(step).seconds)
                            for step in steps if not folder.record(step).done)  # fmt: skip
    _say(
        f"A demo in {folder.path}: about {_duration(left_s)} on two processor cores. Ctrl-C stops it, and the same "
        "command continues it."
    )


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
