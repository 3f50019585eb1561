"""The command ``cfseg``: what it prints, and that bad input is one line on stderr and exit status 2."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import nnunetv2_cfseg
from nnunetv2_cfseg import cli
from nnunetv2_cfseg.data.phantom import dataset as phantom_dataset
from nnunetv2_cfseg.data.phantom.settings import CLASSES, FREQUENCIES, PhantomSettings
from nnunetv2_cfseg.networks.presets import PRESETS
from nnunetv2_cfseg.planners import plan_and_preprocess

OWN = str(Path(nnunetv2_cfseg.__file__).parent / "nnunet_ext")
NAME = "Dataset901_Phantom"
PLAN = ["plan_and_preprocess", "-d", "901", "--no_pbar", "-npfp", "1"]


@pytest.fixture
def dataset(
    nnunet_folders: SimpleNamespace, write_raw_dataset: Callable[..., Path], threads_for_processes: None
) -> SimpleNamespace:
    """nnU-Net's folders with one small dataset, of cases enough for nnU-Net's folds."""
    nnunet_folders.dataset = write_raw_dataset(nnunet_folders.raw, NAME, cases=5)
    return nnunet_folders


def refusal(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """The one line on stderr with which ``cfseg`` refuses, after a look at the exit status."""
    assert cli.main(arguments) == 2
    captured = capsys.readouterr()
    lines = captured.err.splitlines()
    assert len(lines) == 1, captured.err
    assert lines[0].startswith(f"cfseg {arguments[0]}: ")
    assert "Traceback" not in captured.err + captured.out
    return lines[0]


class TestEnv:
    def test_prints_the_line_for_the_shell(
        self, nnunet_folders: SimpleNamespace, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert cli.main(["env"]) == 0
        captured = capsys.readouterr()
        assert captured.out == f"export nnUNet_extTrainer={OWN}\n"
        assert captured.err == ""

    def test_also_names_missing_folders_on_stderr(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert cli.main(["env"]) == 0
        captured = capsys.readouterr()
        assert captured.out == f"export nnUNet_extTrainer={OWN}\n"
        names = "nnUNet_raw, nnUNet_preprocessed, nnUNet_results"
        assert captured.err == f"cfseg env: nnU-Net also needs its folders, and {names} are not set\n"

    def test_is_as_fast_as_a_shell_start_up_needs(self) -> None:
        """It imports neither torch nor nnU-Net, which take seconds."""
        code = (
            "import sys; from nnunetv2_cfseg import cli; cli.main(['env']); "
            "print({'torch', 'nnunetv2'} & set(sys.modules))"
        )
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
        assert done.stdout.splitlines()[-1] == "set()"


class TestArguments:
    def test_of_plan_and_preprocess_reach_the_planner(
        self, nnunet_folders: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        calls: list[tuple[tuple, dict[str, Any]]] = []
        monkeypatch.setattr(
            plan_and_preprocess, "plan_and_preprocess", lambda *args, **kwargs: calls.append((args, kwargs))
        )
        flags = "-d 1 2 -pl ThinThickPlanner -preset paper -gpu_memory_target 1.5 -overwrite_target_spacing 3 1 1"
        flags += " -overwrite_plans_name Mine"
        flags += " -c 3d_fullres -np 2 -npfp 3 --verify_dataset_integrity --clean --no_pp --verbose --no_pbar"
        assert cli.main(["plan_and_preprocess", *flags.split()]) == 0
        assert calls == [
            (
                ([1, 2],),
                {
                    "planner": "ThinThickPlanner",
                    "preset": "paper",
                    "gpu_memory_target_gb": 1.5,
                    "overwrite_target_spacing": [3.0, 1.0, 1.0],
                    "plans_name": "Mine",
                    "configurations": ["3d_fullres"],
                    "num_processes": [2],
                    "num_processes_fingerprint": 3,
                    "verify_dataset_integrity": True,
                    "clean": True,
                    "preprocess": False,
                    "verbose": True,
                    "progress": False,
                    "assume_hu": False,
                },
            )
        ]

    @pytest.mark.parametrize(
        "arguments", [[], ["plan"], ["plan_and_preprocess"], ["plan_and_preprocess", "-d", "one"], ["env", "--no"]]
    )
    def test_that_are_wrong_end_with_status_2(self, arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
        with pytest.raises(SystemExit) as stop:
            cli.main(arguments)
        assert stop.value.code == 2
        assert "usage: cfseg" in capsys.readouterr().err

    def test_version_is_the_packages(self, capsys: pytest.CaptureFixture[str]) -> None:
        with pytest.raises(SystemExit) as stop:
            cli.main(["--version"])
        assert stop.value.code == 0
        assert capsys.readouterr().out.strip() == nnunetv2_cfseg.__version__


class TestPlanAndPreprocess:
    def test_plans_without_preprocessing(self, dataset: SimpleNamespace) -> None:
        assert cli.main([*PLAN, "--no_pp", "-gpu_memory_target", "1"]) == 0
        written = sorted(path.name for path in (dataset.preprocessed / NAME).iterdir())
        assert written == ["dataset.json", "dataset_fingerprint.json", "nnUNetCFSegPlans.json"]

    def test_preprocesses(self, dataset: SimpleNamespace) -> None:
        assert cli.main([*PLAN, "-np", "1", "-gpu_memory_target", "1"]) == 0
        folder = dataset.preprocessed / NAME
        assert sorted(path.name for path in (folder / "gt_segmentations").iterdir()) == [
            *(f"case_{number}.nii.gz" for number in range(5)),
        ]
        assert {path.name.split(".")[0] for path in (folder / "nnUNetCFSegPlans_3d_fullres").iterdir()} == {
            *(f"case_{number}{part}" for number in range(5) for part in ("", "_seg")),
        }

    @pytest.mark.parametrize("missing", ["nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results"])
    def test_names_the_missing_folder(
        self,
        nnunet_folders: SimpleNamespace,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
        missing: str,
    ) -> None:
        monkeypatch.delenv(missing)
        assert refusal(PLAN, capsys).endswith(f"and {missing} is not set")

    def test_refuses_an_unknown_preset_before_anything_is_written(
        self, dataset: SimpleNamespace, capsys: pytest.CaptureFixture[str]
    ) -> None:
        line = refusal([*PLAN, "-preset", "papr"], capsys)
        assert line.endswith(f"the preset must be one of {', '.join(PRESETS)}, got 'papr'")
        assert list(dataset.preprocessed.iterdir()) == []

    def test_refuses_2d_before_anything_is_written(
        self, dataset: SimpleNamespace, capsys: pytest.CaptureFixture[str]
    ) -> None:
        line = refusal([*PLAN, "-c", "2d"], capsys)
        assert "got '2d'" in line
        assert "nnUNetv2_plan_and_preprocess" in line
        assert list(dataset.preprocessed.iterdir()) == []

    def test_refuses_an_unknown_dataset(self, dataset: SimpleNamespace, capsys: pytest.CaptureFixture[str]) -> None:
        assert "902" in refusal(["plan_and_preprocess", "-d", "902"], capsys)

    def test_refuses_an_ambiguous_id(self, dataset: SimpleNamespace, capsys: pytest.CaptureFixture[str]) -> None:
        (dataset.raw / "Dataset901_Other").mkdir()
        assert "901" in refusal(PLAN, capsys)

    def test_refuses_a_ct_that_is_not_in_hounsfield_units(
        self, dataset: SimpleNamespace, write_raw_dataset: Callable[..., Path], capsys: pytest.CaptureFixture[str]
    ) -> None:
        folder = write_raw_dataset(dataset.raw, "Dataset902_Grey", cases=1, channel_names=["T1"])
        file = folder / "dataset.json"
        file.write_text(file.read_text().replace("T1", "CT"))
        line = refusal(["plan_and_preprocess", "-d", "902", "--no_pbar", "-npfp", "1"], capsys)
        assert "Hounsfield units" in line
        assert line.endswith(str(folder / "imagesTr" / "case_0_0000.nii.gz"))
        assert list(dataset.preprocessed.iterdir()) == []

    def test_refuses_a_label_that_dataset_json_does_not_name(
        self, dataset: SimpleNamespace, capsys: pytest.CaptureFixture[str]
    ) -> None:
        file = dataset.dataset / "dataset.json"
        file.write_text(file.read_text().replace(', "fatty": 2', ""))
        line = refusal(PLAN, capsys)
        assert "[0, 1], got also [2]" in line
        assert str(dataset.dataset / "labelsTr") in line
        assert list(dataset.preprocessed.iterdir()) == []

    @pytest.mark.parametrize(
        "target",
        ["0.001", "0", pytest.param("-1")],
    )
    def test_refuses_a_memory_target_that_no_network_fits(
        self, dataset: SimpleNamespace, capsys: pytest.CaptureFixture[str], target: str
    ) -> None:
        assert "-gpu_memory_target" in refusal([*PLAN, "-gpu_memory_target", target], capsys)

    def test_refuses_a_dataset_json_that_is_no_json(
        self, dataset: SimpleNamespace, capsys: pytest.CaptureFixture[str]
    ) -> None:
        (dataset.dataset / "dataset.json").write_text('{"labels": ')
        refusal(PLAN, capsys)

    @pytest.mark.parametrize("entry", ["labels", "channel_names", "file_ending", "numTraining"])
    def test_refuses_a_dataset_json_without_an_entry_that_is_needed(
        self, dataset: SimpleNamespace, capsys: pytest.CaptureFixture[str], entry: str
    ) -> None:
        file = dataset.dataset / "dataset.json"
        file.write_text(file.read_text().replace(f'"{entry}"', '"other"'))
        assert entry in refusal(PLAN, capsys)

    @pytest.mark.parametrize(
        ("labels", "named"),
        [
            ('{"bright": 1, "fatty": 2}', r"[Bb]ackground|got also \[0\]"),
            ('{"background": 0, "bright": 1, "fatty": 2, "other": 4}', "consecutive"),
            ('{"background": 0, "ignore": 1, "fatty": 2}', "ignore"),
            ('{"background": 0, "both": [1, 2], "fatty": 2}', "regions_class_order"),
        ],
    )
    def test_refuses_labels_that_nnunet_cannot_train_on(
        self, dataset: SimpleNamespace, capsys: pytest.CaptureFixture[str], labels: str, named: str
    ) -> None:
        file = dataset.dataset / "dataset.json"
        file.write_text(file.read_text().replace('{"background": 0, "bright": 1, "fatty": 2}', labels))
        assert re.search(named, refusal(PLAN, capsys))
        assert list(dataset.preprocessed.iterdir()) == []

    def test_refuses_a_dataset_without_cases(
        self, dataset: SimpleNamespace, capsys: pytest.CaptureFixture[str]
    ) -> None:
        for file in (dataset.dataset / "imagesTr").iterdir():
            file.unlink()
        assert "imagesTr" in refusal(PLAN, capsys)
        assert list(dataset.preprocessed.iterdir()) == []

    def test_refuses_a_dataset_without_images(
        self, dataset: SimpleNamespace, capsys: pytest.CaptureFixture[str]
    ) -> None:
        (dataset.dataset / "imagesTr").rename(dataset.dataset / "imagesTs")
        assert "imagesTr" in refusal(PLAN, capsys)
        assert list(dataset.preprocessed.iterdir()) == []

    def test_refuses_another_number_of_images_than_channels(
        self, dataset: SimpleNamespace, capsys: pytest.CaptureFixture[str]
    ) -> None:
        file = dataset.dataset / "dataset.json"
        file.write_text(file.read_text().replace('{"0": "CT"}', '{"0": "CT", "1": "CT"}'))
        line = refusal(PLAN, capsys)
        assert "channel" in line
        assert "case_0" in line

    @pytest.mark.parametrize("flags", [[], ["--verify_dataset_integrity"]])
    def test_refuses_a_label_of_another_size_than_its_image(
        self,
        dataset: SimpleNamespace,
        write_raw_dataset: Callable[..., Path],
        capsys: pytest.CaptureFixture[str],
        flags: list[str],
    ) -> None:
        other = write_raw_dataset(dataset.raw, "Dataset902_Other", cases=1, shape=(20, 30, 30))
        label = "labelsTr/case_0.nii.gz"
        (dataset.dataset / label).write_bytes((other / label).read_bytes())
        assert "case_0" in refusal([*PLAN, *flags, "-gpu_memory_target", "1"], capsys)

    def test_refuses_another_number_of_process_counts_than_configurations(
        self, dataset: SimpleNamespace, capsys: pytest.CaptureFixture[str]
    ) -> None:
        refusal([*PLAN, "-np", "1", "2", "3", "-gpu_memory_target", "1"], capsys)


class TestPhantom:
    @pytest.fixture
    def calls(self, monkeypatch: pytest.MonkeyPatch) -> list[tuple[tuple, dict[str, Any]]]:
        """What ``make_dataset`` is called with; it makes nothing."""
        calls: list[tuple[tuple, dict[str, Any]]] = []
        monkeypatch.setattr(phantom_dataset, "make_dataset", lambda *args, **kwargs: calls.append((args, kwargs)))
        return calls

    def test_has_defaults_for_all_but_the_id(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, calls: list[tuple[tuple, dict[str, Any]]]
    ) -> None:
        monkeypatch.setenv("nnUNet_raw", str(tmp_path))  # the only folder it needs
        assert cli.main(["phantom", "-d", "7"]) == 0
        numbers = {"num_training": 20, "num_test": 10, "seed": 0, "num_processes": 4, "progress": True}
        assert calls == [((PhantomSettings(), tmp_path / "Dataset007_Phantom"), numbers)]

    def test_passes_arguments_on(self, tmp_path: Path, calls: list[tuple[tuple, dict[str, Any]]]) -> None:
        flags = f"-d 900 -n Head -o {tmp_path} --train 3 --test 0 --matrix 40 64 66 --spacing 2 1 1.5 --factor 5"
        flags += " --seed 8 -np 2 --noise 4.5 --supersampling 3 --frequencies EDH=0.2 ICH=1 --background scan.nii.gz"
        assert cli.main(["phantom", *flags.split(), "--no_pbar"]) == 0
        settings = PhantomSettings(
            matrix=(40, 64, 66),
            spacing_mm=(2.0, 1.0, 1.5),
            factor=5,
            supersampling=3,
            noise_hu=4.5,
            frequencies={"EDH": 0.2, "ICH": 1.0},
            background=Path("scan.nii.gz"),
        )
        numbers = {"num_training": 3, "num_test": 0, "seed": 8, "num_processes": 2, "progress": False}
        assert calls == [((settings, tmp_path / "Dataset900_Head"), numbers)]

    @pytest.mark.parametrize(
        ("flags", "frequencies"),
        [
            ([], FREQUENCIES),
            (["--balanced"], dict.fromkeys(CLASSES, 0.5)),
            (["--frequencies", "SDH=0.25"], {"SDH": 0.25}),
            (["--classes", "SDH", "EDH"], {name: FREQUENCIES[name] for name in ("EDH", "SDH")}),
            (["--classes", "SDH", "EDH", "--balanced"], {"EDH": 0.5, "SDH": 0.5}),
        ],
    )
    def test_chooses_how_often_each_class_is_shown(
        self,
        tmp_path: Path,
        calls: list[tuple[tuple, dict[str, Any]]],
        flags: list[str],
        frequencies: dict[str, float],
    ) -> None:
        assert cli.main(["phantom", "-d", "900", "-o", str(tmp_path), *flags]) == 0
        assert calls[0][0][0].frequencies == frequencies

    def test_chooses_classes(self, tmp_path: Path, calls: list[tuple[tuple, dict[str, Any]]]) -> None:
        assert cli.main(["phantom", "-d", "900", "-o", str(tmp_path), "--classes", "IVH", "ICH"]) == 0
        assert calls[0][0][0].labels == {"ICH": 1, "IVH": 2}

    def test_refuses_the_frequency_of_a_class_that_is_not_chosen(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        line = refusal(
            ["phantom", "-d", "900", "-o", str(tmp_path), "--classes", "ICH", "--frequencies", "SDH=1"], capsys
        )
        assert line.endswith("a class with a frequency must be one of the dataset's, ICH, got SDH")

    @pytest.mark.parametrize(
        ("flags", "named"),
        [
            ("--classes brain", "invalid choice: 'brain'"),
            ("--balanced --frequencies EDH=1", "not allowed with argument"),
            ("--frequencies EDH", "must be as in EDH=0.2, got 'EDH'"),
            ("--frequencies EDH=often", "must be as in EDH=0.2, got 'EDH=often'"),
            ("--matrix 1 2", "expected 3 arguments"),
        ],
    )
    def test_explains_its_usage(self, capsys: pytest.CaptureFixture[str], flags: str, named: str) -> None:
        with pytest.raises(SystemExit) as stop:
            cli.main(["phantom", "-d", "900", *flags.split()])
        assert stop.value.code == 2
        assert named in capsys.readouterr().err

    def test_names_the_missing_folder(self, capsys: pytest.CaptureFixture[str]) -> None:
        line = refusal(["phantom", "-d", "900"], capsys)
        assert line.endswith("nnU-Net's folders must be set, and nnUNet_raw is not set")

    @pytest.mark.parametrize(
        ("flags", "named"),
        [
            ("--frequencies XDH=0.5", "got 'XDH'"),
            ("--factor 7", "got 7 for 160 slices"),
            ("--train 0", "training cases, got 0"),
            ("-n a/b", "got 'a/b'"),
            ("--background none.nii.gz", "none.nii.gz"),
        ],
    )
    def test_refuses_bad_input_before_anything_is_written(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str], flags: str, named: str
    ) -> None:
        assert named in refusal(["phantom", "-d", "900", "-o", str(tmp_path), *flags.split()], capsys)
        assert list(tmp_path.iterdir()) == []

    def test_refuses_an_id_that_another_dataset_has(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        (tmp_path / "Dataset900_Other").mkdir()
        assert "Dataset900_Other" in refusal(["phantom", "-d", "900", "-o", str(tmp_path)], capsys)
        assert [path.name for path in tmp_path.iterdir()] == ["Dataset900_Other"]


@pytest.mark.slow
def test_bad_input_at_the_shell_is_one_line_and_status_2(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    environment.pop("PYTHONWARNINGS", None)
    for name in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results"):
        environment[name] = str(tmp_path)
    arguments = ["plan_and_preprocess", "-d", "901", "-preset", "papr"]
    done = subprocess.run(
        [sys.executable, "-m", "nnunetv2_cfseg.cli", *arguments],
        capture_output=True,
        text=True,
        env=environment,
        cwd=tmp_path,
    )
    assert done.returncode == 2
    sentence = f"the preset must be one of {', '.join(PRESETS)}, got 'papr'"
    assert done.stderr == f"cfseg plan_and_preprocess: {sentence}\n"
    assert list(tmp_path.iterdir()) == []
