"""Kinds of batches: cases that fail beside others, results that stand there already, kills, and two runs at once."""

from __future__ import annotations

import csv
import errno
import json
import locale
import os
import shutil
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk

from nnunetv2_cfseg.cli import main
from nnunetv2_cfseg.files.checksum import sha256
from nnunetv2_cfseg.files.folder_lock import lock_folder
from nnunetv2_cfseg.inference import predict as module
from nnunetv2_cfseg.inference.existing_results import Policy, look
from nnunetv2_cfseg.inference.model import load_model
from nnunetv2_cfseg.inference.predict_volume import PredictionSettings
from nnunetv2_cfseg.inference.records import Recipe, read_record, record_file
from nnunetv2_cfseg.inference.scans import find_cases

Write = Callable[..., Path]
SMALL = {"shape": (4, 6, 8), "spacing_mm": (2.0, 1.5, 1.5)}
FLAGS = ["-device", "cpu", "--precision", "float32", "--disable_progress_bar", "--shifts", "1"]


class Batch:
    """A model, scans, an output folder, and ``cfseg predict`` of them."""

    def __init__(self, tmp_path: Path, write_scan: Write, model: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.scans, self.out, self.model, self.capsys = tmp_path / "scans", tmp_path / "out", model, capsys
        self.write_scan = write_scan

    def add(self, *names: str, folder: Path | None = None, hu: int = 0) -> Path:
        """Write scans ``NAME_0000.nii.gz``, those of another ``hu`` with other voxels."""
        for name in names:
            file = self.write_scan(f"{name}_0000.nii.gz", folder=folder or self.scans, **SMALL)
            if hu:
                sitk.WriteImage(sitk.Cast(sitk.ReadImage(str(file)) + hu, sitk.sitkInt16), str(file))
        return file

    def __call__(self, *flags: object, scans: Path | None = None, model: Path | None = None) -> tuple[int, str]:
        self.capsys.readouterr()
        given = ["-i", scans or self.scans, "-o", self.out, "-m", model or self.model, *flags]
        code = main(["predict", *map(str, given), *FLAGS])
        text = self.capsys.readouterr()
        assert "Traceback" not in text.err
        return code, text.out + text.err

    def segmentations(self) -> list[str]:
        return sorted(file.name for file in self.out.glob("*.nii.gz"))

    def bytes(self) -> dict[str, bytes]:
        return {file.name: file.read_bytes() for file in sorted(self.out.rglob("*")) if file.is_file()}

    def hidden(self) -> list[str]:
        return sorted(file.name for file in self.out.rglob(".*"))


@pytest.fixture
def batch(tmp_path: Path, write_scan: Write, write_model: Write, capsys: pytest.CaptureFixture[str]) -> Batch:
    return Batch(tmp_path, write_scan, write_model(), capsys)


def write_slices(folder: Path, *, hu: int = 0, uid: str = "1.2.3", count: int = 4, **tags: str) -> Path:
    """DICOM slices of a small scan."""
    folder.mkdir(parents=True, exist_ok=True)
    locale_before = locale.setlocale(locale.LC_ALL)  # which GDCM changes when it writes, and Python reads files by
    values = np.random.default_rng(0).normal(0, 300, (count, 6, 8)).round().astype(np.int16) + np.int16(hu)
    values[:, :2] = -1000
    writer = sitk.ImageFileWriter()
    writer.KeepOriginalImageUIDOn()
    for index in range(count):
        image = sitk.GetImageFromArray(values[index][None])
        image.SetSpacing((1.5, 1.5, 2.0))
        named = {
            "0008|0060": "CT", "0020|000e": uid, "0020|0013": str(index), "0028|1052": "0", "0028|1053": "1",
            "0020|0032": f"0\\0\\{2 * index}", "0020|0037": "1\\0\\0\\0\\1\\0", "0008|0018": f"{uid}.{index + 1}",
            "0010|0010": "DOE^JANE", "0010|0020": "PID4711", **tags,
        }  # fmt: skip
        for tag, value in named.items():
            image.SetMetaData(tag, value)
        writer.SetFileName(str(folder / f"{uid}_{index}.dcm"))
        writer.Execute(image)
    locale.setlocale(locale.LC_ALL, locale_before)
    return folder


class TestTwoInputsOfOneName:
    def test_patients_are_never_mixed_up(self, batch: Batch, tmp_path: Path) -> None:
        """Whoever loops over folders that are all called DICOM."""
        one, other = (write_slices(tmp_path / name / "DICOM", hu=hu) for name, hu in (("jane", 0), ("john", 5)))
        assert batch("--volumes", scans=one)[0] == 0
        before = batch.bytes()
        code, text = batch("--volumes", scans=other)
        assert code == 2
        assert str(batch.out / "DICOM.nii.gz") in text
        assert str(other) in text
        assert "--name" in text
        assert batch.bytes() == before
        assert batch("--name", "john", "--volumes", scans=other)[0] == 0
        assert batch.segmentations() == ["DICOM.nii.gz", "john.nii.gz"]
        assert {file: batch.bytes()[file] for file in before if file != "volumes.csv"} == {
            file: content for file, content in before.items() if file != "volumes.csv"
        }
        with (batch.out / "volumes.csv").open() as stream:
            assert {row["case"] for row in csv.DictReader(stream)} == {"DICOM", "john"}
        # Neither name nor number of a patient is in anything that was written, nor where the scans lie.
        written = b"".join(content for name, content in batch.bytes().items() if not name.endswith(".gz"))
        for secret in ("DOE", "JANE", "4711", "1.2.3", str(tmp_path), "jane"):
            assert secret.encode() not in written

    @pytest.mark.parametrize("kind", ["folder", "file", "another ending", "another series"])
    @pytest.mark.parametrize("flags", [(), ("--continue_prediction",)])
    def test_a_result_of_another_scan_stays(
        self, kind: str, flags: tuple[str, ...], batch: Batch, tmp_path: Path
    ) -> None:
        if kind == "another series":
            first = second = write_slices(tmp_path / "CT", uid="1.2.3", count=5)
            write_slices(tmp_path / "CT", hu=9, uid="1.2.4")
            flags = (*flags, "--series", "2")
            assert batch("--series", 1, scans=first)[0] == 0
        else:
            first = batch.add("a")
            second = batch.add("a", folder=tmp_path / "other", hu=1)
            if kind == "folder":
                first, second = first.parent, second.parent
            elif kind == "another ending":
                image = sitk.ReadImage(str(second))
                second = second.with_name("a.mha")
                sitk.WriteImage(image, str(second))
            assert batch(scans=first)[0] == 0
        before = batch.bytes()
        code, text = batch(*flags, scans=second)
        assert code == 2
        assert "made of another scan" in text
        assert "--overwrite" in text
        assert batch.bytes() == before
        assert batch(*flags, "--overwrite", scans=second)[0] == 0
        assert batch.bytes() != before
        assert batch(*flags, scans=second)[0] == 0  # now it is its own
        assert batch(*flags, scans=first)[0] == 2 or kind == "another series"

    def test_the_same_scan_from_elsewhere_is_the_same(self, batch: Batch, tmp_path: Path) -> None:
        file = batch.add("a")
        assert batch()[0] == 0
        moved = shutil.copy(file, tmp_path / "a_0000.nii.gz")
        stamp = (batch.out / "a.nii.gz").stat().st_mtime_ns
        assert batch("--continue_prediction", scans=moved)[0] == 0
        assert (batch.out / "a.nii.gz").stat().st_mtime_ns == stamp
        assert batch(scans=moved)[0] == 0

    def test_a_result_of_unknown_origin_stays(self, batch: Batch) -> None:
        batch.add("a", "b")
        assert batch()[0] == 0
        shutil.rmtree(batch.out / "provenance")
        before = batch.bytes()
        code, text = batch()
        assert code == 2
        assert "no record of the scan" in text
        assert "1 more" in text
        assert batch.bytes() == before

    def test_another_models_folder_stays(self, batch: Batch, write_model: Write, plans_of: Any, tmp_path: Path) -> None:
        batch.add("a")
        assert batch()[0] == 0
        before = batch.bytes()
        other = write_model(plans=plans_of(plans_name="Others"), root=tmp_path / "others")
        batch.add("b")
        code, text = batch(model=other)
        assert code == 2
        assert "another model's plans.json" in text
        assert batch.bytes() == before
        assert batch("--overwrite", model=other)[0] == 0
        assert json.loads((batch.out / "plans.json").read_text())["plans_name"] == "Others"

    def test_a_raw_dataset_keeps_its_dataset_json(self, batch: Batch) -> None:
        batch.add("a")
        batch.out.mkdir()
        (batch.out / "dataset.json").write_text('{"labels": {"background": 0}}')
        assert batch()[0] == 2
        assert (batch.out / "dataset.json").read_text() == '{"labels": {"background": 0}}'
        assert batch.segmentations() == []

    def test_an_edited_segmentation_stays(self, batch: Batch) -> None:
        batch.add("a")
        assert batch()[0] == 0
        file = batch.out / "a.nii.gz"
        image = sitk.ReadImage(str(file))
        sitk.WriteImage(sitk.Cast(image * 0 + 2, sitk.sitkUInt8), str(file))
        before = file.read_bytes()
        code, text = batch()
        assert code == 2
        assert "edited" in text
        assert batch("--continue_prediction", "--volumes")[0] == 0
        assert file.read_bytes() == before
        with (batch.out / "volumes.csv").open() as stream:
            volumes = {row["class"]: float(row["volume_ml"]) for row in csv.DictReader(stream)}
        assert volumes == {"bright": 0, "fatty": pytest.approx(4 * 6 * 8 * 4.5 / 1000, abs=1e-4)}
        assert batch("--overwrite")[0] == 0
        assert file.read_bytes() != before


class TestContinue:
    @pytest.mark.parametrize("wrong", ["truncated", "another model", "another setting", "no probabilities", "begun"])
    def test_what_is_not_as_it_would_be_is_made_again(
        self, wrong: str, batch: Batch, write_model: Write, tmp_path: Path
    ) -> None:
        batch.add("a", "b")
        assert batch()[0] == 0
        whole = batch.bytes()
        file, flags, model = batch.out / "a.nii.gz", [], None
        if wrong == "truncated":
            os.truncate(file, 40)
        elif wrong == "another model":
            model = write_model(folds=("0", "1"), root=tmp_path / "others")
        elif wrong == "another setting":
            flags = ["--mirror"]
        elif wrong == "no probabilities":
            flags = ["--save_probabilities"]
        else:  # killed before the record was finished
            record = read_record(batch.out, "a")
            assert record is not None
            record_file(batch.out, "a").write_text(json.dumps({**record, "outputs": {}}))
            file.write_bytes(b"of an earlier run")
        stamps = {name: (batch.out / name).stat().st_mtime_ns for name in ("a.nii.gz", "b.nii.gz")}
        code, text = batch("--continue_prediction", *flags, model=model)
        assert code == 0
        remade = {name for name, stamp in stamps.items() if (batch.out / name).stat().st_mtime_ns != stamp}
        assert remade == ({"a.nii.gz"} if wrong in ("truncated", "begun") else set(stamps))
        assert f"{len(remade)} case" in text
        if wrong in ("truncated", "begun"):
            assert {name: batch.bytes()[name] for name in stamps} == {name: whole[name] for name in stamps}

    @pytest.mark.parametrize("fits", [True, False])
    def test_without_a_record_a_whole_file_on_the_grid_is_done(self, fits: bool, batch: Batch) -> None:
        """As older versions and nnU-Net's own command leave it."""
        batch.add("a", "b")
        assert batch("--volumes")[0] == 0
        shutil.rmtree(batch.out / "provenance")
        volumes = (batch.out / "volumes.csv").read_text()
        (batch.out / "volumes.csv").unlink()
        if not fits:
            batch.write_scan("a.nii.gz", folder=batch.out, shape=(5, 6, 8), spacing_mm=SMALL["spacing_mm"])
        before = batch.bytes()
        code, text = batch("--continue_prediction", "--volumes")
        if fits:
            assert code == 0
            assert "0 cases" in text
            assert "a, b" in text  # said, for nobody knows what they were made of
            assert (batch.out / "volumes.csv").read_text() == volumes
        else:
            assert code == 2
            assert batch.bytes() == before

    def test_volumes_after_a_kill_are_those_of_all(self, batch: Batch, monkeypatch: pytest.MonkeyPatch) -> None:
        batch.add("a", "b", "c")
        kill_at_case(monkeypatch, 3)
        assert batch("--volumes")[0] == 130
        with (batch.out / "volumes.csv").open() as stream:
            assert {row["case"] for row in csv.DictReader(stream)} >= {"a"}
        (batch.out / "volumes.csv").unlink()  # as earlier versions wrote it, at the end alone
        monkeypatch.undo()
        assert batch("--continue_prediction", "--volumes")[0] == 0
        resumed = batch.bytes()
        shutil.rmtree(batch.out)
        assert batch("--volumes")[0] == 0
        assert batch.bytes() == resumed

    def test_parts_share_a_folder_and_their_cases(self, batch: Batch) -> None:
        batch.add("a", "b", "c")
        for part in (0, 1):
            assert batch("-num_parts", 2, "-part_id", part, "--volumes")[0] == 0
        assert batch.segmentations() == ["a.nii.gz", "b.nii.gz", "c.nii.gz"]
        assert sorted(file.name for file in batch.out.glob("*.csv")) == ["volumes_0.csv", "volumes_1.csv"]
        assert batch("--continue_prediction", "--volumes")[1].startswith("0 cases")
        with (batch.out / "volumes.csv").open() as stream:
            assert {row["case"] for row in csv.DictReader(stream)} == set("abc")


def kill_at_case(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    segment, calls = module.predict_volume, []

    def interrupted(*args: Any, **kwargs: Any) -> Any:
        calls.append(1)
        if len(calls) == number:
            raise KeyboardInterrupt
        return segment(*args, **kwargs)

    monkeypatch.setattr(module, "predict_volume", interrupted)


ERRORS = [
    ValueError("math domain error"), ZeroDivisionError("float division by zero"), TypeError("odd"), KeyError("x"),
    IndexError("list index out of range"), AssertionError(), RuntimeError("DefaultCPUAllocator: can't allocate memory"),
    MemoryError(), OSError(errno.ENOSPC, "No space left on device"), UnicodeDecodeError("utf-8", b"\xff", 0, 1, "odd"),
    RecursionError("maximum recursion depth exceeded"), np.linalg.LinAlgError("Singular matrix"), EOFError(),
    StopIteration(), ArithmeticError("a\nb"), AttributeError("'NoneType' object has no attribute 'x'"),
]  # fmt: skip


class TestOneBadCase:
    @pytest.mark.parametrize("step", ["read_scan", "predict_volume", "write_labels"])
    def test_whatever_fails_is_that_cases_own(self, step: str, batch: Batch, monkeypatch: pytest.MonkeyPatch) -> None:
        """A batch of as many cases as there are kinds of errors, and one more that is whole."""
        for number in range(len(ERRORS) + 1):
            batch.add(f"c{number:02d}")
        original, calls = getattr(module, step), []

        def fails(*args: Any, **kwargs: Any) -> Any:
            calls.append(1)
            if len(calls) <= len(ERRORS):
                raise ERRORS[len(calls) - 1]
            return original(*args, **kwargs)

        monkeypatch.setattr(module, step, fails)
        code, text = batch("--volumes")
        assert code == 2
        assert f"{len(ERRORS)} of {len(ERRORS) + 1} cases could not be segmented" in text
        lines = [line for line in text.splitlines() if line.startswith("  c")]
        assert len(lines) == len(ERRORS)
        for number, line in enumerate(lines):
            name = f"c{number:02d}.nii.gz" if step == "write_labels" else f"c{number:02d}_0000.nii.gz"
            assert name in line
        assert batch.segmentations() == [f"c{len(ERRORS):02d}.nii.gz"]
        assert [file.name for file in (batch.out / "provenance").iterdir()] == [f"c{len(ERRORS):02d}.json"]
        assert batch.hidden() == []

    def test_files_that_are_no_scans(self, batch: Batch, tmp_path: Path) -> None:
        batch.add("a", "negative", "truncated", "text", "folder", "pipe", "missing", "loop", "picture")
        ending = "_0000.nii.gz"
        file = batch.scans / f"negative{ending}"
        image = sitk.ReadImage(str(file))
        image.SetSpacing((1.5, 1.5, 0.5))
        sitk.WriteImage(image, str(file.with_suffix("").with_suffix(".mha")))
        raw = file.with_suffix("").with_suffix(".mha").read_bytes()
        assert b"ElementSpacing = 1.5 1.5 0.5" in raw
        file.with_suffix("").with_suffix(".mha").unlink()
        file.write_bytes(raw.replace(b"1.5 1.5 0.5", b"1.5 1.5 -.5"))
        os.truncate(batch.scans / f"truncated{ending}", 60)
        (batch.scans / f"text{ending}").write_text("nothing")
        for name in ("folder", "pipe", "missing", "loop"):
            (batch.scans / f"{name}{ending}").unlink()
        (batch.scans / f"folder{ending}").mkdir()
        os.mkfifo(batch.scans / f"pipe{ending}")
        (batch.scans / f"missing{ending}").symlink_to(tmp_path / "nowhere")
        (batch.scans / f"loop{ending}").symlink_to(batch.scans / f"loop{ending}")
        batch.write_scan(f"picture{ending}", folder=batch.scans, dtype="uint8", **SMALL)
        code, text = batch()
        assert code == 2
        assert batch.segmentations() == ["a.nii.gz"]
        for name in ("negative", "truncated", "text", "folder", "pipe", "missing", "loop", "picture"):
            (line,) = [line for line in text.splitlines() if line.startswith(f"  {name}:")]
            assert f"{name}{ending}" in line.split(":", 1)[1]

    def test_probabilities_of_a_case_that_fails_are_gone(self, batch: Batch, monkeypatch: pytest.MonkeyPatch) -> None:
        batch.add("a")

        def full(*args: Any) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr(module, "write_probabilities", full)
        code, text = batch("--save_probabilities")
        assert code == 2
        assert "No space left" in text
        assert not batch.out.exists()

    def test_a_full_disk_from_the_start_leaves_nothing(self, batch: Batch, monkeypatch: pytest.MonkeyPatch) -> None:
        batch.add("a")

        def full(self: Path, *args: Any, **kwargs: Any) -> int:
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr(Path, "write_bytes", full)
        code, text = batch()
        monkeypatch.undo()
        assert code == 2
        assert "dataset.json" in text
        assert not batch.out.exists()


class TestWhatIsNoInput:
    def test_into_the_folder_of_the_scans(self, batch: Batch) -> None:
        batch.add("a")
        before = sorted(batch.scans.iterdir())
        batch.out = batch.scans
        assert batch()[0] == 2
        batch.out = batch.scans / ".." / "scans"
        assert batch()[0] == 2
        assert sorted(batch.scans.iterdir()) == before

    def test_into_the_folder_of_the_slices(self, batch: Batch, tmp_path: Path) -> None:
        batch.out = write_slices(tmp_path / "CT")
        before = sorted(batch.out.iterdir())
        assert batch(scans=batch.out)[0] == 2
        assert sorted(batch.out.iterdir()) == before

    @pytest.mark.parametrize(
        ("kind", "named"),
        [
            ("nii", ["1 file named *.nii", ".nii.gz"]), ("mha", ["*.mha"]), ("one dicom", ["one slice"]),
            ("empty", ["there are none"]), ("zip folder", ["*.zip", "unpacked"]), ("zip", ["archive", "unpacked"]),
            ("renamed zip", ["archive"]), ("nested", ["subfolders", "CT1, CT2"]), ("one dicom file", ["one slice"]),
            ("no channel", ["_0000.nii.gz", "a.nii.gz"]), ("two channels", ["1 channel", "0000, 0001"]),
            ("second channel", ["0001"]), ("DICOMDIR", ["DICOMDIR", "folder"]), ("nowhere", ["there is none"]),
            ("loop", ["this is neither"]), ("upper case", ["*.nii.gz"]), ("pipe", ["this is neither"]),
        ],
    )  # fmt: skip
    def test_the_sentence_has_the_true_reason(self, kind: str, named: list[str], batch: Batch, tmp_path: Path) -> None:
        file = batch.add("a")
        path = batch.scans
        if kind in ("nii", "mha"):
            sitk.WriteImage(sitk.ReadImage(str(file)), str(path / f"a_0000.{kind}"))
            file.unlink()
        elif kind == "upper case":
            file.rename(path / "A_0000.NII.GZ")
        elif kind in ("one dicom", "one dicom file"):
            path = write_slices(tmp_path / "CT", count=4 if kind == "one dicom file" else 1)
            path = next(path.iterdir()) if kind == "one dicom file" else path
        elif kind in ("empty", "zip folder", "zip", "renamed zip"):
            file.unlink()
            if kind != "empty":
                name = "a.nii.gz" if kind == "renamed zip" else "a.zip"
                with zipfile.ZipFile(path / name, "w") as archive:
                    archive.writestr("a", "b")
                path = path if kind == "zip folder" else path / name
        elif kind in ("nested", "DICOMDIR"):
            path = tmp_path / "patient"
            for number in (1, 2):
                write_slices(path / f"CT{number}")
            shutil.copy(next((path / "CT1").iterdir()), path / "DICOMDIR")
            path = path / "DICOMDIR" if kind == "DICOMDIR" else path
        elif kind == "no channel":
            file.rename(path / "a.nii.gz")
        elif kind == "two channels":
            shutil.copy(file, path / "a_0001.nii.gz")
        elif kind == "second channel":
            file.rename(path / "a_0001.nii.gz")
        elif kind == "nowhere":
            path = tmp_path / "nowhere"
        elif kind == "loop":
            path = tmp_path / "loop"
            path.symlink_to(path)
        elif kind == "pipe":
            path = tmp_path / "pipe"
            os.mkfifo(path)
        code, text = batch(scans=path)
        assert code == 2
        for words in (*named, str(path)):
            assert words in text
        assert not batch.out.exists()

    def test_what_is_passed_over_is_said(self, batch: Batch) -> None:
        file = batch.add("a")
        for name in ("b_0000.nii", "c.mha", "notes.txt", ".hidden.mha", "d.zip"):
            shutil.copy(file, batch.scans / name)
        code, text = batch()
        assert code == 0
        assert "skipped files" in text
        assert "b_0000.nii, c.mha, d.zip" in text
        assert "notes" not in text
        assert "hidden" not in text

    def test_series_are_told_apart(self, batch: Batch, tmp_path: Path) -> None:
        tags = {
            "0008|103e": "HEAD BONE",
            "0018|1210": "H60s",
            "0018|0050": "2",
            "0008|0008": "ORIGINAL\\PRIMARY\\AXIAL",
        }
        folder = write_slices(tmp_path / "CT", uid="1.2.3", count=5)
        write_slices(folder, uid="1.2.4", count=4, **tags)
        code, text = batch(scans=folder)
        assert code == 2
        (line,) = [line for line in text.splitlines() if line.startswith("  2: ")]
        for word in ("4 slices every 2 mm", "HEAD BONE", "H60s", "ORIGINAL PRIMARY AXIAL", "CT", "slices of 2 mm"):
            assert word in line
        assert "DOE" not in text
        assert "4711" not in text


class TestTwoRuns:
    def test_a_second_run_says_who_is_at_work(self, batch: Batch) -> None:
        batch.add("a")
        with lock_folder(batch.out):
            code, text = batch()
            assert code == 2
            assert f"process {os.getpid()}" in text
            assert str(batch.out) in text
            assert batch("-num_parts", 2, "-part_id", 0)[0] == 2
        assert not batch.out.exists()
        assert batch()[0] == 0
        assert batch.hidden() == []

    def test_parts_share_but_not_with_themselves_or_the_whole(self, batch: Batch) -> None:
        batch.add("a", "b")
        with lock_folder(batch.out, part="part_0"):
            assert batch("-num_parts", 2, "-part_id", 0)[0] == 2
            assert batch()[0] == 2
            assert batch("-num_parts", 2, "-part_id", 1)[0] == 0
        assert batch.segmentations() == ["b.nii.gz"]
        assert batch.hidden() == []

    @pytest.mark.parametrize("number", range(3))
    def test_a_lock_ends_with_its_process(self, number: int, tmp_path: Path) -> None:
        """Killed, it leaves a file that locks nothing."""
        folder = tmp_path / "out"
        code = (
            "import os, signal, sys; from pathlib import Path\n"
            "from nnunetv2_cfseg.files.folder_lock import lock_folder\n"
            f"with lock_folder(Path({str(folder)!r}), part={('part_0', None, 'part_1')[number]!r}):\n"
            "    print('in', flush=True); sys.stdin.readline()\n"
        )
        process = subprocess.Popen(
            [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        )  # fmt: skip
        assert process.stdout is not None
        assert process.stdin is not None
        assert process.stdout.readline() == b"in\n"
        with pytest.raises(ValueError, match=f"process {process.pid} "), lock_folder(folder):
            pass
        process.kill()
        process.wait()
        process.stdin.close()
        process.stdout.close()
        assert list(folder.glob(".lock*"))
        with lock_folder(folder), pytest.raises(ValueError, match=f"process {os.getpid()} "), lock_folder(folder):
            pass
        assert list(folder.glob("*")) == []

    def test_a_folder_without_locks_is_written_to(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        import fcntl

        def unknown(*args: Any) -> None:
            raise OSError(errno.ENOLCK, "No locks available")

        monkeypatch.setattr(fcntl, "flock", unknown)
        with lock_folder(tmp_path / "out"), lock_folder(tmp_path / "out"):
            (tmp_path / "out" / "a").touch()

    def test_a_folder_that_is_left_empty_is_removed_with_its_parents(self, tmp_path: Path) -> None:
        with lock_folder(tmp_path / "a" / "b" / "c"):
            pass
        assert list(tmp_path.iterdir()) == []
        (tmp_path / "a").mkdir()
        with lock_folder(tmp_path / "a"):
            pass
        assert (tmp_path / "a").is_dir()


def test_predict_starts_without_nnunet_and_pandas() -> None:
    code = (
        "import sys; import nnunetv2_cfseg.commands.predict, nnunetv2_cfseg.inference.load_models, "
        "nnunetv2_cfseg.inference.predict, nnunetv2_cfseg.inference.existing_results; "
        "sys.exit(', '.join({'nnunetv2', 'pandas'} & set(sys.modules)) or 0)"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr


class TestLook:
    """A folder of outputs, looked at without a network."""

    def test_a_thousand_cases_are_looked_at_in_seconds(self, batch: Batch, tmp_path: Path) -> None:
        batch.add("case")
        for number in range(1000):
            shutil.copy(batch.scans / "case_0000.nii.gz", batch.scans / f"c{number}_0000.nii.gz")
        model = load_model(batch.model)
        recipe = Recipe.of([model], PredictionSettings(), name="model")
        cases = find_cases(batch.scans, file_ending=".nii.gz", channels=1)
        batch.out.mkdir()
        start = time.monotonic()
        standing = look(cases, batch.out, recipe, endings=[".nii.gz"], policy=Policy())
        assert len(standing.to_do) == 1001
        assert time.monotonic() - start < 20

    def test_a_record_says_what_was_made_of_what(self, batch: Batch) -> None:
        file = batch.add("a")
        assert batch()[0] == 0
        record = read_record(batch.out, "a")
        assert record is not None
        assert record["input"] == {"files": [{"name": "a_0000.nii.gz", "sha256": sha256(file)}]}
        assert record["outputs"] == {"a.nii.gz": sha256(batch.out / "a.nii.gz")}
        assert record["settings"]["shifts"] == 1
        assert record["model"]["name"] == f"{batch.model.parent.name}/{batch.model.name}"
        assert (record["configuration"], record["precision"]) == ("3d_fullres", "float32")
        assert len(record["model"]["weights_sha256"]) == 64

    @pytest.mark.parametrize(
        "content", ["", "{", "[]", "null", '{"input": 1}', '{"input":[],"model":[],"settings":{},"outputs":1}']
    )
    def test_a_broken_record_is_none(self, content: str, batch: Batch) -> None:
        batch.add("a")
        assert batch()[0] == 0
        record_file(batch.out, "a").write_text(content)
        code, text = batch()
        assert code == 2
        assert "--overwrite" in text
        assert batch("--continue_prediction")[0] == (2 if "outputs" in content else 0)
