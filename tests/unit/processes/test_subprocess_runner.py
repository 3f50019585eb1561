"""Running a command: its log, its failure in a sentence, and that nothing of it is left however it ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from nnunetv2_cfseg.processes import lifetime
from nnunetv2_cfseg.processes.lifetime import process_exists
from nnunetv2_cfseg.processes.parallel_map import checked_processes
from nnunetv2_cfseg.processes.stop_signals import STOP_SIGNALS, stopped_by_signals
from nnunetv2_cfseg.processes.subprocess_runner import CommandError, CommandRunner

LOG = Path("logs", "step.log")
#: Starts a child that ignores SIGTERM and writes down both process ids, then waits.
FAMILY = """
import os, pathlib, subprocess, sys, time
deaf = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(flush=True); time.sleep(60)"
child = subprocess.Popen([sys.executable, "-c", deaf], stdout=subprocess.PIPE)
child.stdout.readline()
pathlib.Path("ids.tmp").write_text(f"{os.getpid()} {child.pid}")
os.rename("ids.tmp", "ids")
"""


def run(folder: Path, code: str, watch: Callable[[int], None] = lambda pid: None, **environment: str) -> None:
    runner = CommandRunner(folder, {"CFSEG_TEST_A": "a"})
    runner.run(("python", "-c", code), environment=environment, log=LOG, watch=watch, every_s=0.02)


def last_line(file: Path) -> str:
    return file.read_text().splitlines()[-1].strip()


def is_alive(pid: int) -> bool:
    """Whether a process is there and not a zombie, which a container without an init keeps."""
    stat = Path(f"/proc/{pid}/stat")
    try:
        return stat.read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_what_it_prints_goes_to_its_log_after_the_command(tmp_path: Path) -> None:
    run(tmp_path, "import sys; print('one'); print('two', file=sys.stderr)")
    lines = (tmp_path / LOG).read_text().splitlines()
    assert lines[0].startswith("$ python -c ")
    assert sorted(lines[1:]) == ["one", "two"]


def test_a_second_run_is_added_to_the_log(tmp_path: Path) -> None:
    run(tmp_path, "print(1)")
    run(tmp_path, "print(2)")
    assert [line for line in (tmp_path / LOG).read_text().splitlines() if line[0] != "$"] == ["1", "2"]


def test_runs_in_the_folder_with_its_environment_and_without_input(tmp_path: Path) -> None:
    code = (
        "import os, sys; print(os.getcwd(), os.environ['CFSEG_TEST_A'], os.environ['CFSEG_TEST_B'], sys.stdin.read())"
    )
    run(tmp_path, code, CFSEG_TEST_B="b")
    assert last_line(tmp_path / LOG) == f"{tmp_path} a b"


def test_python_and_scripts_are_those_beside_this_python(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    run(tmp_path, "import sys; print(sys.executable)")
    assert last_line(tmp_path / LOG) == sys.executable
    for folder, word in (("beside", "right"), ("elsewhere", "wrong")):
        script = tmp_path / folder / "tool"
        script.parent.mkdir()
        script.write_text(f"#!/bin/sh\necho {word}\n")
        script.chmod(0o755)
    (tmp_path / "beside" / "python").symlink_to(Path(sys.executable).resolve())
    monkeypatch.setattr(sys, "executable", str(tmp_path / "beside" / "python"))
    monkeypatch.setenv("PATH", str(tmp_path / "elsewhere"), prepend=os.pathsep)
    CommandRunner(tmp_path, {}).run(("tool",), environment={}, log=LOG)
    assert last_line(tmp_path / LOG) == "right"


def test_a_command_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="the command nnUNetv2_fly is not installed"):
        CommandRunner(tmp_path, {}).run(("nnUNetv2_fly", "-d", "1"), environment={}, log=LOG)


def test_a_failure_names_its_reason_the_command_and_the_log(tmp_path: Path) -> None:
    with pytest.raises(CommandError) as failure:
        run(tmp_path, "print('fine'); raise SystemExit('no space left')")
    assert (failure.value.reason, failure.value.log) == ("no space left", tmp_path / LOG)
    message = str(failure.value)
    assert message.startswith("no space left (python -c ")
    assert message.endswith(f"ended with status 1; log: {tmp_path / LOG})")
    assert "\n" not in message


def test_the_reason_is_of_this_run_alone(tmp_path: Path) -> None:
    with pytest.raises(CommandError):
        run(tmp_path, "raise SystemExit('the first reason')")
    with pytest.raises(CommandError) as failure:
        run(tmp_path, "import os; os._exit(3)")
    assert failure.value.reason == "it said nothing"


def test_a_long_command_is_shortened_in_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r" \.\.\. ended with status 3") as failure:
        run(tmp_path, f"a = '{'x' * 500}'\nraise SystemExit(3)")
    assert "\n" not in str(failure.value)
    assert len(str(failure.value)) < 500


def test_watch_is_called_while_it_runs_and_after(tmp_path: Path) -> None:
    calls: list[float] = []
    run(tmp_path, "import time; time.sleep(0.3)", watch=lambda pid: calls.append(time.monotonic()))
    assert len(calls) > 2


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_nothing_is_left_when_it_is_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: type[BaseException]
) -> None:
    monkeypatch.setattr(lifetime, "GRACE_S", 0.2)
    ids = tmp_path / "ids"

    def stop_once_the_family_is_there(_pid: int) -> None:
        if ids.exists():
            raise error

    with pytest.raises(error):
        run(tmp_path, f"{FAMILY}\ntime.sleep(60)", watch=stop_once_the_family_is_there)
    assert not any(is_alive(int(pid)) for pid in ids.read_text().split())


def test_nothing_is_left_when_it_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lifetime, "GRACE_S", 0.2)
    with pytest.raises(ValueError, match="status 4"):
        run(tmp_path, f"{FAMILY}\nos._exit(4)")
    assert not any(is_alive(int(pid)) for pid in (tmp_path / "ids").read_text().split())


@pytest.mark.parametrize("number", STOP_SIGNALS)
def test_signals_stop_once_and_do_not_interrupt_cleaning_up(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    steps = []

    def stop_and_clean_up() -> None:
        try:
            signal.raise_signal(number)
        finally:
            signal.raise_signal(number)
            steps.append("cleaned up")

    with pytest.raises(KeyboardInterrupt), stopped_by_signals():
        stop_and_clean_up()
    assert steps == ["cleaned up"]
    assert signal.getsignal(number) is before


def test_an_ignored_signal_stays_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup does
    try:
        with stopped_by_signals():
            signal.raise_signal(signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, before)


WORKER = """
import os, sys, time
from nnunetv2_cfseg.processes import lifetime
if sys.argv[2] == "thread":
    lifetime._killed_by_the_kernel_with_parent = lambda: False
lifetime.end_with_parent(int(sys.argv[1]))
print(os.getpid(), flush=True)
time.sleep(60)
"""

PARENT = f"""
import os, subprocess, sys, time
subprocess.Popen([sys.executable, "-c", {WORKER!r}, str(os.getpid()), sys.argv[1]])
time.sleep(60)
"""


class TestEndWithParent:
    @pytest.mark.parametrize("way", ["kernel", "thread"])
    def test_after_a_kill_that_runs_no_clean_up(self, way: str) -> None:
        with subprocess.Popen([sys.executable, "-c", PARENT, way], stdout=subprocess.PIPE, text=True) as parent:
            assert parent.stdout
            worker = int(parent.stdout.readline())
            assert process_exists(worker)
            parent.kill()
            killed = time.monotonic()
            # The pipe's end is closed by the last of both.
            assert parent.stdout.read() == ""
            assert time.monotonic() - killed < 20  # the worker would end by itself after 60 s

    def test_that_is_gone_already(self) -> None:
        with subprocess.Popen([sys.executable, "-c", ""]) as gone:
            pass
        done = subprocess.run([sys.executable, "-c", WORKER, str(gone.pid), "kernel"], timeout=20, capture_output=True)
        assert done.returncode == 1


def test_a_command_ends_when_it_is_told_to_from_another_thread(tmp_path: Path) -> None:
    stop = threading.Event()
    runner = CommandRunner(tmp_path, {}, stop=stop)
    threading.Timer(0.3, stop.set).start()
    begun = time.monotonic()
    with pytest.raises(InterruptedError):
        runner.run(("python", "-c", "import time; time.sleep(60)"), environment={}, log=LOG, every_s=0.05)
    assert time.monotonic() - begun < 10


def test_what_leaves_the_group_ends_with_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lifetime, "GRACE_S", 0.5)
    code = (
        "import pathlib, subprocess, sys\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'], start_new_session=True)\n"
        "pathlib.Path('id').write_text(str(child.pid))"
    )
    run(tmp_path, code)
    assert not is_alive(int((tmp_path / "id").read_text()))


@pytest.mark.parametrize("count", [0, -1, 10**6])
def test_a_machine_runs_so_many_processes(count: int) -> None:
    with pytest.raises(ValueError, match=f"-np must be from 1 to .* got {count}"):
        checked_processes(count)
    assert checked_processes(8) == 8
