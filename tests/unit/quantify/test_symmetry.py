"""The plane of symmetry of a made-up head, wherever it lies, and refusals to call anything else one."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import SimpleITK as sitk
from scipy.spatial.transform import Rotation

from nnunetv2_cfseg.imaging.geometry import VolumeGeometry
from nnunetv2_cfseg.quantify import symmetry
from nnunetv2_cfseg.quantify.midline import Midline
from nnunetv2_cfseg.quantify.reflection import Plane
from nnunetv2_cfseg.quantify.symmetry import symmetry_midline

SHAPE = (56, 64, 60)
SPACING_MM = (4.0, 4.0, 4.0)
ORIGIN = (-118.0, -126.0, -110.0)


def head(degrees: tuple[float, ...] = (0, 0, 0), shift_mm: tuple[float, ...] = (0, 0, 0)) -> np.ndarray:
    """A skull with a jaw and a nose, and blood on its left side, turned about its middle and then moved."""
    indices = np.moveaxis(np.indices(SHAPE), 0, -1)[..., ::-1]
    points = indices * np.array(SPACING_MM[::-1]) + ORIGIN - np.array(shift_mm)
    x, y, z = np.moveaxis(points @ Rotation.from_euler("xyz", degrees, degrees=True).as_matrix(), -1, 0)
    hu = np.full(SHAPE, -1000.0)
    for size, value in ((1.0, 40.0), (0.92, 900.0), (0.82, 30.0)):
        hu[(x / 78) ** 2 + (y / 98) ** 2 + (z / 84) ** 2 < size] = value
    hu[(np.abs(x) < 12) & (np.abs(z + 20) < 16) & (np.abs(y + 100) < 16)] = 40
    hu[(np.abs(x) < 45) & (np.abs(z + 85) < 18) & (np.abs(y + 40) < 40)] = 700
    hu[(x - 40) ** 2 + y**2 + (z - 20) ** 2 < 22**2] = 70
    return hu


def found(hu: np.ndarray, make_image: Callable[..., sitk.Image]) -> Midline:
    grid = VolumeGeometry(SHAPE, SPACING_MM, ORIGIN, (1.0, 0, 0, 0, 1.0, 0, 0, 0, 1.0))
    return symmetry_midline(make_image(hu.astype(np.int16), SPACING_MM, origin=ORIGIN), grid)


@pytest.mark.parametrize(
    ("degrees", "shift_mm"),
    [((0, 0, 0), (0, 0, 0)), ((0, 0, 12), (10, 0, -6)), ((4, -8, -15), (-12, 5, 0)), ((0, 18, 10), (6, 6, 6))],
)
def test_is_found_where_the_head_lies(
    degrees: tuple[float, ...], shift_mm: tuple[float, ...], make_image: Callable[..., sitk.Image]
) -> None:
    midline = found(head(degrees, shift_mm), make_image)
    assert midline.source == "symmetry"
    assert midline.reason == ""
    expected = Rotation.from_euler("xyz", degrees, degrees=True).as_matrix()[:, 0]
    assert np.degrees(np.arccos(min(1.0, expected @ midline.normal))) < 2
    assert np.array(shift_mm) @ np.array(midline.normal) == pytest.approx(midline.offset_mm, abs=2)
    assert midline.agreement["tilt_deg"] == pytest.approx(np.degrees(np.arccos(expected[0])), abs=2)
    assert midline.agreement["overlap"] > 0.95


def test_is_the_same_every_time_and_in_every_order_of_voxels(make_image: Callable[..., sitk.Image]) -> None:
    hu = head((3, 5, -9), (4, 0, 0))
    first = found(hu, make_image)
    assert found(hu, make_image) == first
    image = make_image(hu.astype(np.int16), SPACING_MM, origin=ORIGIN)
    stored = sitk.Flip(sitk.PermuteAxes(image, (2, 0, 1)), (True, False, True))
    z, y, x = stored.GetSize()[::-1]
    grid = VolumeGeometry((z, y, x), SPACING_MM, stored.GetOrigin(), stored.GetDirection())
    again = symmetry_midline(stored, grid)
    assert again.source == "symmetry"
    np.testing.assert_allclose(again.normal, first.normal, atol=0.01)
    assert again.offset_mm == pytest.approx(first.offset_mm, abs=0.5)


def test_of_a_head_with_bone_on_one_side_is_not_trusted(make_image: Callable[..., sitk.Image]) -> None:
    hu = head()
    hu[:, :, :30] = hu[:, :, :30].clip(max=40)
    midline = found(hu, make_image)
    assert midline.source == "image centre"
    assert midline.offset_mm == pytest.approx(0)
    assert midline.reason.startswith("bone_correlation must be at least 0.4, and is")


def test_of_air_is_not_looked_for(make_image: Callable[..., sitk.Image]) -> None:
    midline = found(np.full(SHAPE, -1000.0), make_image)
    assert (midline.source, midline.reason) == ("image centre", "there is nothing denser than air")


def test_of_noise_is_not_trusted(make_image: Callable[..., sitk.Image]) -> None:
    noise = np.random.default_rng(0).normal(0, 300, (24, 24, 24)).astype(np.int16)
    grid = VolumeGeometry((24, 24, 24), SPACING_MM, ORIGIN, (1.0, 0, 0, 0, 1.0, 0, 0, 0, 1.0))
    midline = symmetry_midline(make_image(noise, SPACING_MM, origin=ORIGIN), grid)
    assert midline.source == "image centre"
    assert midline.reason


def test_of_a_head_at_the_edge_of_the_scan_is_not_trusted(make_image: Callable[..., sitk.Image]) -> None:
    """Most of its right half is not in the scan: there is little to compare the left one with."""
    width = 30
    hu, origin = head()[:, :, -width:].astype(np.int16), (ORIGIN[0] + 4.0 * (SHAPE[2] - width), *ORIGIN[1:])
    grid = VolumeGeometry((*SHAPE[:2], width), SPACING_MM, origin, (1.0, 0, 0, 0, 1.0, 0, 0, 0, 1.0))
    midline = symmetry_midline(make_image(hu, SPACING_MM, origin=origin), grid)
    assert (midline.source, midline.offset_mm) == ("image centre", pytest.approx(60))
    assert midline.reason


@pytest.mark.parametrize(
    ("bone", "overlap", "tilt", "reason"),
    [
        (0.4, 0.8, 40.0, ""),
        (0.39, 0.8, 40.0, "bone_correlation must be at least 0.4, and is 0.39"),
        (0.4, 0.79, 40.0, "overlap must be at least 0.8, and is 0.79"),
        (0.4, 0.8, 41.0, "tilt_deg must be at most 40, and is 41"),
    ],
)
def test_is_trusted_up_to_its_limits(
    bone: float,
    overlap: float,
    tilt: float,
    reason: str,
    make_image: Callable[..., sitk.Image],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    agreement = {"bone_correlation": bone, "overlap": overlap, "tilt_deg": tilt}
    monkeypatch.setattr(symmetry, "find_symmetry", lambda _: Plane(np.array([0.0, 1.0, 0.0]), 3.0))
    monkeypatch.setattr(symmetry, "_agreement", lambda *_: agreement)
    midline = found(head(), make_image)
    assert (midline.reason, midline.agreement) == (reason, agreement)
    assert (midline.source, midline.offset_mm) == (("image centre", 0) if reason else ("symmetry", 3))


def test_of_a_single_slice_is_looked_for_without_an_error(make_image: Callable[..., sitk.Image]) -> None:
    image = make_image(head()[28:29].astype(np.int16), SPACING_MM, origin=ORIGIN)
    grid = VolumeGeometry((1, *SHAPE[1:]), SPACING_MM, ORIGIN, (1.0, 0, 0, 0, 1.0, 0, 0, 0, 1.0))
    midline = symmetry_midline(image, grid)
    assert bool(midline.reason) == (midline.source == "image centre")
