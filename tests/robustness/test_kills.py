"""Commands that are killed with SIGKILL, which runs no clean-up: within seconds no process of theirs is left.

Each command's work is made up and starts what is hardest to find again: a process in a session of its own, one that
ignores SIGTERM, a forked one and a worker of multiprocessing.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from nnunetv2_cfseg.nnunet.environment import FOLDERS

DRIVER = Path(__file__).with_name("benchmark_driver.py")
#: Seconds until everything has ended, on a busy machine.
PATIENCE_S = 12.0
#: Writes down the id of every process that it starts, and waits.
FAMILY = textwrap.dedent(
    """
    import os, pathlib, signal, subprocess, sys, time
    here = pathlib.Path(os.environ["IDS"])
    def begun():
        (here / str(os.getpid())).touch()
    deaf = "import os, pathlib, signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); " \\
           "(pathlib.Path(os.environ['IDS']) / str(os.getpid())).touch(); time.sleep(120)"
    begun()
    subprocess.Popen([sys.executable, "-S", "-c", deaf], start_new_session=True)
    subprocess.Popen([sys.executable, "-S", "-c", deaf])
    if not os.fork():
        os.setsid()
        begun()
    time.sleep(120)
    """
)
COUNT = 4
#: A library that starts processes by itself, as nnU-Net does.
LIBRARY = """
import multiprocessing, os, pathlib, subprocess, sys, time
from nnunetv2_cfseg.processes.lifetime import children_end_with_this_process
def work(seconds):
    (pathlib.Path(os.environ["IDS"]) / str(os.getpid())).touch()
    time.sleep(seconds)
if __name__ == "__main__":
    with children_end_with_this_process(), multiprocessing.get_context("spawn").Pool(2) as pool:
        subprocess.Popen([sys.executable, "-c", os.environ["FAKE_TRAINING"]], start_new_session=True)
        pool.map(work, [120, 120])
"""
RUNNER = """
import os, pathlib
from nnunetv2_cfseg.processes.subprocess_runner import CommandRunner
command = ["python", "-c", os.environ["FAKE_TRAINING"]]
CommandRunner(pathlib.Path("."), {}).run(command, environment={}, log=pathlib.Path("log"))
"""
POOL = """
import os, pathlib, time
from nnunetv2_cfseg.processes.parallel_map import parallel_map
def work(seconds):
    (pathlib.Path(os.environ["IDS"]) / str(os.getpid())).touch()
    time.sleep(seconds)
if __name__ == "__main__":
    list(parallel_map(work, [120, 120], num_processes=2))
"""
Start = Callable[..., subprocess.Popen]


@pytest.fixture
def ids(tmp_path: Path) -> Path:
    folder = tmp_path / "ids"
    folder.mkdir()
    return folder


@pytest.fixture
def start(tmp_path: Path, ids: Path) -> Iterator[Start]:
    """A function that starts a command in a session of its own."""
    started: list[subprocess.Popen] = []

    def start(*command: object, training: str = FAMILY) -> subprocess.Popen:
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path), "IDS": str(ids),
                       "FAKE_TRAINING": training, "OMP_NUM_THREADS": "1"}  # fmt: skip
        for name in FOLDERS:
            (tmp_path / name).mkdir(exist_ok=True)
            environment[name] = str(tmp_path / name)
        started.append(
            subprocess.Popen([sys.executable, *map(str, command)], cwd=tmp_path, env=environment, text=True,
                             start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        )  # fmt: skip
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.communicate(timeout=60)
    for file in ids.iterdir():  # of a test that failed
        if is_alive(int(file.name)):
            os.kill(int(file.name), signal.SIGKILL)


def script(tmp_path: Path, text: str) -> Path:
    file = tmp_path / "script.py"
    file.write_text(text)
    return file


def benchmark(tmp_path: Path, *flags: object) -> list[object]:
    return [DRIVER, "benchmark", "-d", 1, "-tr", "A", "-p", "P", "-o", tmp_path / "out", *flags]


@pytest.mark.parametrize(("text", "count"), [(RUNNER, COUNT), (LIBRARY, COUNT + 2), (POOL, 2)])
def test_nothing_lives_on(tmp_path: Path, ids: Path, start: Start, text: str, count: int) -> None:
    process = start(script(tmp_path, text))
    wait_for(ids, count, process)
    process.kill()
    wait_for_end(ids)


@pytest.mark.parametrize("whole_group", [False, True])
def test_a_benchmark_that_is_killed_ends_its_trainings(
    tmp_path: Path, ids: Path, start: Start, whole_group: bool
) -> None:
    process = start(*benchmark(tmp_path, "--seeds", 1, 2, "--jobs", 2))
    wait_for(ids, 2 * COUNT, process)
    if whole_group:
        os.killpg(process.pid, signal.SIGKILL)
    else:
        process.kill()
    wait_for_end(ids)


def test_a_benchmark_that_is_stopped_ends_its_trainings(tmp_path: Path, ids: Path, start: Start) -> None:
    process = start(*benchmark(tmp_path))
    wait_for(ids, COUNT, process)
    process.terminate()
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 130
    assert errors.splitlines()[-1] == "cfseg benchmark: stopped"
    assert "Traceback" not in errors
    wait_for_end(ids, patience_s=0.5)


def test_a_second_benchmark_goes_on_after_a_kill(tmp_path: Path, ids: Path, start: Start) -> None:
    first = start(*benchmark(tmp_path))
    wait_for(ids, COUNT, first)
    (folder,) = (tmp_path / "out").glob("cells/*/*/*")
    left = folder / ".train.json.99999999.tmp"
    left.touch()  # as a kill in the middle of a write leaves it
    first.kill()
    second = start(*benchmark(tmp_path), training="raise SystemExit('my own reason')")
    _, errors = second.communicate(timeout=60)
    assert second.returncode == 2
    assert "my own reason" in errors  # it did not wait for ever
    assert not left.exists()


def wait_for(ids: Path, count: int, process: subprocess.Popen) -> None:
    deadline = time.monotonic() + 60
    while len(list(ids.iterdir())) < count:
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline
        time.sleep(0.05)


def wait_for_end(ids: Path, *, patience_s: float = PATIENCE_S) -> None:
    deadline = time.monotonic() + patience_s
    while alive := [file.name for file in ids.iterdir() if is_alive(int(file.name))]:
        assert time.monotonic() < deadline, alive
        time.sleep(0.05)


def is_alive(pid: int) -> bool:
    """A process that has ended and that nobody waits for is still in the table, as Z."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False
