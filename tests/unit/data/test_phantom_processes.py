"""``cfseg phantom`` in processes of its own, as at a shell: they end together, and a run that ended goes on later."""

from __future__ import annotations

import hashlib
import os
import runpy
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from nnunetv2_cfseg import cli
from nnunetv2_cfseg.data.phantom import files

pytestmark = pytest.mark.slow

DRIVER = Path(__file__).with_name("phantom_driver.py")
fake_case = runpy.run_path(str(DRIVER))["fake_case"]
FLAGS = ["--matrix", "24", "18", "16", "--factor", "3", "--train", "3", "--test", "2", "--no_pbar"]
NAME = "Dataset900_Phantom"
Start = Callable[..., subprocess.Popen]


def run(folder: Path, *flags: str, **steering: str) -> subprocess.Popen:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path), **steering}
    environment["OMP_NUM_THREADS"] = "2"
    environment.pop("PYTHONWARNINGS", None)
    command = [sys.executable, str(DRIVER), "phantom", "-d", "900", "-o", str(folder), *FLAGS, *flags]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment, start_new_session=True)


@pytest.fixture
def pids(tmp_path: Path) -> Path:
    """For each case that was begun a file: the process's id, the case's number."""
    folder = tmp_path / "pids"
    folder.mkdir()
    return folder


@pytest.fixture
def start(tmp_path: Path, pids: Path) -> Iterator[Start]:
    """A function that starts the command; ``do`` says what befalls which case."""
    started: list[subprocess.Popen] = []

    def start(*flags: str, do: str = "") -> subprocess.Popen:
        started.append(run(tmp_path, *flags, FAKE_PIDS=str(pids), FAKE_DO=do))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.communicate(timeout=60)


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Checksums of the dataset that one process makes undisturbed."""
    folder = tmp_path_factory.mktemp("alone")
    process = run(folder, "-np", "1")
    _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (0, "")
    return checksums(folder / NAME)


@pytest.fixture
def assert_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, alone: dict[str, str]) -> Callable[[], None]:
    """Another run, in this process, gives the dataset that an undisturbed process gives alone."""

    def go_on() -> None:
        monkeypatch.setattr(files, "make_case", fake_case)
        assert cli.main(["phantom", "-d", "900", "-o", str(tmp_path), *FLAGS, "-np", "1"]) == 0
        assert checksums(tmp_path / NAME) == alone

    return go_on


def test_however_many_give_the_same_bytes(pids: Path, start: Start, assert_goes_on: Callable[[], None]) -> None:
    process = start("-np", "2")
    _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (0, "")
    begun = [path.name.split("_") for path in pids.iterdir()]
    assert sorted(index for _, index in begun) == list("01234")
    assert str(process.pid) not in {pid for pid, _ in begun}
    assert {path.read_text() for path in pids.iterdir()} == {"1"}  # thread
    assert_goes_on()


@pytest.mark.parametrize(
    ("do", "named"),
    [
        ("1 fail,0 sleep", "a case must not fail, and 1 does"),
        ("1 die,0 sleep", "one of 2 processes was killed"),
    ],
)
def test_all_end_with_one_that_fails(
    tmp_path: Path, pids: Path, start: Start, assert_goes_on: Callable[[], None], do: str, named: str
) -> None:
    process = start("-np", "2", do=do)
    _, errors = process.communicate(timeout=40)
    assert process.returncode == 2, errors
    assert len(errors.splitlines()) == 1, errors
    assert errors.startswith(f"cfseg phantom: {named}")
    wait_for_end(pids)
    assert not any("phantom_000" in file or "unfinished" in file for file in checksums(tmp_path / NAME))
    assert_goes_on()


def test_end_at_ctrl_c(tmp_path: Path, pids: Path, start: Start, assert_goes_on: Callable[[], None]) -> None:
    process = start("-np", "2", do="1 sleep,2 sleep")
    wait_for_cases(pids, "1", "2")
    os.killpg(process.pid, signal.SIGINT)
    process.communicate(timeout=40)
    assert process.returncode != 0
    wait_for_end(pids)
    folder = tmp_path / NAME
    assert [path.name for path in (folder / "provenance").iterdir()] == ["phantom_000.json"]
    assert [path.name for path in (folder / "imagesTr").iterdir()] == ["phantom_000_0000.nii.gz"]
    assert not (folder / ".unfinished").exists()
    assert not (folder / "dataset.json").exists()
    scan = folder / "imagesTr" / "phantom_000_0000.nii.gz"
    written = scan.stat().st_mtime_ns
    assert_goes_on()
    assert scan.stat().st_mtime_ns == written


def test_end_with_the_first_one_when_it_is_killed(pids: Path, start: Start, assert_goes_on: Callable[[], None]) -> None:
    process = start("-np", "2", do="all sleep")
    wait_for_cases(pids, "0", "1")
    process.kill()
    wait_for_end(pids)
    assert_goes_on()


def checksums(folder: Path) -> dict[str, str]:
    """Of every file, hidden ones too."""
    return {
        str(file.relative_to(folder)): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in folder.rglob("*")
        if file.is_file()
    }


def wait_for_cases(pids: Path, *indices: str) -> None:
    """Until each of them was begun."""
    wait_until(lambda: set(indices) <= {path.name.split("_")[1] for path in pids.iterdir()})


def wait_for_end(pids: Path) -> None:
    """Until no process that began a case is there any more."""
    wait_until(lambda: not any(is_alive(int(path.name.split("_")[0])) for path in pids.iterdir()))


def wait_until(condition: Callable[[], bool], timeout_s: float = 40) -> None:
    end = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


def is_alive(pid: int) -> bool:
    """A process that has ended and that nobody waits for is still in the table, as Z."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False
