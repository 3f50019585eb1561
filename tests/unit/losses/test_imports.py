"""Losses need torch alone."""

from __future__ import annotations

import os
import subprocess
import sys

IMPORT_ALL_LOSSES = """
import importlib, pkgutil, sys
import nnunetv2_cfseg.losses as package
for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
    importlib.import_module(module.name)
print(*sys.modules)
"""


def test_losses_import_no_nnunet() -> None:
    result = subprocess.run(
        [sys.executable, "-c", IMPORT_ALL_LOSSES],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
        capture_output=True,
        text=True,
        check=True,
    )
    modules = set(result.stdout.split())
    assert {"torch", "nnunetv2_cfseg.losses.thin_thick", "nnunetv2_cfseg.losses.slices"} <= modules
    assert {name.partition(".")[0] for name in modules}.isdisjoint({"nnunetv2", "scipy", "SimpleITK", "monai"})
