"""The demo's course with commands that are fakes: what is skipped, what goes on, and what the user is told."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from nnunetv2_cfseg import cli
from nnunetv2_cfseg.demo import report, run
from nnunetv2_cfseg.demo.folder import DemoFolder
from nnunetv2_cfseg.demo.settings import DemoSettings
from nnunetv2_cfseg.demo.steps import COPY_TRAINER, FOLDS, PREDICTIONS, demo_steps
from nnunetv2_cfseg.processes.subprocess_runner import CommandRunner

SETTINGS = DemoSettings(train=4, test=2, train_seconds=30)
FLAGS = ["--train", "4", "--test", "2", "--train_seconds", "30"]
ALL = [
    "cfseg phantom",
    "cfseg make_pairs",
    "python -c",
    "cfseg plan_and_preprocess",
    *(2 * ["nnUNetv2_train 999"]),
    *(2 * ["cfseg predict -i"]),
    "cfseg evaluate",
    "cfseg evaluate",
    "cfseg compare",
]


class Commands:
    """Stands in for :class:`Runner`: writes down what it is asked to run."""

    def __init__(self) -> None:
        self.runs: list[tuple[str, ...]] = []
        self.environments: list[dict[str, str]] = []
        self.before: Callable[[str], None] = lambda name: None

    def run(
        self,
        runner: CommandRunner,
        arguments: Sequence[str],
        *,
        environment: Mapping[str, str],
        watch: Callable,
        log: Path,
    ) -> None:
        self.runs.append(tuple(arguments))
        self.environments.append({**runner.environment, **environment})
        watch(0)
        self.before(" ".join(arguments[:2]) if arguments[0] == "cfseg" else arguments[0])

    def names(self) -> list[str]:
        names = [next(name for name in ALL if " ".join(run).startswith(name)) for run in self.runs]
        self.runs.clear()
        return names


@pytest.fixture
def commands(monkeypatch: pytest.MonkeyPatch) -> Commands:
    """Commands and the report are fakes."""
    fakes = Commands()

    def fake_run(self: CommandRunner, arguments: Sequence[str], **kwargs: Any) -> None:
        fakes.run(self, arguments, **kwargs)

    def fake_report(folder: DemoFolder, steps: object, settings: object) -> Path:
        return folder.write_text("report.html", "")

    monkeypatch.setattr(CommandRunner, "run", fake_run)
    monkeypatch.setattr(report, "write_report", fake_report)
    return fakes


def stop_at(name: str, error: BaseException) -> Callable[[str], None]:
    def stop(command: str) -> None:
        if command == name:
            raise error

    return stop


def test_all_steps_run_in_nnunets_folders_below_the_demos(commands: Commands, tmp_path: Path) -> None:
    path = tmp_path / "demo"
    assert run.run_demo(path, SETTINGS) == path / "report.html"
    assert commands.names() == ALL
    for environment in commands.environments:
        assert environment["nnUNet_raw"] == str(path / "nnUNet_raw")
        assert environment["nnUNet_extTrainer"].endswith("nnunet_ext")
    budgets = [environment.get("CFSEG_TIME_BUDGET_S") for environment in commands.environments]
    assert budgets == [*(4 * [None]), "30", "30", *(5 * [None])]
    assert (path / "nnUNet_raw").is_dir()
    assert "nnUNetv2_train" in (path / "commands.sh").read_text()


def test_every_step_is_announced(commands: Commands, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run.run_demo(tmp_path, SETTINGS)
    lines = [line for line in capsys.readouterr().err.replace("\r", "\n").splitlines() if "|" not in line]
    assert "about 3 min on two processor cores" in lines[0]
    begins = [line.split(" ")[0] for line in lines if line.startswith("[")]
    assert begins == [f"[{number}/8]" for number in range(1, 9)]
    assert any(line.startswith("[5/8] Training on thin and thick slices, about ") for line in lines)


def test_finished_steps_are_skipped(commands: Commands, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run.run_demo(tmp_path, SETTINGS)
    commands.names()
    capsys.readouterr()
    run.run_demo(tmp_path, SETTINGS)
    assert commands.names() == []
    assert "[5/8] Training on thin and thick slices: already done" in capsys.readouterr().err


@pytest.mark.parametrize("error", [KeyboardInterrupt(), ValueError("no space left")])
def test_a_step_that_was_stopped_runs_again_and_those_before_it_do_not(
    commands: Commands, tmp_path: Path, error: BaseException
) -> None:
    commands.before = stop_at("nnUNetv2_train", error)
    with pytest.raises(type(error)):
        run.run_demo(tmp_path, SETTINGS)
    assert commands.names() == ALL[:5]
    commands.before = lambda name: None
    run.run_demo(tmp_path, SETTINGS)
    assert commands.names() == ALL[4:]


@pytest.mark.parametrize(
    ("checkpoints", "flags"),
    [
        ([], ()),
        (["checkpoint_latest.pth", "checkpoint_best.pth"], ("--c",)),
        (["checkpoint_best.pth"], ("--c",)),
        (["checkpoint_best.pth", "checkpoint_final.pth"], ("--val",)),
        (["checkpoint_latest.pth.123.tmp"], ()),
    ],
)
def test_training_goes_on_from_its_checkpoint(
    commands: Commands, tmp_path: Path, checkpoints: list[str], flags: tuple[str, ...]
) -> None:
    run.run_demo(tmp_path / "whole", SETTINGS)
    commands.names()

    def die(name: str) -> None:
        if name == "nnUNetv2_train":
            (tmp_path / "demo" / FOLDS[COPY_TRAINER]).mkdir(parents=True)
            for checkpoint in checkpoints:
                (tmp_path / "demo" / FOLDS[COPY_TRAINER] / checkpoint).write_text("")
            raise KeyboardInterrupt

    commands.before = die
    with pytest.raises(KeyboardInterrupt):
        run.run_demo(tmp_path / "demo", SETTINGS)
    commands.before = lambda name: None
    first = commands.runs[-1]
    run.run_demo(tmp_path / "demo", SETTINGS)
    assert commands.runs[5] == (*first, *flags)


def test_predictions_of_a_run_that_was_stopped_are_made_anew(commands: Commands, tmp_path: Path) -> None:
    half = tmp_path / PREDICTIONS / "phantom_004.nii.gz"

    def die(name: str) -> None:
        if name == "cfseg predict":
            half.parent.mkdir()
            half.write_text("half")
            raise KeyboardInterrupt

    commands.before = die
    with pytest.raises(KeyboardInterrupt):
        run.run_demo(tmp_path, SETTINGS)
    commands.before = lambda name: None
    run.run_demo(tmp_path, SETTINGS)
    assert not half.exists()


def test_seconds_of_all_runs_are_added(commands: Commands, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(range(0, 1000, 10))
    monkeypatch.setattr(run.time, "monotonic", lambda: float(next(clock)))
    commands.before = stop_at("nnUNetv2_train", KeyboardInterrupt())
    step = demo_steps(SETTINGS)[3]
    with DemoFolder(tmp_path) as folder:
        for seconds, runs in ((10, 1), (20, 2)):
            with pytest.raises(KeyboardInterrupt):
                run.run_step(step, folder, CommandRunner(tmp_path, {}).run)
            record = folder.record(step)
            assert (record.seconds, record.runs, record.done) == (seconds, runs, False)
        commands.before = lambda name: None
        run.run_step(step, folder, CommandRunner(tmp_path, {}).run)
        assert (folder.record(step).seconds, folder.record(step).done) == (30, True)


class TestCommandLine:
    def test_passes_its_flags_on(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        calls: list[tuple[Path, DemoSettings]] = []
        monkeypatch.setattr(run, "run_demo", lambda output, settings: calls.append((output, settings)))
        flags = "--train 5 --test 3 --train_seconds 60 --seed 4 --matrix 32 48 56 --spacing 5 3 2.5"
        assert cli.main(["demo", "-o", str(tmp_path), *flags.split()]) == 0
        assert cli.main(["demo", "-o", str(tmp_path)]) == 0
        own = DemoSettings(train=5, test=3, matrix=(32, 48, 56), spacing_mm=(5, 3, 2.5), train_seconds=60, seed=4)
        assert calls == [(tmp_path, own), (tmp_path, DemoSettings())]

    def test_a_failure_is_a_sentence_and_status_2(
        self, commands: Commands, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        commands.before = stop_at("cfseg predict", ValueError("cfseg predict ended with status 1"))
        assert cli.main(["demo", "-o", str(tmp_path), *FLAGS]) == 2
        err = capsys.readouterr().err
        assert err.splitlines()[-1] == "cfseg demo: cfseg predict ended with status 1"
        assert "Traceback" not in err

    def test_a_stop_is_a_sentence_and_status_130(
        self, commands: Commands, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        commands.before = stop_at("nnUNetv2_train", KeyboardInterrupt())
        assert cli.main(["demo", "-o", str(tmp_path), *FLAGS]) == 130
        assert capsys.readouterr().err.splitlines()[-1] == "cfseg demo: stopped"

    def test_another_setting_is_refused_before_anything_runs(
        self, commands: Commands, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert cli.main(["demo", "-o", str(tmp_path), *FLAGS]) == 0
        commands.names()
        assert cli.main(["demo", "-o", str(tmp_path), *FLAGS, "--seed", "1"]) == 2
        assert commands.names() == []
        assert "«--seed 0» and would now be «--seed 1»" in capsys.readouterr().err.splitlines()[-1]
