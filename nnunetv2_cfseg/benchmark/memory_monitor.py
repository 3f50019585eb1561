"""Seconds and memory of a command with all the processes it starts (Linux)."""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

SAMPLE_S = 0.1


def measure(command: Sequence[object], environment: Mapping[str, str] | None = None) -> tuple[float, int]:
    """Run a command to its end.

    Returns:
        Seconds, and the most bytes that it and its processes held at a sample.

    Raises:
        RuntimeError: it failed; the message is what it wrote.
    """
    with tempfile.TemporaryFile("w+") as log:
        begun, most = time.perf_counter(), 0
        process = subprocess.Popen(
            [str(word) for word in command], stdout=log, stderr=log, env={**os.environ, **(environment or {})}
        )
        while process.poll() is None:
            most = max(most, tree_bytes(process.pid))
            time.sleep(SAMPLE_S)
        seconds = time.perf_counter() - begun
        if process.returncode:
            log.seek(0)
            raise RuntimeError(f"{command[0]} ended with {process.returncode}:\n{log.read()}")
    return seconds, most


def tree_bytes(pid: int) -> int:
    """Proportional set size of a process and all it started, in bytes (proc(5), smaps_rollup).

    Returns:
        0 for a process that has ended, and where there is no ``/proc``.
    """
    process = Path("/proc", str(pid))
    try:
        lines = (process / "smaps_rollup").read_text().splitlines()
        children = {int(child) for task in process.glob("task/*/children") for child in task.read_text().split()}
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return 0
    own = sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))
    return own + sum(map(tree_bytes, children))
