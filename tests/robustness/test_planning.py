"""Datasets and flags that cannot be planned: refused with the reason before the fingerprint, and nothing is left."""

from __future__ import annotations

import errno
import json
import multiprocessing
import os
import re
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk

from nnunetv2_cfseg.imaging import notices
from nnunetv2_cfseg.planners import plan_and_preprocess as planning
from nnunetv2_cfseg.planners.cfseg_planner import PLANS_NAME
from nnunetv2_cfseg.planners.plan_and_preprocess import plan_and_preprocess
from nnunetv2_cfseg.planners.pools import ending_with_us

NAME = "Dataset931_Planning"
FOLDS = "splits_final.json"


class Dataset:
    """A raw dataset of six good cases, and a call that plans it."""

    def __init__(self, folders: SimpleNamespace, folder: Path) -> None:
        self.folders, self.folder = folders, folder
        self.images, self.labels = folder / "imagesTr", folder / "labelsTr"
        self.preprocessed: Path = folders.preprocessed / NAME

    def plan(self, **kwargs: Any) -> None:
        defaults = {"gpu_memory_target_gb": 1, "num_processes_fingerprint": 1, "num_processes": (1,), "progress": False}
        plan_and_preprocess([931], **{**defaults, "preprocess": False, **kwargs})

    def refuses(self, *words: str, **kwargs: Any) -> None:
        """One line that holds the words, and nothing written."""
        with pytest.raises(ValueError, match=re.escape(words[0])) as caught:
            self.plan(**kwargs)
        sentence = str(caught.value)
        assert "\n" not in sentence
        for word in words:
            assert word in sentence, sentence
        assert self.written() == []

    def written(self) -> list[str]:
        return sorted(file.name for file in self.folders.preprocessed.rglob("*") if file.is_file())

    def change_json(self, **entries: Any) -> None:
        file = self.folder / "dataset.json"
        file.write_text(json.dumps({**json.loads(file.read_text()), **entries}))

    def write_label(self, change: Callable[[np.ndarray], np.ndarray], number: int = 0) -> Path:
        file = self.labels / f"case_{number}.nii.gz"
        image = sitk.ReadImage(str(file))
        changed = sitk.GetImageFromArray(change(sitk.GetArrayFromImage(image)))
        changed.CopyInformation(image)
        sitk.WriteImage(changed, str(file))
        return file


@pytest.fixture
def dataset(
    nnunet_folders: SimpleNamespace, write_raw_dataset: Callable[..., Path], threads_for_processes: None
) -> Dataset:
    notices.forget()
    return Dataset(nnunet_folders, write_raw_dataset(nnunet_folders.raw, NAME, cases=6, shape=(12, 20, 20)))


@pytest.fixture
def no_images(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody reads a scan: flags, names and labels come first."""

    def read(*_: Any, **__: Any) -> None:
        raise AssertionError("a scan was read")

    for name in ("check_cases", "extract_fingerprint_dataset"):
        monkeypatch.setattr(planning, name, read)


NAN, INF = float("nan"), float("inf")


@pytest.mark.usefixtures("no_images")
class TestFlags:
    @pytest.mark.parametrize(
        ("flags", "words"),
        [
            *[({"gpu_memory_target_gb": gb}, ("-gpu_memory_target", f"{gb:g}")) for gb in (0, -1, NAN, INF, -INF)],
            *[({"num_processes": (n,)}, ("-np", str(n))) for n in (0, -3, 10**6)],
            *[({"num_processes_fingerprint": n}, ("-npfp", str(n))) for n in (0, -3, 10**6)],
            ({"num_processes": ()}, ("-np", "[]")),
            ({"num_processes": (1, 2, 3)}, ("-np", "[1, 2, 3]")),
            *[
                ({"plans_name": name}, ("-overwrite_plans_name", repr(name)))
                for name in ("../x", "a/b", "", ".", "..", ".hidden", "a\nb", "a b", "/tmp/x", "x" * 300, "a\0b")
            ],
            *[
                ({"overwrite_target_spacing": [1, 1, mm]}, ("-overwrite_target_spacing", str(mm)))
                for mm in (0, -1, 1e-9, 1e9, NAN, INF)
            ],
            ({"preset": "papr"}, ("preset", "'papr'")),
            ({"planner": "ExperimentPlanner"}, ("-pl", "'ExperimentPlanner'")),
            ({"configurations": ["2d"]}, ("'2d'",)),
            ({"configurations": ["../3d_fullres"]}, ("'../3d_fullres'",)),
        ],
    )
    def test_are_looked_at_before_scans(self, dataset: Dataset, flags: dict[str, Any], words: tuple[str, ...]) -> None:
        dataset.refuses(*words, **flags)

    @pytest.mark.parametrize("ids", [[931, 931], [931, 5, 931], [], [-1], [1000], [10**12]])
    def test_name_datasets_once(self, dataset: Dataset, ids: list[int]) -> None:
        with pytest.raises(ValueError, match=r"^-d "):
            plan_and_preprocess(ids, progress=False)
        assert dataset.written() == []


@pytest.mark.usefixtures("no_images")
class TestNames:
    @pytest.mark.parametrize("stem", ["case_0", "case_0_000", "case_0_00000", "0000", "case_0_a000"])
    def test_of_images_without_their_channel(self, dataset: Dataset, stem: str) -> None:
        (dataset.images / "case_0_0000.nii.gz").rename(dataset.images / f"{stem}.nii.gz")
        dataset.refuses(f"{stem}.nii.gz", f"{stem}_0000.nii.gz", "imagesTr")

    @pytest.mark.parametrize("ending", [".nii", ".mha", ".nrrd"])
    def test_of_images_that_all_end_otherwise(self, dataset: Dataset, ending: str) -> None:
        for file in dataset.images.iterdir():
            file.rename(dataset.images / file.name.replace(".nii.gz", ending))
        dataset.refuses(".nii.gz", f"case_0_0000{ending}", "file_ending", "imagesTr")

    def test_of_hidden_files_that_would_be_cases(self, dataset: Dataset) -> None:
        (dataset.images / "._case_0_0000.nii.gz").write_bytes(b"Mac OS X")
        dataset.refuses("._case_0_0000.nii.gz", "hidden")

    @pytest.mark.parametrize("missing", [1, 2, 6])
    def test_of_labels_that_are_missing(self, dataset: Dataset, missing: int) -> None:
        for number in range(missing):
            (dataset.labels / f"case_{number}.nii.gz").unlink()
        dataset.refuses(f"{missing} of 6", "case_0.nii.gz", "labelsTr")

    @pytest.mark.parametrize(
        ("name", "hint"),
        [
            ("case_0_0000.nii.gz", "instead of case_0_0000.nii.gz, as labels have no channel number"),
            ("case_0.nii", "which may be case_0.nii"),
        ],
    )
    def test_of_labels_that_are_named_otherwise(self, dataset: Dataset, name: str, hint: str) -> None:
        (dataset.labels / "case_0.nii.gz").rename(dataset.labels / name)
        dataset.refuses("1 of 6", hint, "labelsTr")

    @pytest.mark.parametrize("channel", ["0001", "0002"])
    def test_of_channels_that_dataset_json_does_not_name(self, dataset: Dataset, channel: str) -> None:
        (dataset.images / f"case_3_{channel}.nii.gz").write_bytes(b"")
        dataset.refuses("case_3", channel, "CT")

    def test_of_channels_that_are_missing(self, dataset: Dataset) -> None:
        dataset.change_json(channel_names={"0": "CT", "1": "PET"})
        dataset.refuses("case_0", "0000, 0001", "PET")

    @pytest.mark.parametrize("folder", ["imagesTr", "labelsTr"])
    def test_of_no_folder(self, dataset: Dataset, folder: str) -> None:
        (dataset.folder / folder).rename(dataset.folder / "elsewhere")
        dataset.refuses(folder, NAME)

    def test_of_no_images(self, dataset: Dataset) -> None:
        for file in dataset.images.iterdir():
            file.unlink()
        dataset.refuses("imagesTr", NAME)


class TestWhatIsPassedOver:
    def said(self, dataset: Dataset, capsys: pytest.CaptureFixture[str]) -> str:
        dataset.plan()
        return capsys.readouterr().err

    def test_is_nothing_in_a_good_dataset(self, dataset: Dataset, capsys: pytest.CaptureFixture[str]) -> None:
        assert "warning" not in self.said(dataset, capsys)

    def test_are_images_of_other_endings(self, dataset: Dataset, capsys: pytest.CaptureFixture[str]) -> None:
        for name in ("case_9_0000.nii", "case_8_0000.mha", "notes.txt"):
            (dataset.images / name).write_bytes(b"")
        assert "2 files are ignored" in (said := self.said(dataset, capsys))
        assert "case_8_0000.mha" in said
        assert "notes.txt" not in said

    def test_are_labels_without_an_image(self, dataset: Dataset, capsys: pytest.CaptureFixture[str]) -> None:
        (dataset.labels / "case_9.nii.gz").write_bytes(b"")
        assert "a file is ignored that has no image, such as case_9" in self.said(dataset, capsys)

    def test_is_another_number_of_cases(self, dataset: Dataset, capsys: pytest.CaptureFixture[str]) -> None:
        dataset.change_json(numTraining=7)
        assert "numTraining 7, but there are 6" in self.said(dataset, capsys)

    def test_are_labels_that_no_case_shows(self, dataset: Dataset, capsys: pytest.CaptureFixture[str]) -> None:
        dataset.change_json(labels={"background": 0, "bright": 1, "fatty": 2, "spleen": 3})
        assert "no case has a voxel of spleen" in self.said(dataset, capsys)


class TestFolds:
    def said(self, dataset: Dataset, capsys: pytest.CaptureFixture[str], folds: Any = None) -> str:
        if folds is not None:
            (dataset.folder / FOLDS).write_text(json.dumps(folds))
        dataset.plan()
        return capsys.readouterr().err

    @pytest.mark.parametrize("cases", [1, 4])
    def test_need_five_cases(self, dataset: Dataset, capsys: pytest.CaptureFixture[str], cases: int) -> None:
        for number in range(cases, 6):
            (dataset.images / f"case_{number}_0000.nii.gz").unlink()
            (dataset.labels / f"case_{number}.nii.gz").unlink()
        dataset.change_json(numTraining=cases)
        said = self.said(dataset, capsys)
        assert f"5 folds, for which {cases} training" in said
        assert FOLDS in said
        assert self.said(dataset, capsys, [{"train": ["case_0"], "val": ["case_0"]}]).count("5 folds") == 0

    @pytest.mark.parametrize("part", ["train", "val"])
    def test_of_nothing(self, dataset: Dataset, capsys: pytest.CaptureFixture[str], part: str) -> None:
        good = {"train": ["case_0", "case_1"], "val": ["case_2"]}
        said = self.said(dataset, capsys, [good, {**good, part: []}])
        assert f"fold 1 has no cases in {part}" in said
        assert "fold 0" not in said

    def test_that_overlap(self, dataset: Dataset, capsys: pytest.CaptureFixture[str]) -> None:
        said = self.said(dataset, capsys, [{"train": ["case_0", "case_1"], "val": ["case_1", "case_2"]}])
        assert "fold 0 trains on 1 of the 2 cases it is validated on, such as case_1" in said


class TestLabels:
    @pytest.mark.parametrize("value", [0, 3])
    def test_that_are_all_empty(self, dataset: Dataset, value: int) -> None:
        """Of background, or of nothing but what is to be ignored."""
        dataset.change_json(labels={"background": 0, "bright": 1, "fatty": 2, "ignore": 3})
        for number in range(6):
            dataset.write_label(lambda values: np.where(values > 0, value, 0).astype(np.uint8), number)
        dataset.refuses("all 6 labels are empty", "labelsTr")

    def test_one_that_is_empty_is_a_case_like_others(self, dataset: Dataset) -> None:
        dataset.write_label(np.zeros_like)
        dataset.plan()

    @pytest.mark.parametrize("value", [7, -1, 1.5, 0.9999999, 70000])
    def test_of_other_values(self, dataset: Dataset, value: float) -> None:
        file = dataset.write_label(lambda values: np.where(values == 1, value, 0).astype(np.float32))
        dataset.refuses(str(np.float32(value))[:7].removesuffix(".0"), file.name)

    @pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
    @pytest.mark.parametrize("number", [0, 5])
    def test_voxels_that_are_no_numbers(self, dataset: Dataset, value: float, number: int) -> None:
        file = dataset.images / f"case_{number}_0000.nii.gz"
        image = sitk.Cast(sitk.ReadImage(str(file)), sitk.sitkFloat32)
        for slice_ in range(3):
            image[5, 5, slice_] = float(value)
        sitk.WriteImage(image, str(file))
        dataset.refuses("3 of 4800", "NaN", file.name)


class TestStandingFiles:
    @pytest.mark.parametrize("name", ["dataset_fingerprint.json", f"{PLANS_NAME}.json"])
    @pytest.mark.parametrize("content", ["", '{"spacings": [[1', "[]", "\0\0"])
    def test_that_are_not_whole(self, dataset: Dataset, name: str, content: str) -> None:
        dataset.preprocessed.mkdir()
        (dataset.preprocessed / name).write_text(content)
        with pytest.raises(ValueError, match=rf"incomplete; remove it: .*{re.escape(name)}$"):
            dataset.plan()

    def test_a_fingerprint_that_is_made_anew_may_be_broken(self, dataset: Dataset) -> None:
        dataset.preprocessed.mkdir()
        (dataset.preprocessed / "dataset_fingerprint.json").write_text("{")
        dataset.plan(clean=True)


class TestAFullDisk:
    """What nnU-Net writes is written by its save_json, or by its workers."""

    def fill(self, monkeypatch: pytest.MonkeyPatch, module: Any) -> None:
        def save(content: Any, file: str, **_: Any) -> None:
            Path(file).write_text(json.dumps(str(content))[:20])
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), file)

        monkeypatch.setattr(module, "save_json", save)

    def test_while_plans_are_written(self, dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
        from nnunetv2.experiment_planning.experiment_planners import default_experiment_planner

        dataset.plan()
        file = dataset.preprocessed / f"{PLANS_NAME}.json"
        before = file.read_bytes()
        self.fill(monkeypatch, default_experiment_planner)
        with pytest.raises(OSError, match="No space left"):
            dataset.plan(preset="paper")
        assert file.read_bytes() == before
        file.unlink()
        with pytest.raises(OSError, match="No space left"):
            dataset.plan()
        assert not [name for name in dataset.written() if PLANS_NAME in name]

    def test_while_the_fingerprint_is_written(self, dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
        from nnunetv2.experiment_planning.dataset_fingerprint import fingerprint_extractor

        self.fill(monkeypatch, fingerprint_extractor)
        with pytest.raises(OSError, match="No space left"):
            dataset.plan()
        assert dataset.written() == []

    @pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left"), MemoryError(), KeyboardInterrupt()])
    def test_while_scans_are_written(
        self, dataset: Dataset, monkeypatch: pytest.MonkeyPatch, error: BaseException
    ) -> None:
        from nnunetv2.preprocessing.preprocessors.default_preprocessor import DefaultPreprocessor

        def save(self: Any, output: str, *_: Any) -> None:
            Path(f"{output}.b2nd").write_bytes(b"begun")
            raise error

        if isinstance(error, KeyboardInterrupt):
            monkeypatch.setattr(DefaultPreprocessor, "run", lambda self, *_, **__: save(self, "case"))
            monkeypatch.chdir(dataset.folders.preprocessed)
        else:
            monkeypatch.setattr(DefaultPreprocessor, "run_case_save", save)
        with pytest.raises(type(error)):
            dataset.plan(preprocess=True)
        assert f"{PLANS_NAME}.json" in dataset.written()
        assert not (dataset.preprocessed / f"{PLANS_NAME}_3d_fullres").exists()


class TestProcesses:
    @pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit, MemoryError])
    def test_end_with_planning_whatever_ends_it(self, error: type[BaseException]) -> None:
        from nnunetv2.preprocessing.preprocessors import default_preprocessor

        before = set(multiprocessing.active_children())
        started: list[Any] = []

        def plan() -> None:
            with ending_with_us():
                pool = default_preprocessor.multiprocessing.get_context("spawn").Pool(2)
                pool.map_async(time.sleep, [60, 60])
                started.extend(set(multiprocessing.active_children()) - before)
                raise error

        with pytest.raises(error):
            plan()
        assert len(started) == 2
        deadline = time.monotonic() + 60
        while any(process.is_alive() for process in started) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert not any(process.is_alive() for process in started)

    def test_end_where_a_result_is_lost(self) -> None:
        """A thread of the pool dies of a result that does not fit into memory, and nnU-Net would wait for ever."""
        from nnunetv2.preprocessing.preprocessors import default_preprocessor

        def lose(_: object) -> None:
            raise MemoryError

        def plan() -> None:
            with ending_with_us():
                pool = default_preprocessor.multiprocessing.get_context("spawn").Pool(1)
                pool.apply_async(abs, (1,), callback=lose)  # the thread that takes results in
                for _ in range(600):
                    time.sleep(0.1)  # as nnU-Net does

        with pytest.raises(ChildProcessError, match="less memory"):
            plan()
        assert not multiprocessing.active_children()

    def test_of_nnunet_are_its_own_again_afterwards(self) -> None:
        from nnunetv2.preprocessing.preprocessors import default_preprocessor
        from nnunetv2.utilities import utils

        with ending_with_us():
            assert default_preprocessor.multiprocessing is not multiprocessing
        assert default_preprocessor.multiprocessing is multiprocessing
        assert utils.Pool is multiprocessing.Pool

    @pytest.mark.parametrize("step", ["extract_fingerprint_dataset", "preprocess_dataset"])
    def test_that_were_killed_are_one_sentence(
        self, dataset: Dataset, monkeypatch: pytest.MonkeyPatch, step: str
    ) -> None:
        def die(*_: Any, **__: Any) -> None:
            raise RuntimeError("Some background worker is 6 feet under. Yuck. \nOK jokes aside.\n")

        monkeypatch.setattr(planning, step, die)
        with pytest.raises(ChildProcessError, match=r"memory.*-np, -npfp.*931") as caught:
            dataset.plan(preprocess=True)
        assert "\n" not in str(caught.value)
