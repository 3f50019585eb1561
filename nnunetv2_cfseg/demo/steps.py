"""The demo's steps and commands, as a user would type them in the demo's folder."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from nnunetv2_cfseg.demo.settings import (
    BLEEDS,
    DATASET,
    DATASET_ID,
    DATASET_NAME,
    FACTOR,
    PROCESSES,
    SOURCE,
    SOURCE_ID,
    SOURCE_NAME,
    VALIDATION_CASES,
    DemoSettings,
)
from nnunetv2_cfseg.nnunet.environment import EXT_FOLDER, EXT_TRAINER, FOLDERS

#: Trainers of the paired training, and of the one with thick labels copied to every thin slice.
TRAINER, COPY_TRAINER = "nnUNetTrainerCFSegThinThick_timed", "nnUNetTrainerCFSeg_timed"
PLANS = "nnUNetThinThickPlans"
CONFIGURATION = "3d_fullres"
RAW = f"nnUNet_raw/{DATASET}"
PREPROCESSED = f"nnUNet_preprocessed/{DATASET}"
FOLDS = {
    trainer: f"nnUNet_results/{DATASET}/{trainer}__{PLANS}__{CONFIGURATION}/fold_0"
    for trainer in (TRAINER, COPY_TRAINER)
}
TRUTH = f"{RAW}/labelsTs_thin"
PREDICTIONS, COPY_PREDICTIONS = "predictions", "predictions_copy"
COMPARISON = "comparison"
SUMMARY, COPY_SUMMARY = "summary.json", "summary_copy.json"
#: Tables written beside the summaries.
TABLE, COPY_TABLE = "summary.csv", "summary_copy.csv"
REPORT = "report.html"
TITLE = "Thin slices, learnt from annotations of thick ones"

#: Environment variables of every command, besides nnU-Net's folders.
ENVIRONMENT = {EXT_TRAINER: EXT_FOLDER, "nnUNet_def_n_proc": str(PROCESSES)}

#: nnU-Net predicts a fold's validation cases when training ends. The demo keeps two of them and trains on the others.
SPLIT = f"""
import json, pathlib
file = pathlib.Path("{RAW}/splits_final.json")
fold = json.loads(file.read_text())[0]
train, val = fold["train"] + fold["val"][{VALIDATION_CASES}:], fold["val"][:{VALIDATION_CASES}]
file.write_text(json.dumps([{{"train": train, "val": val}}]))
"""


@dataclass(frozen=True)
class Command:
    """One command with the environment variables that only it needs."""

    arguments: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        """The command line for a shell."""
        variables = [f"{name}={shlex.quote(value)}" for name, value in self.environment.items()]
        return " ".join([*variables, shlex.join(self.arguments)])


@dataclass(frozen=True)
class Step:
    """Commands that belong together.

    Attributes:
        key: name of its record and its log.
        title: shown while it runs.
        commands: run one after another in the demo's folder.
        expected_s: expected seconds on two processor cores.
    """

    key: str
    title: str
    commands: tuple[Command, ...]
    expected_s: float

    @property
    def log(self) -> Path:
        """File of the step's output, relative to the demo's folder."""
        return Path("logs", f"{self.key}.log")


def demo_steps(settings: DemoSettings) -> list[Step]:
    """All steps in order, except for the report."""
    size = settings.scan_size
    scans = settings.train + settings.test
    train_s = 15 + settings.train_seconds + 4 * VALIDATION_CASES * size
    return [
        Step("1_phantoms", "Making phantom scans of thin slices", (_phantoms(settings),), 5 + 1.2 * scans * size),
        Step("2_pairs", "Annotating them on thick slices", _pairs(), 5 + 0.2 * scans * size),
        Step("3_preprocess", "Planning and preprocessing", (_preprocess(),), 15 + 0.3 * settings.train * size),
        Step("4_train_copy", "Training on copied labels, to compare", (_train(settings, COPY_TRAINER),), train_s),
        Step("5_train", "Training on thin and thick slices", (_train(settings, TRAINER),), train_s),
        Step(
            "6_predict",
            "Predicting unseen scans with both",
            (_predict(COPY_TRAINER, COPY_PREDICTIONS), _predict(TRAINER, PREDICTIONS)),
            2 * (6 + settings.test * size),
        ),
        Step("7_evaluate", "Evaluating", _evaluate(), 20),
    ]


def _phantoms(settings: DemoSettings) -> Command:
    return _command(
        f"cfseg phantom -d {SOURCE_ID} -n {SOURCE_NAME} --train {settings.train} --test {settings.test}",
        f"--matrix {' '.join(str(n) for n in settings.matrix)}",
        f"--spacing {' '.join(f'{mm:g}' for mm in settings.spacing_mm)}",
        f"--classes {' '.join(BLEEDS)}",
        f"--frequencies {' '.join(f'{name}=1' for name in BLEEDS)} --smallest 0.66 --fresh",
        f"--seed {settings.seed} -np {PROCESSES}",
    )


def _pairs() -> tuple[Command, ...]:
    pairs = _command(
        f"cfseg make_pairs -i nnUNet_raw/{SOURCE} -d {DATASET_ID} -n {DATASET_NAME} --factor {FACTOR}",
        f"--no_pictures -np {PROCESSES} --no_pbar",
    )
    return pairs, Command(("python", "-c", SPLIT))


def _preprocess() -> Command:
    return _command(
        f"cfseg plan_and_preprocess -d {DATASET_ID} -pl ThinThickPlanner -gpu_memory_target 1 -c {CONFIGURATION}",
        f"-np {PROCESSES} -npfp {PROCESSES}",
    )


def _train(settings: DemoSettings, trainer: str) -> Command:
    return _command(
        f"nnUNetv2_train {DATASET_ID} {CONFIGURATION} 0 -tr {trainer} -p {PLANS} -device cpu",
        CFSEG_TIME_BUDGET_S=f"{settings.train_seconds:g}",
        CFSEG_SEED=str(settings.seed),
    )


def _predict(trainer: str, predictions: str) -> Command:
    return _command(
        f"cfseg predict -i {RAW}/imagesTs -o {predictions} -d {DATASET_ID} -c {CONFIGURATION} -f 0",
        f"-tr {trainer} -p {PLANS} -device cpu --disable_progress_bar",
    )


def _evaluate() -> tuple[Command, ...]:
    """Measure each folder once; the comparison and the report read the tables."""
    measure = [
        _command(f"cfseg evaluate {TRUTH} {predictions} -o {summary} -np {PROCESSES} --no_pbar")
        for predictions, summary in ((COPY_PREDICTIONS, COPY_SUMMARY), (PREDICTIONS, SUMMARY))
    ]
    compare = _command(
        f"cfseg compare {COPY_PREDICTIONS} {PREDICTIONS} -gt {TRUTH} -o {COMPARISON} --names copied paired",
        f"--from {COPY_TABLE} {TABLE} --metrics Dice boundary_Dice absolute_volume_error_ml",
    )
    return (*measure, compare)


def _report() -> Command:
    """The command that writes the page without the demo's own text and sections."""
    return _command(
        f"cfseg report {TRUTH} {PREDICTIONS} -i {RAW}/imagesTs -model {Path(FOLDS[TRAINER]).parent} -o {REPORT}",
        f"--from {TABLE} --title {shlex.quote(TITLE)}",
    )


def _command(*parts: str, **environment: str) -> Command:
    return Command(tuple(shlex.split(" ".join(parts))), environment)


def shell_script(steps: list[Step]) -> str:
    """A bash script with all commands, after the variables that nnU-Net needs; it runs in any folder."""
    lines = [
        "# All commands of the demo. To repeat the demo, run this in an empty folder: bash commands.sh",
        "set -e",
        *(f'export {name}="$PWD/{name}"' for name in FOLDERS),
        'mkdir -p "$nnUNet_raw" "$nnUNet_preprocessed" "$nnUNet_results"',
        f"export nnUNet_def_n_proc={PROCESSES}  # nnU-Net's workers; its default is 8",
        'eval "$(cfseg env)"  # nnU-Net finds our trainers',
    ]
    for number, step in enumerate(steps, 1):
        lines += ["", f"# {number}. {step.title}", *(_folded(command) for command in step.commands)]
    lines += ["", f"# {len(steps) + 1}. Writing the report", _folded(_report())]
    return "\n".join(lines) + "\n"


def _folded(command: Command, width: int = 110) -> str:
    """The command on several lines, broken before flags."""
    if "\n" in str(command):
        return str(command)
    lines = [""]
    for part in re.split(" (?=--?[a-zA-Z])", str(command)):
        if lines[-1] and len(lines[-1]) + len(part) > width:
            lines.append("   ")
        lines[-1] = f"{lines[-1]} {part}" if lines[-1] else part
    return " \\\n".join(lines)
