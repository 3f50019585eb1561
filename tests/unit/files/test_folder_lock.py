"""One run at a time in a folder, for as long as that run lives, and no longer."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from nnunetv2_cfseg.files.folder_lock import LOCK, lock_folder

HOLD = """
import sys, time
from pathlib import Path
from nnunetv2_cfseg.files.folder_lock import lock_folder
with lock_folder(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[subprocess.Popen]:
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path / "fold_0")], stdout=subprocess.PIPE)
    assert process.stdout
    assert process.stdout.readline() == b"held\n"
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


def test_a_lock_keeps_another_process_out(holder: subprocess.Popen, tmp_path: Path) -> None:
    words = rf"another run .*process {holder.pid} on .*fold_0$"
    with pytest.raises(ValueError, match=words), lock_folder(tmp_path / "fold_0"):
        pytest.fail("must not be let in")


def test_a_lock_ends_with_a_process_that_is_killed(holder: subprocess.Popen, tmp_path: Path) -> None:
    holder.kill()
    holder.wait()
    assert (tmp_path / "fold_0" / LOCK).is_file()  # which locks nothing any more
    with lock_folder(tmp_path / "fold_0"):
        pass
    assert not list((tmp_path / "fold_0").iterdir())


def test_a_lock_is_of_one_folder(holder: subprocess.Popen, tmp_path: Path) -> None:
    with lock_folder(tmp_path / "fold_1"):
        pass


def test_a_lock_is_gone_after_an_error(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), lock_folder(tmp_path):
        raise ZeroDivisionError
    assert not list(tmp_path.iterdir())


def test_a_lock_file_of_anything_is_no_lock(tmp_path: Path) -> None:
    (tmp_path / LOCK).write_bytes(b"\xff" * 5000)
    with lock_folder(tmp_path):
        assert f"{os.getpid()} on" in (tmp_path / LOCK).read_text()


def test_a_lock_is_passed_over_where_there_are_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_locks(*args: Any) -> None:
        raise OSError(37, "No locks available")

    monkeypatch.setattr("fcntl.flock", no_locks)
    with lock_folder(tmp_path):
        pass
    assert not list(tmp_path.iterdir())


def test_a_lock_says_what_it_is_asked_to(tmp_path: Path) -> None:
    with (
        lock_folder(tmp_path),
        pytest.raises(ValueError, match=rf"^nobody else may \(process {os.getpid()} on "),
        lock_folder(tmp_path, held="nobody else may"),
    ):
        pass


FORK = """
import os, sys, time
from pathlib import Path
from nnunetv2_cfseg.files.folder_lock import lock_folder
with lock_folder(Path(sys.argv[1])):
    worker = os.fork()
    if worker:
        print(worker, flush=True)
    time.sleep(60)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_a_lock_is_not_held_on_by_forked_workers(tmp_path: Path) -> None:
    """As those of a training that was killed: they live for a moment more."""
    with subprocess.Popen([sys.executable, "-c", FORK, str(tmp_path)], stdout=subprocess.PIPE) as process:
        assert process.stdout
        worker = int(process.stdout.readline())
        try:
            with pytest.raises(ValueError, match=f"process {process.pid} "), lock_folder(tmp_path):
                pass  # the worker has not unlocked it either
            process.kill()
            process.wait()
            with lock_folder(tmp_path):
                assert Path(f"/proc/{worker}").exists()
        finally:
            process.kill()
            os.kill(worker, signal.SIGKILL)
