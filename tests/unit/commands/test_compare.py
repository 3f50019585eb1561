"""The flags of ``cfseg compare`` and what they are passed on as."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from nnunetv2_cfseg import cli
from nnunetv2_cfseg.commands import compare
from nnunetv2_cfseg.evaluation.compare import folders as evaluation_compare
from nnunetv2_cfseg.evaluation.compare import markdown, output_files
from nnunetv2_cfseg.evaluation.metrics import MetricSettings


@pytest.fixture(autouse=True)
def _command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cli, "COMMANDS", (compare,))


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple[tuple, dict[str, Any]]]:
    """What ``compare_folders`` is called with; nothing is compared or written."""
    calls: list[tuple[tuple, dict[str, Any]]] = []

    def record(*args: Any, **kwargs: Any) -> str:
        calls.append((args, kwargs))
        return "the comparison"

    monkeypatch.setattr(evaluation_compare, "compare_folders", record)
    monkeypatch.setattr(output_files, "write_comparison", lambda comparison, folder: calls.append(((), {})))
    monkeypatch.setattr(markdown, "markdown", lambda comparison: f"tables of {comparison}\n")
    return calls


def test_has_defaults_for_all_but_folders_truth_and_output(
    calls: list[tuple[tuple, dict[str, Any]]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("nnUNet_def_n_proc", "3")
    assert cli.main(["compare", "a", "b", "-gt", "gt", "-o", str(tmp_path / "out")]) == 0
    assert len(calls) == 2  # compared and written
    assert calls[0] == (
        ([Path("a"), Path("b")], Path("gt")),
        {
            "dataset_json": None,
            "plans_json": None,
            "settings": MetricSettings(),
            "metrics": ("Dice", "NSD", "HD95_mm"),
            "names": None,
            "reference": None,
            "only_common": False,
            "seed": 0,
            "tables": None,
            "num_processes": 3,
            "progress": True,
        },
    )
    assert capsys.readouterr().out == "tables of the comparison\n"


def test_passes_flags_on(calls: list[tuple[tuple, dict[str, Any]]], tmp_path: Path) -> None:
    flags = f"-gt gt -o {tmp_path} -djfile d.json -pfile p.json -ref b --metrics IoU ASSD_mm --names x y z -np 5"
    flags += " --tolerance 2 --lesion_overlap 0.5 --factor 4 --seed 7 --chill --no_pbar"
    flags += " --from a.csv b.csv c.csv"
    assert cli.main(["compare", "a", "b", "c", *flags.split()]) == 0
    assert calls[0] == (
        ([Path("a"), Path("b"), Path("c")], Path("gt")),
        {
            "dataset_json": Path("d.json"),
            "plans_json": Path("p.json"),
            "settings": MetricSettings(tolerance_mm=2, lesion_overlap=0.5, factor=4),
            "metrics": ["IoU", "ASSD_mm"],
            "names": ["x", "y", "z"],
            "reference": Path("b"),
            "only_common": True,
            "seed": 7,
            "tables": [Path("a.csv"), Path("b.csv"), Path("c.csv")],
            "num_processes": 5,
            "progress": False,
        },
    )


@pytest.mark.parametrize("missing", ["-gt", "-o"])
def test_needs_truth_and_output(missing: str, capsys: pytest.CaptureFixture[str]) -> None:
    flags = {"-gt": "gt", "-o": "out"}
    del flags[missing]
    with pytest.raises(SystemExit) as stop:
        cli.main(["compare", "a", "b", *(word for flag in flags.items() for word in flag)])
    assert stop.value.code == 2
    assert missing in capsys.readouterr().err


def test_refuses_a_file_as_output_before_anything_is_measured(
    calls: list[tuple[tuple, dict[str, Any]]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "out").touch()
    assert cli.main(["compare", "a", "b", "-gt", "gt", "-o", str(tmp_path / "out")]) == 2
    assert calls == []
    assert capsys.readouterr().err == f"cfseg compare: -o must name a folder, got a file: {tmp_path / 'out'}\n"


def test_refuses_a_number_of_processes_that_is_none(
    calls: list[tuple[tuple, dict[str, Any]]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("nnUNet_def_n_proc", "many")
    assert cli.main(["compare", "a", "b", "-gt", "gt", "-o", str(tmp_path / "out")]) == 2
    assert capsys.readouterr().err.endswith("nnUNet_def_n_proc must be a number of processes, got 'many'\n")


def test_its_help_waits_for_no_library() -> None:
    slow = {"pandas", "scipy", "SimpleITK", "torch"}
    code = f"import sys, nnunetv2_cfseg.commands.compare; print({slow} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
