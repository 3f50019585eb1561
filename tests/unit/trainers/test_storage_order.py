"""The warning of files in another order than the model's, in nnU-Net's own prediction."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

from nnunetv2_cfseg.trainers.cfseg import nnUNetTrainerCFSeg
from nnunetv2_cfseg.trainers.storage_order import warn_of_other_orders

LPS = (1, 0, 0, 0, 1, 0, 0, 0, 1)
LAS = (1, 0, 0, 0, -1, 0, 0, 0, 1)
RAS = (-1, 0, 0, 0, -1, 0, 0, 0, 1)


@pytest.fixture
def scans(tmp_path: Path, write_scan: Callable[..., Path]) -> Path:
    """Two files in the order LPS, one in LAS and one in RAS."""
    for name, direction in (("a", LPS), ("b", LAS), ("c", RAS), ("d", LPS)):
        write_scan(f"{name}_0000.nii.gz", direction=direction)
    write_scan("b_0001.nii.gz", direction=LAS)  # another channel, the same case
    return tmp_path / "scans"


@pytest.fixture
def warn(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """A function that runs a command line as far as the warning, and returns what stderr then holds."""

    def run(*line: str, order: Any = "LPS", reader: Any = "SimpleITKIO") -> str:
        monkeypatch.setattr(sys, "argv", list(line))
        warn_of_other_orders({"image_reader_writer": reader}, {"cfseg": {"storage_order": order}})
        return capsys.readouterr().err

    return run


MODEL = ("-m", "model")
DATASET = ("-d", "501", "-c", "3d_fullres", "-tr", "T", "-p", "P", "-o", "out")


@pytest.mark.parametrize("command", ["nnUNetv2_predict", "/env/bin/nnUNetv2_predict_from_modelfolder"])
def test_names_number_first_file_and_orders(command: str, scans: Path, warn: Callable[..., str]) -> None:
    (line,) = warn(command, *DATASET, "-i", str(scans)).splitlines()
    assert line.startswith("WARNING: 2 of the files")
    assert "LAS instead of LPS" in line
    assert "b_0000.nii.gz" in line
    assert "cfseg predict turns them" in line


@pytest.mark.parametrize("written", [("-i", "{}"), ("-i={}",), ("-i{}",), ("--verbose", "-i", "{}", *MODEL)])
def test_takes_the_folder_as_argparse_does(written: tuple[str, ...], scans: Path, warn: Callable[..., str]) -> None:
    assert "WARNING: 2 of" in warn("nnUNetv2_predict", *(part.format(scans) for part in written))


@pytest.mark.parametrize(("order", "number"), [("LPS", 2), ("LAS", 3), ("RAI", 4)])
def test_is_of_the_models_order(order: str, number: int, scans: Path, warn: Callable[..., str]) -> None:
    assert f"WARNING: {number} of" in warn("nnUNetv2_predict", "-i", str(scans), order=order)


def test_says_nothing_where_all_are_in_order(scans: Path, warn: Callable[..., str]) -> None:
    for name in ("b_0000.nii.gz", "c_0000.nii.gz"):
        (scans / name).unlink()
    assert warn("nnUNetv2_predict", "-i", str(scans)) == ""


@pytest.mark.parametrize("reader", ["NibabelIOWithReorient", "SimpleITKIOWithReorient", None, 5])
def test_says_nothing_of_a_reader_that_turns(reader: Any, scans: Path, warn: Callable[..., str]) -> None:
    assert warn("nnUNetv2_predict", "-i", str(scans), reader=reader) == ""


@pytest.mark.parametrize("order", [None])
def test_says_nothing_where_the_plans_do_not(order: Any, scans: Path, warn: Callable[..., str]) -> None:
    assert warn("nnUNetv2_predict", "-i", str(scans), order=order) == ""


@pytest.mark.parametrize("command", ["nnUNetv2_train", "python", "cfseg", "pytest", ""])
def test_says_nothing_in_another_program(command: str, scans: Path, warn: Callable[..., str]) -> None:
    assert warn(command, "-i", str(scans)) == ""


@pytest.mark.parametrize(
    "line", [(), ("-i",), ("-i", "nothing"), ("-i", "/dev/null"), ("-i", ""), ("-i", "\0"), ("-o", "-i", "x")]
)
def test_passes_over_odd_command_lines(line: tuple[str, ...], warn: Callable[..., str]) -> None:
    assert warn("nnUNetv2_predict", *line) == ""


def test_passes_over_no_arguments_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", [])
    warn_of_other_orders({}, {})


@pytest.mark.parametrize("content", [b"", b"text", b"\x1f\x8b" + bytes(400)])
def test_passes_over_odd_files(content: bytes, scans: Path, warn: Callable[..., str]) -> None:
    (scans / "a0_0000.nii.gz").write_bytes(content)
    (scans / "folder_0000.nii.gz").mkdir()
    (scans / "gone_0000.nii.gz").symlink_to("nowhere")
    (scans / "dataset.json").write_text("{}")
    assert "WARNING: 2 of" in warn("nnUNetv2_predict", "-i", str(scans))


@pytest.mark.parametrize("section", [None, [], "text", {}, {"storage_order": ["L"]}])
def test_passes_over_odd_plans(section: Any, scans: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["nnUNetv2_predict", "-i", str(scans)])
    warn_of_other_orders({"image_reader_writer": "SimpleITKIO"}, {"cfseg": section})


def test_comes_when_nnunet_builds_the_network(
    scans: Path,
    plans_of: Callable[..., dict[str, Any]],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    plans = json.loads(json.dumps(plans_of()))
    plans["configurations"]["3d_fullres"]["cfseg"]["storage_order"] = "LPS"
    manager = PlansManager(plans)
    monkeypatch.setattr(sys, "argv", ["nnUNetv2_predict", "-i", str(scans), *DATASET])
    for name in ("3d_fullres", "3d_thick"):
        nnUNetTrainerCFSeg.build_network_architecture(manager, manager.get_configuration(name), 1, 3)
        assert "WARNING: 2 of" in capsys.readouterr().err
