"""The command ``cfseg benchmark`` with trainings that are made up: FAKE_TRAINING is Python that a cell runs instead."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from nnunetv2_cfseg import cli
from nnunetv2_cfseg.benchmark import cell, run


class FakeRunner(cell.CommandRunner):
    """Runs the made-up training in place of the real one."""

    def run(self, arguments: Any, **keywords: Any) -> None:
        """Run it."""
        super().run(["python", "-c", os.environ["FAKE_TRAINING"]], **keywords)


cell.CommandRunner = FakeRunner
cell.find_scans = lambda *_: SimpleNamespace(
    images=Path(), truth=Path(), dataset_json=Path("dataset.json"), cases=1, words=""
)
run.prepare = lambda *_, **__: None
run.check_folds = lambda *_: None
run.checked_matrix = lambda matrix, *_, **__: matrix

if __name__ == "__main__":
    sys.exit(cli.main())
