"""Trainers and planners by name."""

from __future__ import annotations

from pathlib import Path

import pytest

from nnunetv2_cfseg.nnunet.class_search import find_planner, find_trainer


@pytest.mark.parametrize("name", ["nnUNetTrainer", "nnUNetTrainerCFSeg", "nnUNetTrainer_timed"])
def test_trainers_of_nnunet_and_of_this_package(name: str) -> None:
    found = find_trainer(name)
    assert found is not None
    assert found.__name__ == name


def test_trainers_in_a_folder_of_ones_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "my_own_trainers.py").write_text("class MyOwnTrainer: pass\n")
    monkeypatch.setenv("nnUNet_extTrainer", str(tmp_path))
    assert find_trainer("MyOwnTrainer") is not None
    assert find_trainer("NoTrainer") is None
    assert capsys.readouterr().out == ""


def test_a_file_that_cannot_be_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my_broken_trainers.py").write_text("import no_such_library\n")
    monkeypatch.setenv("nnUNet_extTrainer", str(tmp_path))
    with pytest.raises(ValueError, match=f"import fails .*no_such_library.*: {tmp_path}$"):
        find_trainer("MyOwnTrainer")


def test_planners() -> None:
    found = find_planner("nnUNetPlannerResEncM")
    assert found is not None
    assert find_planner("CFSegPlanner") is None  # nnU-Net does not look outside its package
