"""The commands of the demo, as a user would type them in the demo's folder."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from nnunetv2_cfseg.demo.settings import CLASSES, DATASET, DATASET_ID, DATASET_NAME, VALIDATION_CASES, DemoSettings
from nnunetv2_cfseg.environment import EXT_FOLDER, EXT_TRAINER, FOLDERS

TRAINER = "nnUNetTrainerCFSeg_timed"
PLANS = "nnUNetCFSegPlans"
CONFIGURATION = "3d_fullres"
PROCESSES = 2
RAW = f"nnUNet_raw/{DATASET}"
PREPROCESSED = f"nnUNet_preprocessed/{DATASET}"
FOLD = f"nnUNet_results/{DATASET}/{TRAINER}__{PLANS}__{CONFIGURATION}/fold_0"
PREDICTIONS = "predictions"
SUMMARY = "summary.json"
REPORT = "report.html"
TITLE = "Five kinds of bleeding, found without convolution"

#: What every command runs with, beside nnU-Net's folders.
ENVIRONMENT = {EXT_TRAINER: EXT_FOLDER, "nnUNet_def_n_proc": str(PROCESSES)}

#: nnU-Net predicts a fold's validation cases when training ends. The demo keeps two of them and learns from the others.
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
        """The line for a shell."""
        variables = [f"{name}={shlex.quote(value)}" for name, value in self.environment.items()]
        return " ".join([*variables, shlex.join(self.arguments)])


@dataclass(frozen=True)
class Step:
    """Commands that belong together.

    Attributes:
        key: names its marker and its log.
        title: what the user reads while it runs.
        commands: run one after another in the demo's folder.
        expected_s: seconds on two processor cores.
    """

    key: str
    title: str
    commands: tuple[Command, ...]
    expected_s: float

    @property
    def log(self) -> Path:
        """Where what it prints goes, relative to the demo's folder."""
        return Path("logs", f"{self.key}.log")


def demo_steps(settings: DemoSettings) -> list[Step]:
    """All steps that are commands, in order."""
    size = settings.scan_size
    scans = settings.train + settings.test
    validation_s = 2 * 2 * VALIDATION_CASES * size
    return [
        Step("1_phantoms", "Making phantom scans", _phantoms(settings), 5 + 0.8 * scans * size),
        Step("2_preprocess", "Planning and preprocessing", (_preprocess(),), 15 + 0.2 * settings.train * size),
        Step("3_train", "Training", (_train(settings),), 15 + settings.train_seconds + validation_s),
        Step("4_predict", "Predicting unseen scans", (_predict(),), 15 + 1.5 * settings.test * size),
        Step("5_evaluate", "Evaluating", (_evaluate(),), 10),
    ]


def _phantoms(settings: DemoSettings) -> tuple[Command, ...]:
    phantoms = _command(
        f"cfseg phantom -d {DATASET_ID} -n {DATASET_NAME} --train {settings.train} --test {settings.test}",
        f"--matrix {' '.join(str(n) for n in settings.matrix)}",
        f"--spacing {' '.join(f'{mm:g}' for mm in settings.spacing_mm)}",
        f"--frequencies {' '.join(f'{name}=1' for name in CLASSES)} --smallest 0.66 --fresh",
        f"--seed {settings.seed} -np {PROCESSES}",
    )
    return phantoms, Command(("python", "-c", SPLIT))


def _preprocess() -> Command:
    return _command(
        f"cfseg plan_and_preprocess -d {DATASET_ID} -gpu_memory_target 1 -c {CONFIGURATION}",
        f"-np {PROCESSES} -npfp {PROCESSES}",
    )


def _train(settings: DemoSettings) -> Command:
    return _command(
        f"nnUNetv2_train {DATASET_ID} {CONFIGURATION} 0 -tr {TRAINER} -p {PLANS} -device cpu",
        CFSEG_TIME_BUDGET_S=f"{settings.train_seconds:g}",
        CFSEG_SEED=str(settings.seed),
    )


def _predict() -> Command:
    return _command(
        f"nnUNetv2_predict -i {RAW}/imagesTs -o {PREDICTIONS} -d {DATASET_ID} -c {CONFIGURATION} -f 0",
        f"-tr {TRAINER} -p {PLANS} --disable_tta -device cpu -npp 1 -nps 1",
    )


def _evaluate() -> Command:
    return _command(
        f"cfseg evaluate {RAW}/labelsTs {PREDICTIONS} -o {SUMMARY} -np {PROCESSES} --no_pbar",
    )


def _report() -> Command:
    """The page, but for what the demo tells of itself."""
    return _command(
        f"cfseg report {RAW}/labelsTs {PREDICTIONS} -i {RAW}/imagesTs -model {Path(FOLD).parent} -o {REPORT}",
        f"--title {shlex.quote(TITLE)}",
    )


def _command(*parts: str, **environment: str) -> Command:
    return Command(tuple(shlex.split(" ".join(parts))), environment)


def shell_script(steps: list[Step]) -> str:
    """All commands for bash, after the variables that nnU-Net needs; to be run in the demo's folder or in any other."""
    lines = [
        "# Every command of the demo. Run it in an empty folder to have all of it again: bash commands.sh",
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
    """The command over several lines, broken before flags."""
    if "\n" in str(command):
        return str(command)
    lines = [""]
    for part in re.split(" (?=--?[a-zA-Z])", str(command)):
        if lines[-1] and len(lines[-1]) + len(part) > width:
            lines.append("   ")
        lines[-1] = f"{lines[-1]} {part}" if lines[-1] else part
    return " \\\n".join(lines)
