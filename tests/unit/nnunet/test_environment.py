"""nnU-Net's environment: what is missing, and the line for the shell."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

import nnunetv2_cfseg
from nnunetv2_cfseg.nnunet import environment

OWN = str(Path(nnunetv2_cfseg.__file__).parent / "nnunet_ext")
FOLDERS = ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results")


def set_folders(monkeypatch: pytest.MonkeyPatch, names: tuple[str, ...] = FOLDERS) -> None:
    for name in names:
        monkeypatch.setenv(name, f"/data/{name}")


def evaluated(line: str) -> str:
    """What a shell makes of the line."""
    command = f'{line}; printf %s "$nnUNet_extTrainer"'
    return subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=True).stdout


class TestFolders:
    def test_none_is_missing_when_all_are_set(self, monkeypatch: pytest.MonkeyPatch) -> None:
        set_folders(monkeypatch)
        assert environment.missing_folders() == []
        environment.require_folders()

    @pytest.mark.parametrize("name", FOLDERS)
    def test_the_missing_one_is_named(self, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
        set_folders(monkeypatch)
        monkeypatch.delenv(name)
        assert environment.missing_folders() == [name]
        with pytest.raises(ValueError, match=f"^nnU-Net's folders must be set, and {name} is not set$"):
            environment.require_folders()

    def test_an_empty_one_is_missing(self, monkeypatch: pytest.MonkeyPatch) -> None:
        set_folders(monkeypatch)
        monkeypatch.setenv("nnUNet_raw", "")
        assert environment.missing_folders() == ["nnUNet_raw"]

    def test_all_missing_ones_are_named(self) -> None:
        with pytest.raises(ValueError, match=r"and nnUNet_raw, nnUNet_preprocessed, nnUNet_results are not set$"):
            environment.require_folders()

    def test_the_raw_folder_needs_no_other(self, monkeypatch: pytest.MonkeyPatch) -> None:
        set_folders(monkeypatch, ("nnUNet_raw",))
        assert environment.raw_folder() == Path("/data/nnUNet_raw")
        monkeypatch.delenv("nnUNet_raw")
        with pytest.raises(ValueError, match=r"^nnU-Net's folders must be set, and nnUNet_raw is not set$"):
            environment.raw_folder()


class TestExportLine:
    def test_points_at_the_shim(self) -> None:
        assert environment.ext_trainer_export() == f"export nnUNet_extTrainer={OWN}"
        assert (Path(OWN) / "cfseg_trainers.py").is_file()

    def test_keeps_the_paths_that_are_set_and_puts_its_own_last(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("nnUNet_extTrainer", os.pathsep.join(["/mine/a", "/mine/b"]))
        assert evaluated(environment.ext_trainer_export()) == os.pathsep.join(["/mine/a", "/mine/b", OWN])

    @pytest.mark.parametrize("paths", [[OWN], [OWN, OWN], [OWN, "/mine"], ["/mine", OWN], ["", OWN, ""]])
    def test_names_each_path_once(self, monkeypatch: pytest.MonkeyPatch, paths: list[str]) -> None:
        monkeypatch.setenv("nnUNet_extTrainer", os.pathsep.join(paths))
        found = evaluated(environment.ext_trainer_export()).split(os.pathsep)
        assert found == [*(["/mine"] if "/mine" in paths else []), OWN]

    def test_changes_nothing_when_it_is_evaluated_twice(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("nnUNet_extTrainer", "/mine")
        once = evaluated(environment.ext_trainer_export())
        monkeypatch.setenv("nnUNet_extTrainer", once)
        assert evaluated(environment.ext_trainer_export()) == once

    @pytest.mark.parametrize("path", ["/my trainers", "/a'b", '/a"b', "/$(touch x)", "/a;b", "/a&b", "/a*"])
    def test_is_safe_for_the_shell(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, path: str) -> None:
        monkeypatch.chdir(tmp_path)
        monkeypatch.setenv("nnUNet_extTrainer", path)
        assert evaluated(environment.ext_trainer_export()) == os.pathsep.join([path, OWN])
        assert list(tmp_path.iterdir()) == []
