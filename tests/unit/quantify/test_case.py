"""All classes of a case, its midline and its surfaces."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import trimesh

from nnunetv2_cfseg.imaging.geometry import VolumeGeometry
from nnunetv2_cfseg.nnunet.classes import Classes, SegmentationClass
from nnunetv2_cfseg.quantify import case as case_module
from nnunetv2_cfseg.quantify.case import mesh_name, quantify_case
from nnunetv2_cfseg.quantify.inputs import Scan
from nnunetv2_cfseg.quantify.midline import Midline

EDH, SDH = SegmentationClass("edh", (1,), "1"), SegmentationClass("sdh", (2,), "2")
ANY = SegmentationClass("any blood", (1, 2), "(1, 2)")
CLASSES = Classes((EDH, SDH), None, frozenset((0, 1, 2)))


@pytest.fixture
def values() -> np.ndarray:
    values = np.zeros((8, 9, 20), np.uint8)
    values[2:6, 2:6, 2:6] = 1
    values[2:6, 2:6, 14:18] = 2
    return values


@pytest.fixture
def scan(values: np.ndarray, write_predictions: Callable[..., Path]) -> Scan:
    return Scan("a", write_predictions({"a": values}) / "a.nii.gz")


def test_classes_are_measured_by_key(scan: Scan) -> None:
    found = quantify_case(scan, Classes((ANY, SDH), 3, frozenset((0, 1, 2, 3))))
    assert (found.case, found.midline.source, found.midline.reason) == ("a", "image centre", "no image was given")
    assert found.classes["(1, 2)"].voxels == 128
    assert len(found.classes["(1, 2)"].lesions) == 2
    assert (found.classes["2"].voxels, found.classes["2"].side) == (64, "left")
    assert found.mesh_ml == {}


def test_labels_that_the_dataset_lacks_are_refused(scan: Scan) -> None:
    with pytest.raises(ValueError, match=r"labels must be those of dataset\.json \[0, 1\], got also \[2\]: .*a\.nii"):
        quantify_case(scan, Classes((EDH,), None, frozenset((0, 1))))


def test_a_file_that_is_no_image_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.nii.gz").write_bytes(b"no image")
    with pytest.raises(ValueError, match=r"cannot be read, .*: .*a\.nii\.gz"):
        quantify_case(Scan("a", tmp_path / "a.nii.gz"), CLASSES)


def test_surfaces_are_written_and_stale_ones_removed(scan: Scan, values: np.ndarray, tmp_path: Path) -> None:
    folder = tmp_path / "meshes"
    folder.mkdir()
    classes = Classes((EDH, SegmentationClass("none", (5,), "5")), None, frozenset((0, 1, 2, 5)))
    for ending in ("stl", "ply"):
        (folder / f"a_none.{ending}").touch()
    found = quantify_case(scan, classes, mesh_folder=folder)
    assert sorted(file.name for file in folder.iterdir()) == ["a_edh.ply", "a_edh.stl"]
    assert found.mesh_ml == {"1": pytest.approx(0.384, rel=0.02)}
    assert (folder / "a_edh.stl").read_bytes()[:5] != b"solid"
    for file in folder.iterdir():
        mesh = trimesh.load(file)
        assert mesh.is_watertight
        assert mesh.volume / 1000 == pytest.approx(found.mesh_ml["1"], rel=1e-4)
        np.testing.assert_allclose(mesh.center_mass, (-12.5 + 3.5, 30 + 7, 101.25 + 10.5), atol=0.1)


def test_names_of_surfaces_have_no_separators() -> None:
    assert mesh_name("a-1", SegmentationClass("blood/brain, left", (1,), "1")) == "a-1_blood_brain__left"


@pytest.fixture
def write_image(values: np.ndarray, tmp_path: Path, make_image: Callable[..., sitk.Image]) -> Callable[..., Path]:
    """A function that writes the case's image, of air and 40 HU, shifted or with another number of slices."""

    def write(*, shift_mm: float = 0.0, slices: int = 8, air_hu: int = -1000) -> Path:
        hu = np.where(values > 0, 40, air_hu).astype(np.int16)[:slices]
        image = make_image(hu, origin=(-12.5 + shift_mm, 30.0, 101.25))
        sitk.WriteImage(image, str(tmp_path / "a_0000.nii.gz"))
        return tmp_path / "a_0000.nii.gz"

    return write


def test_the_midline_is_looked_for_in_the_image(
    scan: Scan, write_image: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def plane_between_the_last_columns(image: sitk.Image, grid: VolumeGeometry) -> Midline:
        assert image.GetSize()[::-1] == grid.shape
        return Midline((1.0, 0.0, 0.0), -12.5 + 18.5, "symmetry")

    monkeypatch.setattr(case_module, "symmetry_midline", plane_between_the_last_columns)
    found = quantify_case(Scan("a", scan.segmentation, write_image()), CLASSES)
    assert found.midline.source == "symmetry"
    assert found.classes["2"].side == "right"


def test_an_image_of_two_boxes_has_no_midline_by_symmetry(scan: Scan, write_image: Callable[..., Path]) -> None:
    found = quantify_case(Scan("a", scan.segmentation, write_image()), CLASSES)
    assert found.midline.source == "image centre"
    assert found.midline.reason


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"slices": 7}, r"must have its segmentation's size \(8, 9, 20\) \(z, y, x\), got \(7, 9, 20\): .*a_0000"),
        ({"shift_mm": 0.5}, r"must have its segmentation.s origin .*got \(-12, .*a_0000"),
        ({"air_hu": 0}, r"a CT must be in Hounsfield units .*: .*a_0000"),
    ],
)
def test_an_image_that_does_not_belong_is_refused(
    changes: dict, message: str, scan: Scan, write_image: Callable[..., Path]
) -> None:
    with pytest.raises(ValueError, match=message):
        quantify_case(Scan("a", scan.segmentation, write_image(**changes)), CLASSES)
