"""What has one door in the package: images and JSON are read and written in one room each."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import nnunetv2_cfseg

PACKAGE = Path(nnunetv2_cfseg.__file__).parent
EXPERIMENTS = Path(__file__).parents[2] / "experiments"
#: Of the experiments: one reads DICOM slice by slice, as no command does; the other awaits its end.
WITH_READERS = {"hounsfield.py", "thin_thick.py"}
#: SimpleITK's, which take files that are cut, and say nothing of a write that failed.
SITK = {
    "ReadImage", "WriteImage", "ImageFileReader", "ImageSeriesReader", "ImageFileWriter", "ReadTransform",
}  # fmt: skip
NIBABEL = {"load", "save"}
JSON = {"dump", "dumps", "JSONEncoder"}
#: nnU-Net's writer of JSON, which writes NaN.
NNUNET_JSON = {"save_json"}


def uses(source: str, modules: set[str], names: set[str]) -> Iterator[str]:
    """Where a source takes one of the names out of one of the modules, by whatever name it imports them."""
    tree = ast.parse(source)
    known = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            known |= {alias.asname or alias.name for alias in node.names if alias.name.partition(".")[0] in modules}
        elif isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] in modules:
            yield from (f"line {node.lineno}: {alias.name}" for alias in node.names if alias.name in names)
            known |= {alias.asname or alias.name for alias in node.names}
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and node.attr in names and ast.unparse(node.value) in known:
            yield f"line {node.lineno}: {ast.unparse(node)}"


def offenders(room: str, modules: set[str], names: set[str]) -> dict[str, list[str]]:
    """Uses outside a room, by file."""
    files = [file for file in sorted(PACKAGE.rglob("*.py")) if file.relative_to(PACKAGE).parts[0] != room]
    assert len(files) > 100
    found = {str(file.relative_to(PACKAGE)): list(uses(file.read_text("utf-8"), modules, names)) for file in files}
    return {file: lines for file, lines in found.items() if lines}


def test_images_are_read_and_written_by_imaging_alone() -> None:
    assert offenders("imaging", {"SimpleITK"}, SITK) == {}
    assert offenders("imaging", {"nibabel"}, NIBABEL) == {}


def test_experiments_read_and_write_images_by_imaging() -> None:
    files = [file for file in sorted(EXPERIMENTS.glob("*.py")) if file.name not in WITH_READERS]
    assert len(files) > 5
    for file in files:
        source = file.read_text("utf-8")
        assert list(uses(source, {"SimpleITK"}, SITK)) == list(uses(source, {"nibabel"}, NIBABEL)) == [], file.name


def test_json_is_made_by_files_alone() -> None:
    assert offenders("files", {"json"}, JSON) == {}
    assert offenders("files", {"batchgenerators"}, NNUNET_JSON) == {}


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("import SimpleITK as sitk\nsitk.ReadImage('a')", ["line 2: sitk.ReadImage"]),
        ("def f():\n    import SimpleITK\n    r = SimpleITK.ImageFileReader", ["line 3: SimpleITK.ImageFileReader"]),
        ("from SimpleITK import WriteImage as w", ["line 1: WriteImage"]),
        ("import SimpleITK as sitk\nsitk.GetArrayFromImage(1)\nother.ReadImage(2)", []),
    ],
)
def test_a_use_is_found(source: str, found: list[str]) -> None:
    assert list(uses(source, {"SimpleITK"}, SITK)) == found
