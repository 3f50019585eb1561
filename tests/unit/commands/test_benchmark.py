"""``cfseg benchmark`` as it is typed; what it runs is tested elsewhere."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from nnunetv2_cfseg.benchmark import checks, run
from nnunetv2_cfseg.benchmark.matrix import Matrix
from nnunetv2_cfseg.cli import main

YAML = "datasets: [1]\nbudget_s: 60\nrows: {ours: {trainer: A_timed}, theirs: {trainer: B_timed}}\n"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "my matrix.yaml"
    path.write_text(YAML)
    return path


@pytest.fixture
def called(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Matrix, dict[str, Any]]]:
    calls: list[tuple[Matrix, dict[str, Any]]] = []

    def record(matrix: Matrix, output: Path, **settings: Any) -> Path:
        calls.append((matrix, settings))
        return output / "report.html"

    monkeypatch.setattr(run, "run", record)
    return calls


def benchmark(*arguments: object) -> int:
    return main(["benchmark", *map(str, arguments)])


def test_flags_overwrite_the_file(file: Path, called: list, capsys: pytest.CaptureFixture[str]) -> None:
    flags = ["-d", 7, "--seeds", 1, 2, "--rows", "theirs", "--slurm", "slurm_partition=gpu", "mem_gb=32"]
    assert benchmark(file, "-o", "out", *flags, "--launcher", "slurm", "--jobs", 4) == 0
    ((matrix, settings),) = called
    assert [cell.row.name for cell in matrix.cells()] == ["theirs", "theirs"]
    assert (matrix.datasets, matrix.seeds, matrix.budget_s) == (("7",), (1, 2), 60)
    assert settings["slurm"] == {"slurm_partition": "gpu", "mem_gb": 32}
    assert (settings["launcher"], settings["jobs"]) == ("slurm", 4)
    assert settings["command"].startswith(f"cfseg benchmark '{file}' -o out -d 7 --seeds 1 2 --rows theirs")
    assert "Wrote out/report.html" in capsys.readouterr().out


def test_without_a_file(called: list) -> None:
    assert benchmark("-o", "out", "-d", 1, 2, "-tr", "A", "B", "-p", "P", "Q", "-f", 0, 1, "-device", "cuda") == 0
    ((matrix, _),) = called
    assert [(row.name, row.trainer, matrix.plans_of(row)) for row in matrix.rows] == [
        ("A__P", "A", "P"),
        ("B__Q", "B", "Q"),
    ]
    assert (matrix.folds, matrix.device) == (("0", "1"), "cuda")


def test_a_dry_run_checks_and_runs_nothing(
    file: Path, called: list, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(checks, "checked_matrix", lambda matrix, *_, **__: matrix)
    assert benchmark(file, "-o", tmp_path / "out", "--dry_run", "--jobs", 2) == 0
    out = capsys.readouterr().out
    assert out.startswith("2 cells, 0 of them done; about 2 min with 2 at a time")
    assert out.splitlines()[1:] == ["  ours on 1, fold 0, seed 1", "  theirs on 1, fold 0, seed 1"]
    assert not called
    assert not (tmp_path / "out").exists()


def test_a_dry_run_is_refused_as_the_run_is(
    file: Path, nnunet_folders: SimpleNamespace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for flags in ([], ["--dry_run"]):
        assert benchmark(file, "-o", tmp_path / "out", *flags) == 2
        assert "one dataset in nnUNet_raw, got '1'" in capsys.readouterr().err
        assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--jobs", "0"], "--jobs must be from 1 to "),
        (["-tr", "A", "-p", "P"], "-tr and -p cannot be used with FILE"),
        (["--rows", "nobody"], "no row nobody; the rows are ours, theirs"),
        (["--slurm", "gpu=1"], "--slurm is only for --launcher slurm, got gpu=1"),
        (["--launcher", "slurm", "--slurm", "gpu"], "--slurm must be NAME=VALUE, got gpu"),
        (["--budget", "-1"], "budget_s must be > 0 and at most 2592000, got -1"),
    ],
)
def test_refuses(file: Path, called: list, flags: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert benchmark(file, "-o", "out", *flags) == 2
    assert message in capsys.readouterr().err
    assert not called


def test_refuses_a_file_that_is_not_there(called: list, capsys: pytest.CaptureFixture[str]) -> None:
    assert benchmark("nowhere.yaml", "-o", "out") == 2
    assert "nowhere.yaml" in capsys.readouterr().err


@pytest.mark.parametrize("flags", [[], ["-tr", "A", "-p", "P", "Q"]])
def test_refuses_trainers_without_plans(called: list, flags: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert benchmark("-o", "out", "-d", 1, *flags) == 2
    assert "without FILE there must be one -p for each -tr" in capsys.readouterr().err
