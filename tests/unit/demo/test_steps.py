"""The demo's commands: that the commands take them, and that they are what a shell would run."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from nnunetv2_cfseg import cli
from nnunetv2_cfseg.demo.settings import BLEEDS, FACTOR, SOURCE, DemoSettings
from nnunetv2_cfseg.demo.steps import (
    COPY_PREDICTIONS,
    COPY_SUMMARY,
    COPY_TABLE,
    COPY_TRAINER,
    PLANS,
    PREDICTIONS,
    RAW,
    REPORT,
    SUMMARY,
    TABLE,
    TRAINER,
    Command,
    demo_steps,
    shell_script,
)
from nnunetv2_cfseg.planners.thin_thick_planner import THIN_THICK_PLANS_NAME
from nnunetv2_cfseg.trainers import variants

SETTINGS = DemoSettings(
    train=7, test=3, matrix=(32, 40, 48), spacing_mm=(5, 2.5, 2), train_seconds=42.5, seed=8
)  # fmt: skip


def commands(settings: DemoSettings = SETTINGS) -> list[Command]:
    return [command for step in demo_steps(settings) for command in step.commands]


def test_cfseg_takes_its_commands() -> None:
    parsed = [cli._parser().parse_args(c.arguments[1:]) for c in commands() if c.arguments[0] == "cfseg"]
    phantom, pairs, plan, *predictions, measure_copy, evaluate, compare = parsed
    assert (phantom.d, phantom.n, phantom.train, phantom.test, phantom.seed) == (998, "PhantomThin", 7, 3, 8)
    assert (phantom.matrix, phantom.spacing) == ([32, 40, 48], [5, 2.5, 2])
    assert dict(phantom.frequencies) == dict.fromkeys(BLEEDS, 1.0)
    assert phantom.fresh
    assert (str(pairs.i), pairs.d, pairs.factor) == (f"nnUNet_raw/{SOURCE}", 999, FACTOR)
    assert (plan.d, plan.c, plan.pl, plan.overwrite_plans_name) == ([999], ["3d_fullres"], "ThinThickPlanner", None)
    assert [(one.d, one.c, str(one.o)) for one in predictions] == [
        ("999", "3d_fullres", folder) for folder in (COPY_PREDICTIONS, PREDICTIONS)
    ]
    assert phantom.classes == list(BLEEDS)
    assert (str(measure_copy.pred_folder), str(measure_copy.o)) == (COPY_PREDICTIONS, COPY_SUMMARY)
    assert (str(evaluate.pred_folder), str(evaluate.o)) == (PREDICTIONS, SUMMARY)
    assert [str(folder) for folder in compare.folders] == [COPY_PREDICTIONS, PREDICTIONS]
    written = [one.o.with_suffix(".csv") for one in (measure_copy, evaluate)]
    assert getattr(compare, "from") == written == [Path(COPY_TABLE), Path(TABLE)]


def test_cfseg_takes_the_scripts_last_command() -> None:
    last = shlex.split(shell_script(demo_steps(SETTINGS)).replace("\\\n", " ").splitlines()[-1])
    report = cli._parser().parse_args(last[1:])
    assert (report.command, str(report.pred_folder), str(report.o)) == ("report", PREDICTIONS, REPORT)
    assert getattr(report, "from") == Path(TABLE)
    assert report.model.name == f"{TRAINER}__{PLANS}__3d_fullres"


def test_names_are_the_planners_and_the_trainers() -> None:
    assert PLANS == THIN_THICK_PLANS_NAME
    assert all(hasattr(variants, trainer) for trainer in (TRAINER, COPY_TRAINER))


def test_training_has_its_seconds_and_seed() -> None:
    trainings = [c for c in commands() if c.arguments[0] == "nnUNetv2_train"]
    assert [c.environment for c in trainings] == 2 * [{"CFSEG_TIME_BUDGET_S": "42.5", "CFSEG_SEED": "8"}]


def test_no_command_names_a_place_on_this_machine() -> None:
    assert not any(word.startswith("/") for c in commands() for word in c.arguments)


def test_the_script_is_what_runs(tmp_path: Path) -> None:
    """Bash, with functions in the place of the commands, sees the same arguments and variables."""
    names = {c.arguments[0] for c in commands()}
    fakes = "\n".join(
        f"{name}() {{ "
        f"python3 -c 'import json, os, sys; print(json.dumps([sys.argv[1:], os.environ.get(\"CFSEG_SEED\")]))' "
        f'{name} "$@"; }}'
        for name in names - {"python"}
    )
    fakes += (
        '\npython() { command python3 -c "import json, sys; print(json.dumps([sys.argv[1:], None]))" python "$@"; }'
    )
    script = shell_script(demo_steps(SETTINGS)).replace('eval "$(cfseg env)"', "")
    done = subprocess.run(
        ["bash"], input=fakes + "\n" + script, text=True, capture_output=True, cwd=tmp_path, check=True
    )
    seen = [json.loads(line) for line in done.stdout.splitlines()]
    *seen, report = seen
    assert seen == [[list(c.arguments), c.environment.get("CFSEG_SEED")] for c in commands()]
    assert report[0][:2] == ["cfseg", "report"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["nnUNet_preprocessed", "nnUNet_raw", "nnUNet_results"]


def test_lines_of_the_script_are_short() -> None:
    assert max(len(line) for line in shell_script(demo_steps(DemoSettings())).splitlines()) <= 120


def test_a_command_is_one_line_for_a_shell() -> None:
    command = Command(("cfseg", "phantom", "-n", "a b"), {"A": "c d"})
    assert shlex.split(str(command)) == ["A=c d", "cfseg", "phantom", "-n", "a b"]


def test_the_split_keeps_two_cases_for_validation_and_all_the_others(tmp_path: Path) -> None:
    folder = tmp_path / RAW
    folder.mkdir(parents=True)
    folds = [{"train": ["d", "e"], "val": ["a", "b", "c"]}, {"train": ["a", "b", "c"], "val": ["d", "e"]}]
    (folder / "splits_final.json").write_text(json.dumps(folds))
    (split,) = [c for c in commands() if c.arguments[0] == "python"]
    for _ in range(2):  # a step that was stopped runs it again
        subprocess.run([sys.executable, *split.arguments[1:]], cwd=tmp_path, check=True)
        content = json.loads((folder / "splits_final.json").read_text())
        assert content == [{"train": ["d", "e", "c"], "val": ["a", "b"]}]


def test_a_demo_is_expected_to_take_less_than_twelve_minutes() -> None:
    assert 360 < sum(step.expected_s for step in demo_steps(DemoSettings())) < 12 * 60


@pytest.mark.parametrize(
    ("settings", "rule"),
    [
        ({"train": 2}, "--train must be more than 2 scans, got 2"),
        ({"test": 0}, "--test must be at least 1 scan, got 0"),
        ({"matrix": (64, 15, 64)}, "matrix must be at least 16 .*, got \\(64, 15, 64\\)"),
        ({"spacing_mm": (1, 0, 1)}, "spacing must be from 0.05 .*, got \\(1, 0, 1\\)"),
        ({"train_seconds": 0}, "--train_seconds must be a positive number of seconds, .* got 0"),
        ({"train_seconds": float("nan")}, "--train_seconds must be .*, got nan"),
        ({"seed": -1}, "a seed must be .*, got -1"),
        ({"seed": 2**32}, "a seed must be"),
    ],
)
def test_settings_out_of_range_are_refused(settings: dict, rule: str) -> None:
    with pytest.raises(ValueError, match=rule):
        DemoSettings(**settings)
