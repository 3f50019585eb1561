"""Where results are written: never over what they are made from, and named without the folders of one machine."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from nnunetv2_cfseg.errors.printable import printable

#: Names that nnU-Net and this package give to files which others read.
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
        inputs: files that are read; None is passed over.

    Raises:
        ValueError: an output is an input, under this name or another.
    """
    sources = [file for file in inputs if file is not None]
    places = {os.path.realpath(file) for file in sources}  # Path.resolve fails of links that go round in a circle
    files = {(state.st_dev, state.st_ino) for state in map(_state, sources) if state is not None}
    for output in outputs:
        state = _state(output)
        if os.path.realpath(output) in places or (state is not None and (state.st_dev, state.st_ino) in files):
            raise ValueError(f"an output must not replace a file that is read, and this one would: {printable(output)}")


def check_not_taken(outputs: Iterable[Path]) -> None:
    """Refuse names that other files have by convention.

    Raises:
        ValueError: with the name.
    """
    for output in outputs:
        if output.name.lower() in TAKEN:
            raise ValueError(f"an output must have a name of its own, and {output.name} is another file's: {output}")


def require_new_folder(folder: Path) -> None:
    """Refuse to write over what is there.

    Raises:
        ValueError: something has the folder's name.
    """
    if os.path.lexists(folder):
        raise ValueError(f"-o must name a new folder, and this one is there: {folder}")


def _state(file: Path) -> os.stat_result | None:
    try:
        return file.stat()
    except OSError:
        return None
