"""Where the time of a prediction goes: runs ``cfseg predict`` or ``nnUNetv2_predict`` and writes seconds as JSON.

    python experiments/stopwatch.py seconds.json cfseg predict -i scans -o out -m model
    python experiments/stopwatch.py seconds.json nnUNetv2_predict -i scans -o out -d 501 ...

Seconds of a step do not include those of steps that it calls. Steps in other threads overlap with the network's;
nnU-Net's work in other processes is not measured. ``start`` is the time from the start of the process to the first
step: imports and loading the model.
"""

from __future__ import annotations

import functools
import json
import os
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

#: For each command its entry point, and the functions that are timed as steps.
COMMANDS = {
    "cfseg": (
        "nnunetv2_cfseg.cli:main",
        {
            "nnunetv2_cfseg.inference.predict:read_scan": "reading",
            "nnunetv2_cfseg.inference.predict:predict_volume": "labels",
            "nnunetv2_cfseg.inference.resampled_scan:ResampledScan.read": "resampling",
            "nnunetv2_cfseg.inference.rowwise_logits:RowwiseLogits._predict_row": "network",
            "nnunetv2_cfseg.inference.predict:write_labels": "writing",
        },
    ),
    "nnUNetv2_predict": (
        "nnunetv2.inference.predict_from_raw_data:predict_entry_point",
        {
            "nnunetv2.inference.predict_from_raw_data:nnUNetPredictor._internal_maybe_mirror_and_predict": "network",
        },
    ),
}


class Stopwatch:
    """Sums up the seconds spent in functions."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self.start_s: float | None = None
        self._inside = threading.local()

    def wrap(self, target: str, step: str) -> None:
        """Time a function, ``module:name`` or ``module:Class.name``."""
        module, _, path = target.partition(":")
        *owners, name = path.split(".")
        owner: Any = functools.reduce(getattr, owners, import_module(module))
        setattr(owner, name, self._timed(getattr(owner, name), step))

    def _timed(self, function: Callable[..., Any], step: str) -> Callable[..., Any]:
        @functools.wraps(function)
        def timed(*args: Any, **kwargs: Any) -> Any:
            if self.start_s is None:
                self.start_s = seconds_since_start()
            outer = getattr(self._inside, "called_s", 0.0)
            self._inside.called_s, begun = 0.0, time.perf_counter()
            try:
                result = function(*args, **kwargs)
                wait_for_gpu()
                return result
            finally:
                spent = time.perf_counter() - begun
                self.seconds[step] += spent - self._inside.called_s
                self._inside.called_s = outer + spent

        return timed


def seconds_since_start() -> float:
    """Seconds since this process started (proc(5))."""
    ticks = Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19]
    return time.clock_gettime(time.CLOCK_BOOTTIME) - int(ticks) / os.sysconf("SC_CLK_TCK")


def wait_for_gpu() -> None:
    """Wait until the GPU has finished all work, if it is used."""
    import torch

    if torch.cuda.is_initialized():
        torch.cuda.synchronize()


def main() -> None:
    """Run the command and write the seconds, even if it fails."""
    file, command, *arguments = sys.argv[1:]
    entry_point, steps = COMMANDS[command]
    watch = Stopwatch()
    for function, step in steps.items():
        watch.wrap(function, step)
    module, _, name = entry_point.partition(":")
    sys.argv = [command, *arguments]
    try:
        status = getattr(import_module(module), name)()
    finally:
        seconds = {"start": watch.start_s, **watch.seconds, "total": seconds_since_start()}
        Path(file).write_text(json.dumps(seconds, indent=2))
    sys.exit(status)


if __name__ == "__main__":
    main()
