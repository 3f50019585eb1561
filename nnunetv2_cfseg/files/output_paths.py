"""Checks where results are written: never over an input, and never under a name that others read."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from nnunetv2_cfseg.errors.printable import printable

#: Names of files that nnU-Net or this package writes for others to read.
TAKEN = frozenset(
    {
        "bundle.json", "comparison.json", "dataset.json", "dataset_fingerprint.json", "phantom.json", "plans.json",
        "postprocessing.json", "quantities.json", "splits_final.json", "thin_thick.json", "volumes.csv",
    }
)  # fmt: skip


def check_not_read(outputs: Iterable[Path], inputs: Iterable[Path | None]) -> None:
    """Refuse to write over a file that is read.

    Args:
        outputs: files that would be written.
        inputs: files that are read; None is skipped.

    Raises:
        ValueError: an output is an input, under this name or another.
    """
    sources = [file for file in inputs if file is not None]
    paths = {os.path.realpath(file) for file in sources}  # Path.resolve fails on links that form a circle
    files = {(state.st_dev, state.st_ino) for state in map(_state, sources) if state is not None}
    for output in outputs:
        state = _state(output)
        if os.path.realpath(output) in paths or (state is not None and (state.st_dev, state.st_ino) in files):
            raise ValueError(f"an output must not replace a file that is read, and this one would: {printable(output)}")


def check_not_taken(outputs: Iterable[Path]) -> None:
    """Refuse names that other files have by convention.

    Raises:
        ValueError: an output has such a name.
    """
    for output in outputs:
        if output.name.lower() in TAKEN:
            raise ValueError(f"an output must have a name of its own, and {output.name} is reserved: {output}")


def require_new_folder(folder: Path) -> None:
    """Refuse an output folder that exists already.

    Raises:
        ValueError: a folder or file has this name.
    """
    if os.path.lexists(folder):
        raise ValueError(f"-o must name a new folder, and this one is there: {folder}")


def _state(file: Path) -> os.stat_result | None:
    try:
        return file.stat()
    except OSError:
        return None
