"""``cfseg quantify``: its flags reach the function, and bad input is one line on stderr."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from nnunetv2_cfseg import cli
from nnunetv2_cfseg.commands import quantify as command
from nnunetv2_cfseg.nnunet.classes import Classes
from nnunetv2_cfseg.quantify import run
from nnunetv2_cfseg.quantify.record import QuantifySettings
from nnunetv2_cfseg.quantify.run import Quantities


@pytest.fixture(autouse=True)
def _only_this_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cli, "COMMANDS", (command,))


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple[tuple, dict[str, Any]]]:
    """What the function was called with; it measures nothing."""
    made: list[tuple[tuple, dict[str, Any]]] = []

    def record(*args: Any, **kwargs: Any) -> Quantities:
        made.append((args, kwargs))
        return Quantities([], Classes((), None, frozenset()))

    monkeypatch.setattr(run, "quantify", record)
    return made


def test_arguments_reach_the_function(calls: list, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = "quantify a b.nii.gz -djfile d.json -o out -i images --mesh --scans s.csv --smallest_ml 0.5 -np 3"
    assert cli.main([*arguments.split(), "--no_pbar"]) == 0
    assert calls == [
        (
            ([Path("a"), Path("b.nii.gz")], Path("out")),
            {
                "dataset_json": Path("d.json"),
                "images": Path("images"),
                "settings": QuantifySettings(0.5, True, Path("s.csv"), None),
                "num_processes": 3,
                "progress": False,
            },
        )
    ]
    assert capsys.readouterr().out == "0 cases, 0 with a midline by symmetry: out\n"


def test_most_arguments_have_defaults(calls: list) -> None:
    assert cli.main(["quantify", "a", "-o", "out"]) == 0
    assert calls[0][1] == {
        "dataset_json": None,
        "images": None,
        "settings": QuantifySettings(),
        "num_processes": 2,
        "progress": True,
    }


def test_patients_come_from_a_table_or_a_pattern(calls: list, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main(["quantify", "a", "-o", "out", "--scans", "s.csv", "--patient_pattern", "(p)"])
    assert "not allowed with" in capsys.readouterr().err
    assert cli.main(["quantify", "a", "-o", "out", "--patient_pattern", "(p)"]) == 0
    assert calls[0][1]["settings"].patient_pattern == "(p)"


def test_bad_input_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["quantify", str(tmp_path / "none"), "-o", str(tmp_path / "out")]) == 2
    captured = capsys.readouterr()
    assert captured.err.splitlines() == [
        f"cfseg quantify: a segmentation must be a file or a folder of some, and there is none: {tmp_path / 'none'}"
    ]
    assert captured.out == ""
