"""``cfseg quantify`` on real CTs and on a phantom whose anatomy is known."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import trimesh
from scipy.spatial.transform import Rotation

from nnunetv2_cfseg import cli
from nnunetv2_cfseg.commands import quantify as command
from nnunetv2_cfseg.data.phantom.case import make_case
from nnunetv2_cfseg.data.phantom.settings import CLASSES, PhantomSettings
from nnunetv2_cfseg.imaging.geometry import VolumeGeometry, geometry_of
from nnunetv2_cfseg.quantify.measures import measure_class
from nnunetv2_cfseg.quantify.symmetry import symmetry_midline

ORGANS = {1: "brainstem", 2: "spinal_cord", 3: "parotid_right", 4: "parotid_left", 5: "mandible"}


@pytest.fixture(scope="module")
def head(real_ct_data: Path) -> sitk.Image:
    image = sitk.ReadImage(str(real_ct_data / "head" / "invesalius_0051_head_ct_raw.nii.gz"))
    return sitk.Shrink(image, (2, 2, 1))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("degrees", "shift_mm"), [((0, 0, 12), (15, -10, 5)), ((5, -15, -8), (-10, 0, 12)), ((-10, 20, 15), (4, 8, -6))]
)
def test_the_midline_of_a_real_head_moves_with_the_head(
    degrees: tuple[float, ...], shift_mm: tuple[float, ...], head: sitk.Image
) -> None:
    """By how much the scan itself lies askew is not known; it was looked at, and it is by a few degrees."""
    before = symmetry_midline(head, geometry_of(head))
    assert before.source == "symmetry"
    assert before.agreement["tilt_deg"] < 5
    rotation = Rotation.from_euler("xyz", degrees, degrees=True).as_matrix()
    middle = geometry_of(head).centre_mm
    back = sitk.VersorRigid3DTransform()
    back.SetMatrix(rotation.T.ravel().tolist())
    back.SetCenter((middle + shift_mm).tolist())
    back.SetTranslation((-np.array(shift_mm)).tolist())
    moved = sitk.Resample(head, back, sitk.sitkLinear, -1024)
    after = symmetry_midline(moved, geometry_of(moved))
    assert after.source == "symmetry"
    normal = rotation @ before.normal
    assert np.degrees(np.arccos(min(1.0, normal @ after.normal))) < 2
    # A point of the plane, at the head's middle.
    foot = middle + (before.offset_mm - middle @ before.normal) * np.array(before.normal)
    moved_foot = rotation @ (foot - middle) + middle + np.array(shift_mm)
    assert moved_foot @ after.normal == pytest.approx(after.offset_mm, abs=2)


@pytest.mark.slow
def test_organs_of_real_patients_lie_where_they_should(
    real_ct_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Right and left parotid glands were named by hand, in the patient's terms."""
    monkeypatch.setattr(cli, "COMMANDS", (command,))
    data, cases = real_ct_data / "openkbp", ("openkbp_001", "openkbp_036", "openkbp_048")
    files = [str(data / "labelsTr" / f"{case}.nii.gz") for case in cases]
    arguments = ["quantify", *files, "-djfile", str(data / "dataset.json"), "-i", str(data / "imagesTr")]
    assert cli.main([*arguments, "-o", str(tmp_path), "--mesh", "-np", "1", "--no_pbar"]) == 0
    with (tmp_path / "classes.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert {row["midline"] for row in rows} == {"symmetry"}
    sides = {"parotid_right": "right", "parotid_left": "left"}
    assert [row["side"] for row in rows] == [sides.get(row["class"], "both") for row in rows]
    record = json.loads((tmp_path / "quantities.json").read_text())
    for case in record["cases"]:
        midline = case["midline"]
        segmentation = sitk.ReadImage(str(data / "labelsTr" / f"{case['case']}.nii.gz"))
        values, grid = sitk.GetArrayFromImage(segmentation), geometry_of(segmentation)
        for one in case["classes"]:
            mask = values == int(one["label"])
            centre = grid.position_mm(np.argwhere(mask)).mean(axis=0)
            if one["class"] in ("brainstem", "spinal_cord", "mandible"):
                assert abs(centre @ midline["normal"] - midline["offset_mm"]) < 5
            mesh = trimesh.load(tmp_path / one["mesh"]["files"][0])
            assert mesh.is_watertight
            assert mesh.volume / 1000 == pytest.approx(mask.sum() * grid.voxel_ml, rel=0.02)
            assert one["volume_ml"] == pytest.approx(mask.sum() * grid.voxel_ml)
            voxels_off = np.linalg.solve(grid.steps_mm.T, mesh.center_mass - centre)
            assert np.linalg.norm(voxels_off) < 0.5
            assert mesh.area < 0.85 * voxel_area(mask, grid)


def voxel_area(mask: np.ndarray, grid: VolumeGeometry) -> float:
    """Area of the outer faces of voxels, mm2."""
    faces = [int((np.diff(np.pad(mask, 1).astype(int), axis=axis) != 0).sum()) for axis in range(3)]
    z, y, x = grid.spacing_mm
    return faces[0] * y * x + faces[1] * z * x + faces[2] * z * y


@pytest.mark.slow
def test_the_midline_of_a_phantom_is_that_it_was_made_with() -> None:
    settings = PhantomSettings(matrix=(64, 72, 54), spacing_mm=(3.0, 3.0, 3.0), frequencies={"SDH": 1.0, "EDH": 1.0})
    case = make_case(settings, seed=0, index=1)
    image = sitk.GetImageFromArray(case.image)
    image.SetSpacing(case.geometry.spacing_mm[::-1])
    image.SetOrigin(case.geometry.origin_mm)
    midline = symmetry_midline(image, case.geometry)
    assert midline.source == "symmetry"
    pose = case.provenance["pose"]
    normal = Rotation.from_euler("xyz", pose["rotation_degrees"], degrees=True).as_matrix()[0]
    assert np.degrees(np.arccos(min(1.0, normal @ midline.normal))) < 2
    assert np.array(pose["centre_mm"]) @ midline.normal == pytest.approx(midline.offset_mm, abs=2)
    drawn = {lesion["class"]: lesion["side"] for lesion in case.provenance["lesions"]}
    for name in ("SDH", "EDH"):
        found = measure_class(case.labels == CLASSES[name], case.geometry, midline=midline)
        assert found.side == ("left" if drawn[name] > 0 else "right")
