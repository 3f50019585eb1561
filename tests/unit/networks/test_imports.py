"""What importing costs: each check asks a fresh interpreter."""

from __future__ import annotations

import os
import subprocess
import sys

IMPORT_ALL_NETWORKS = """
import importlib, pkgutil
import nnunetv2_cfseg.networks as package
for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
    importlib.import_module(module.name)
"""


def modules_after(statement: str) -> set[str]:
    """Names in sys.modules once ``statement`` has run."""
    result = subprocess.run(
        [sys.executable, "-c", f"{statement}\nimport sys\nprint(*sys.modules, sep='\\n')"],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
        capture_output=True,
        text=True,
        check=True,
    )
    return set(result.stdout.split())


def packages(modules: set[str]) -> set[str]:
    return {name.partition(".")[0] for name in modules}


def test_a_fresh_interpreter_shows_what_was_imported_and_nothing_else() -> None:
    assert "colorsys" in modules_after("import colorsys")
    assert "colorsys" not in modules_after("pass")


def test_the_package_imports_no_torch() -> None:
    modules = modules_after("import nnunetv2_cfseg")
    assert "nnunetv2_cfseg" in modules
    assert packages(modules).isdisjoint({"torch", "nnunetv2"})


def test_networks_import_no_nnunet() -> None:
    modules = modules_after(IMPORT_ALL_NETWORKS)
    assert {"torch", "nnunetv2_cfseg.networks.block_center", "nnunetv2_cfseg.networks.presets"} <= modules
    assert "nnunetv2" not in packages(modules)


def test_blocks_import_no_nnunet() -> None:
    modules = modules_after("import nnunetv2_cfseg.trainers.blocks")
    assert {"torch", "nnunetv2_cfseg.trainers.blocks"} <= modules
    assert "nnunetv2" not in packages(modules)
