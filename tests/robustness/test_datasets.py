"""Making datasets: numbers that no machine holds, files that were cut, refused starts, full disks."""

from __future__ import annotations

import contextlib
import gzip
import json
import os
import resource
import runpy
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given
from hypothesis import strategies as st

from nnunetv2_cfseg.cli import main
from nnunetv2_cfseg.data.pairing import patients
from nnunetv2_cfseg.data.pairing.patients import patients_by_pattern, patients_by_table
from nnunetv2_cfseg.data.phantom import files
from nnunetv2_cfseg.data.phantom.dataset import make_dataset
from nnunetv2_cfseg.data.phantom.settings import PhantomSettings
from nnunetv2_cfseg.demo.run import run_demo
from nnunetv2_cfseg.demo.settings import DemoSettings
from nnunetv2_cfseg.files.folder_lock import lock_folder
from nnunetv2_cfseg.processes import memory_limit

DRIVER = Path(__file__).parents[1] / "unit" / "data" / "phantom_driver.py"
fake_case = runpy.run_path(str(DRIVER))["fake_case"]
SMALL = ["--matrix", "24", "18", "16", "--factor", "3", "--train", "2", "--test", "0", "--no_pbar"]
NAN, INF = "nan", "inf"


@pytest.fixture
def fakes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Phantoms are made at once; the numbers of those that were made."""
    made: list[int] = []

    def case(settings: PhantomSettings, *, seed: int, index: int) -> files.PhantomCase:
        made.append(index)
        if settings.noise_hu == 1:
            raise ValueError("this one cannot be made")
        return fake_case(settings, seed=seed, index=index)

    monkeypatch.setattr(files, "make_case", case)
    return made


@pytest.fixture
def run(tmp_path: Path, nnunet_folders: SimpleNamespace, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """A function that runs a command that must be refused; its one sentence."""

    def refused(*arguments: object) -> str:
        before = sorted(nnunet_folders.raw.rglob("*"))
        assert main([str(argument) for argument in arguments]) == 2
        errors = capsys.readouterr().err
        assert len(errors.splitlines()) == 1, errors
        assert "Traceback" not in errors
        assert sorted(nnunet_folders.raw.rglob("*")) == before  # nothing was left
        return errors

    return refused


@pytest.mark.parametrize(
    ("flags", "named"),
    [
        ("--matrix 40000 40000 40000", "GB"), ("--matrix 20000 20000 20000 -np 1", "GB"), ("--matrix 0 64 64", "0"),
        ("--matrix -64 64 64", "-64"), (f"--matrix {10**12} 64 64", str(10**12)), ("--spacing 0 1 1", "0.0"),
        ("--spacing 1 -1 1", "-1.0"), ("--spacing 1 1 nan", NAN), ("--spacing inf 1 1", INF),
        ("--spacing 1e-9 1 1", "1e-09"), ("--spacing 1 1e9 1", "1000000000"), ("--factor 1000000", "1000000"),
        ("--factor 0", "0"), ("--factor -2", "-2"), ("--factor 7", "7"), ("--supersampling 1000", "1000"),
        ("--supersampling 0", "0"), ("--noise nan", NAN), ("--noise -1", "-1"), ("--noise inf", INF),
        (f"--train {10**9}", str(10**9)), ("--train 0", "0"), ("--train -1", "-1"), (f"--test {10**9}", str(10**9)),
        ("--test -1", "-1"), ("--seed -1", "-1"), (f"--seed {2**32}", str(2**32)), (f"--seed {10**30}", str(10**30)),
        ("-np 0", "0"), ("-np -3", "-3"), ("-np 1000000", "1000000"), ("--smallest nan", NAN), ("--smallest 1", "1"),
        ("--smallest -0.5", "-0.5"), ("--frequencies EDH=1.5", "1.5"), ("--frequencies EDH=-0.1", "-0.1"),
        ("--frequencies EDH=nan", NAN), ("--frequencies EDH=inf", INF), ("--frequencies XYZ=0.5", "XYZ"),
        ("--frequencies EDH=0", "0"), ("--frequencies EDH=1e-300", "1e-300"), ("--frequencies EDH=1 EDH=0.5", "EDH"),
        ("-d 0", "0"), ("-d 1000", "1000"), ("-n ../x", "../x"), ("-n a/b", "a/b"), (f"-n {'a' * 300}", "a" * 100),
        ("--background nowhere.nii.gz", "nowhere.nii.gz"), ("--background .", "."), ("--background /dev/zero", "zero"),
    ],
)  # fmt: skip
def test_phantoms_that_are_refused(run: Callable[..., str], fakes: list[int], flags: str, named: str) -> None:
    assert named in run("phantom", "-d", 5, "--no_pbar", *flags.split())
    assert fakes == []


@given(
    matrix=st.tuples(*[st.integers(-10, 10**12)] * 3),
    spacing=st.tuples(*[st.floats()] * 3),
    samples=st.integers(-5, 10**6),
)
def test_whatever_settings_are_taken_can_be_made(
    matrix: tuple[int, int, int], spacing: tuple[float, float, float], samples: int
) -> None:
    with contextlib.suppress(ValueError):
        settings = PhantomSettings(matrix, spacing, supersampling=samples)
        assert min(settings.matrix) >= 16
        assert 0.05 <= min(settings.spacing_mm) <= max(settings.spacing_mm) <= 50
        assert 1 <= settings.supersampling <= 8


@pytest.mark.parametrize(
    "change",
    [{"matrix": (40000, 40000, 40000)}, {"spacing_mm": (0, 1, 1)}, {"spacing_mm": (1, 1, float("nan"))}, {"seed": -1},
     {"train": 10**9}, {"test": 10**9}, {"train_seconds": float("nan")}, {"train_seconds": float("inf")},
     {"train_seconds": 1e12}, {"train_seconds": -1}, {"seed": 2**40}],
)  # fmt: skip
def test_demos_that_are_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"must be|needs about"):
        run_demo(Path("nowhere"), DemoSettings(**change))
    assert not Path("nowhere").exists()


def test_a_background_that_is_a_pipe_is_not_waited_for(run: Callable[..., str], tmp_path: Path) -> None:
    pipe = tmp_path / "pipe.nii.gz"
    os.mkfifo(pipe)
    assert "pipe.nii.gz" in run("phantom", "-d", 5, "--background", pipe)


def write_background(file: Path, kind: str) -> Path:
    values = np.full((20, 20, 20), -1000, np.float32)
    values[5:15, 5:15, 5:15] = 40
    if kind == "nan":
        values[0, 0, 0] = np.nan
    sitk.WriteImage(sitk.GetImageFromArray(values if kind != "no HU" else np.abs(values)), str(file))
    if kind == "cut":
        file.write_bytes(file.read_bytes()[:-200])
    if kind == "empty":
        file.write_bytes(b"")
    if kind == "text":
        file.write_bytes(gzip.compress(b"no image"))
    return file


@pytest.mark.parametrize("kind", ["nan", "no HU", "cut", "empty", "text", "no head"])
def test_a_refused_background_leaves_nothing_that_blocks_the_next(
    run: Callable[..., str], tmp_path: Path, nnunet_folders: SimpleNamespace, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    file = write_background(tmp_path / "head.nii.gz", kind)
    assert "head.nii.gz" in run("phantom", "-d", 5, *SMALL, "-np", 1, "--background", file)
    monkeypatch.setattr(files, "make_case", fake_case)
    assert main(["phantom", "-d", "5", *SMALL, "-np", "1"]) == 0
    assert (nnunet_folders.raw / "Dataset005_Phantom" / "dataset.json").is_file()


def test_a_record_without_a_case_binds_nobody(run: Callable[..., str], fakes: list[int], tmp_path: Path) -> None:
    folder = tmp_path / "Dataset005_Phantom"
    folder.mkdir()
    for content in ({"seed": 99}, {}):  # as a kill before the first case leaves it
        (folder / "phantom.json").write_text(json.dumps(content))
        make_phantoms(folder)
        for file in folder.rglob("*.nii.gz"):
            file.unlink()
        for file in folder.glob("*/*.json"):
            file.unlink()
        for name in ("dataset.json", "splits_final.json"):
            (folder / name).unlink()
    assert fakes == [0, 1, 0, 1]


def make_phantoms(folder: Path, **change: Any) -> None:
    settings = PhantomSettings(matrix=(24, 18, 16), factor=3, **change)
    make_dataset(settings, folder, num_training=2, num_test=0, seed=5, progress=False)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in sorted(folder.rglob("*")) if file.is_file()}


DAMAGES: dict[str, Callable[[Path], object]] = {
    "cut": lambda file: file.write_bytes(file.read_bytes()[: file.stat().st_size // 2]),
    "emptied": lambda file: file.write_bytes(b""),
    "changed": lambda file: file.write_bytes(bytes(byte ^ 255 for byte in file.read_bytes())),
    "removed": lambda file: file.unlink(),
}


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize(
    "name", ["imagesTr/phantom_001_0000.nii.gz", "labelsTr_thick/phantom_001.nii.gz", "provenance/phantom_001.json"]
)
def test_a_phantom_that_was_damaged_is_made_again(tmp_path: Path, fakes: list[int], name: str, damage: str) -> None:
    make_phantoms(tmp_path)
    before = contents(tmp_path)
    DAMAGES[damage](tmp_path / name)
    fakes.clear()
    make_phantoms(tmp_path)
    assert contents(tmp_path) == before
    assert fakes == [1]


def test_what_killed_runs_left_is_removed(tmp_path: Path, fakes: list[int]) -> None:
    make_phantoms(tmp_path)
    before = contents(tmp_path)
    for name in (
        ".phantom.json.123.tmp",
        "provenance/.phantom_000.json.9.tmp",
        ".unfinished/phantom_000/x.nii.gz",
        ".lock",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("half")
    make_phantoms(tmp_path)
    assert contents(tmp_path) == before


def test_a_case_that_fails_first_leaves_no_folder(tmp_path: Path, fakes: list[int]) -> None:
    with pytest.raises(ValueError, match="this one cannot be made"):
        make_phantoms(tmp_path / "new" / "Dataset005_P", noise_hu=1)
    assert list(tmp_path.iterdir()) == []
    make_phantoms(tmp_path / "new" / "Dataset005_P", noise_hu=2)


def test_two_runs_do_not_work_in_one_folder(tmp_path: Path, fakes: list[int]) -> None:
    with lock_folder(tmp_path), pytest.raises(ValueError, match="another run"):
        make_phantoms(tmp_path)
    assert fakes == []


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    """A raw dataset of three thin scans with thin labels."""
    raw = tmp_path / "Dataset004_Thin"
    for folder in ("imagesTr", "labelsTr"):
        (raw / folder).mkdir(parents=True)
    rng = np.random.default_rng(0)
    for number in range(3):
        image = np.full((12, 16, 16), -1000, np.int16)
        image[:, 3:13, 3:13] = rng.normal(40, 20, (12, 10, 10))
        labels = np.zeros(image.shape, np.uint8)
        labels[3:9, 5:9, 5:9] = 1
        sitk.WriteImage(sitk.GetImageFromArray(image), str(raw / f"imagesTr/case_{number}_0000.nii.gz"))
        sitk.WriteImage(sitk.GetImageFromArray(labels), str(raw / f"labelsTr/case_{number}.nii.gz"))
    content = {"channel_names": {"0": "CT"}, "labels": {"background": 0, "lesion": 1}, "numTraining": 3,
               "file_ending": ".nii.gz"}  # fmt: skip
    (raw / "dataset.json").write_text(json.dumps(content))
    return raw


@pytest.mark.parametrize(
    ("flags", "named"),
    [
        ("--factor 1000000", "1000000"), ("--factor 1", "1"), ("--factor 0", "0"), ("--factor -3", "-3"),
        ("--thickness nan", NAN), ("--thickness 0", "0"), ("--thickness -1", "-1"), ("--thickness inf", INF),
        ("--thickness 1e9", "1e+09"), ("--threshold nan", NAN), ("--threshold 0", "0"), ("--threshold 1.5", "1.5"),
        ("--threshold -1", "-1"), ("--folds 1000000000", "1000000000"), ("--folds 1", "1"), ("--folds -5", "-5"),
        ("-np 0", "0"), ("-np -1", "-1"), ("-np 1000000", "1000000"), ("--test_share nan", NAN),
        ("--test_share 1", "1"), ("--test_share -0.1", "-0.1"), ("--test_share inf", INF), ("--seed -1", "-1"),
        (f"--seed {2**40}", str(2**40)), ("--patient_pattern (", "("), ("--patient_pattern x", "x"),
        (f"--patient_pattern {'a' * 501}", "501"), ("--patient_pattern (?P<a", "(?P<a"),
        ("--patients nowhere.csv", "nowhere.csv"), ("--patients .", "."), ("--patients /dev/zero", "zero"),
        ("--test nobody", "nobody"), ("-d 0", "0"), ("-n ../x", "../x"),
    ],
)  # fmt: skip
def test_pairs_that_are_refused(run: Callable[..., str], pairs: Path, flags: str, named: str) -> None:
    assert named in run("make_pairs", "-i", pairs, "-d", 6, "--factor", 3, "--no_pbar", "-np", 1, *flags.split())


def make_pairs(raw: Path, *flags: str) -> int:
    return main(
        ["make_pairs", "-i", str(raw), "-d", "6", "--factor", "3", "--no_pbar", "--no_pictures", "-np", "1", *flags]
    )


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_pair_that_was_damaged_is_made_again(
    nnunet_folders: SimpleNamespace, pairs: Path, damage: str, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = nnunet_folders.raw / "Dataset006_ThinThick"
    assert make_pairs(pairs) == 0
    before = contents(folder)
    DAMAGES[damage](folder / "labelsTr" / "case_1.nii.gz")
    kept = (folder / "labelsTr" / "case_0.nii.gz").stat().st_mtime_ns
    assert make_pairs(pairs) == 0
    assert contents(folder) == before
    assert (folder / "labelsTr" / "case_0.nii.gz").stat().st_mtime_ns == kept


def test_refused_pairs_do_not_block_the_corrected_try(
    run: Callable[..., str], nnunet_folders: SimpleNamespace, pairs: Path
) -> None:
    image = pairs / "imagesTr" / "case_1_0000.nii.gz"
    whole = image.read_bytes()
    image.write_bytes(whole[:-300])
    assert "case_1_0000.nii.gz" in run("make_pairs", "-i", pairs, "-d", 6, "--factor", 3, "--no_pbar", "-np", 1)
    image.write_bytes(whole)
    assert make_pairs(pairs, "--seed", "7") == 0


class TestPatients:
    @pytest.mark.parametrize("pattern", ["(a+)+$", "(a|aa)+$", "(.*a){25}$", "(a*)*b"])
    def test_a_pattern_that_would_take_years_is_ended(self, monkeypatch: pytest.MonkeyPatch, pattern: str) -> None:
        monkeypatch.setattr(patients.search_for, "__kwdefaults__", {"limit_s": 1})
        begun = time.monotonic()
        with pytest.raises(ValueError, match="must be quick to search"):
            patients_by_pattern(["a" * 200 + "!"], pattern)
        assert time.monotonic() - begun < 10

    @given(
        names=st.lists(st.text(min_size=1, max_size=30).filter(lambda name: "\n" not in name), max_size=3, unique=True)
    )
    def test_names_of_any_kind_are_found(self, names: list[str]) -> None:
        assert patients_by_pattern(names, "(?s)^.+$") == {name: name for name in names}

    @pytest.mark.parametrize(
        "content",
        [b"", b"\0", b"case,patient\n\0,a\n", b"\xff\xfe", b"case,patient\ncase_0,\xe9\n", b"case;patient\na;b\n",
         b"case,patient\n", b"case\ncase_0\n", b"case,patient\ncase_0,a\ncase_0,b\n", b"case,patient\ncase_0\n",
         b'case,patient\n"case_0,a\n', b"case,patient\ncase_0,   \n", b"a" * 200_000, b'"' * 5, b"\n" * 1000,
         b"patient,case\n" + b"x," * 5000],
    )  # fmt: skip
    def test_odd_tables(self, tmp_path: Path, content: bytes) -> None:
        file = tmp_path / "patients.csv"
        file.write_bytes(content)
        with pytest.raises(ValueError, match=r"patients\.csv"):
            patients_by_table(["case_0"], file)

    def test_a_table_without_end(self, tmp_path: Path) -> None:
        file = tmp_path / "patients.csv"
        with file.open("wb") as stream:
            stream.truncate(65 << 20)  # sparse
        with pytest.raises(ValueError, match=r"too large.*patients\.csv"):
            patients_by_table(["case_0"], file)
        pipe = tmp_path / "pipe.csv"
        os.mkfifo(pipe)
        with pytest.raises(ValueError, match=r"pipe\.csv"):
            patients_by_table(["case_0"], pipe)


class TestResources:
    """In processes of their own, for limits of the system cannot be taken back."""

    @pytest.mark.parametrize(("limit_kb", "processes"), [(0, 1), (1, 2)])
    def test_a_disk_that_is_full(self, tmp_path: Path, fakes: list[int], limit_kb: int, processes: int) -> None:
        assert_one_sentence(phantoms_with(tmp_path, {resource.RLIMIT_FSIZE: limit_kb << 10}, processes))
        for folder in (tmp_path, tmp_path / "whole"):
            assert main(["phantom", "-d", "900", "-o", str(folder), *SMALL, "-np", "1"]) == 0
        name = "Dataset900_Phantom"
        assert contents(tmp_path / name) == contents(tmp_path / "whole" / name)

    def test_too_little_memory(self, tmp_path: Path) -> None:
        assert_one_sentence(phantoms_with(tmp_path, {resource.RLIMIT_AS: 600 << 20}, 2))
        assert list(tmp_path.iterdir()) == []

    def test_memory_that_a_process_may_not_have(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(memory_limit, "allowed_bytes", lambda: 10**9)
        with pytest.raises(ValueError, match=r"a phantom needs about 2.0 GB, and ulimit -v leaves 1.0 GB"):
            memory_limit.require_memory(2 * 10**9, "a phantom")
        with pytest.raises(OSError, match="memory ran out"), memory_limit.in_one_sentence():
            raise MemoryError("Unable to allocate 3 GiB")
        with pytest.raises(RuntimeError, match="shapes"), memory_limit.in_one_sentence():
            raise RuntimeError("shapes differ")

    def test_memory_of_several_processes(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(memory_limit, "machine_bytes", lambda: 3 * 10**9)
        memory_limit.require_memory(2 * 10**9, "a phantom")
        with pytest.raises(ValueError, match=r"2 processes at once .* take fewer"):
            memory_limit.require_memory(2 * 10**9, "a phantom", processes=2)


def phantoms_with(folder: Path, limits: dict[int, int], processes: int) -> subprocess.CompletedProcess[str]:
    def limit() -> None:
        for name, value in limits.items():
            resource.setrlimit(name, (value, value))

    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
                   "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"}  # fmt: skip
    command = [sys.executable, str(DRIVER), "phantom", "-d", "900", "-o", str(folder), *SMALL, "-np", str(processes)]
    return subprocess.run(
        command, capture_output=True, text=True, check=False, env=environment, preexec_fn=limit, timeout=120
    )


def assert_one_sentence(done: subprocess.CompletedProcess[str]) -> None:
    assert done.returncode == 2, done.stderr
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert done.stderr.startswith("cfseg phantom: ")
