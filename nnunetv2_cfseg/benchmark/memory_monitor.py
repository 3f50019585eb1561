"""Measure seconds and memory of a command with all processes that it starts (Linux)."""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

SAMPLE_S = 0.1


def measure(command: Sequence[object], environment: Mapping[str, str] | None = None) -> tuple[float, int]:
    """Run a command to its end and measure it.

    Returns:
        Seconds, and the largest number of bytes that it and its children held at a sample.

    Raises:
        RuntimeError: the command failed; the message holds its output.
    """
    with tempfile.TemporaryFile("w+") as log:
        begun, peak_bytes = time.perf_counter(), 0
        process = subprocess.Popen(
            [str(word) for word in command], stdout=log, stderr=log, env={**os.environ, **(environment or {})}
        )
        while process.poll() is None:
            peak_bytes = max(peak_bytes, tree_bytes(process.pid))
            time.sleep(SAMPLE_S)
        seconds = time.perf_counter() - begun
        if process.returncode:
            log.seek(0)
            raise RuntimeError(f"{command[0]} ended with {process.returncode}:\n{log.read()}")
    return seconds, peak_bytes


def tree_bytes(pid: int) -> int:
    """Proportional set size of a process and all its descendants, in bytes (proc(5), smaps_rollup).

    Returns:
        Bytes; 0 if the process has ended or there is no ``/proc``.
    """
    process = Path("/proc", str(pid))
    try:
        lines = (process / "smaps_rollup").read_text().splitlines()
        children = {int(child) for task in process.glob("task/*/children") for child in task.read_text().split()}
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return 0
    own = sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))
    return own + sum(map(tree_bytes, children))
