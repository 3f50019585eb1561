"""CTs that are not in HU: refused where that is clear, said where it is not, and real ones pass."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from nnunetv2_cfseg.data.phantom.case import make_case
from nnunetv2_cfseg.data.phantom.settings import PhantomSettings
from nnunetv2_cfseg.imaging.hounsfield import judge_hounsfield

Spoil = Callable[[np.ndarray], np.ndarray]


def windowed(low: float, high: float, top: float = 255, least: float = 0) -> Spoil:
    return lambda hu: (np.clip((hu - low) / (high - low), 0, 1) * top + least).round()


def padded(value: float, spoil: Spoil = lambda hu: hu) -> Spoil:
    """Beyond the circle that fits into a slice."""

    def pad(hu: np.ndarray) -> np.ndarray:
        y, x = np.ogrid[-1 : 1 : hu.shape[1] * 1j, -1 : 1 : hu.shape[2] * 1j]
        return np.where(y * y + x * x > 1, np.float32(value), spoil(hu))

    return pad


def with_voxel(value: float, spoil: Spoil) -> Spoil:
    def set_one(hu: np.ndarray) -> np.ndarray:
        spoilt = spoil(hu).copy()
        spoilt[0, 0, 0] = value
        return spoilt

    return set_one


REFUSED: dict[str, Spoil] = {
    "no intercept, 1024": lambda hu: hu + 1024,
    "no intercept, 1000": lambda hu: hu + 1000,
    "no intercept, padded with -2000": padded(-2000, lambda hu: hu + 1024),
    "no intercept, padded with -3024": padded(-3024, lambda hu: hu + 1024),
    "no intercept, padded with 0": padded(0, lambda hu: hu + 1024),
    "no intercept, a voxel of -1": with_voxel(-1, lambda hu: hu + 1024),
    "no intercept, a voxel of -32768": with_voxel(-32768, lambda hu: hu + 1024),
    "intercept twice, 1024": lambda hu: hu - 1024,
    "intercept twice, 1000": lambda hu: hu - 1000,
    "intercept twice, padded with -3024": padded(-3024, lambda hu: hu - 1024),
    "+500": lambda hu: hu + 500,
    "+500, a voxel of -1000": with_voxel(-1000, lambda hu: hu + 500),
    "-500": lambda hu: hu - 500,
    "+700": lambda hu: hu + 700,
    "+2048": lambda hu: hu + 2048,
    "+32768": lambda hu: hu + 32768,
    "times 2": lambda hu: hu * 2,
    "no intercept, times 2": lambda hu: (hu + 1024) * 2,
    "negated": lambda hu: -hu,
    "brain window, 0 to 255": windowed(0, 80),
    "abdomen window, 0 to 255": windowed(-160, 240),
    "lung window, 0 to 255": windowed(-1350, 150),
    "all of CT, 0 to 255": windowed(-1024, 3071),
    "brain window, -128 to 127": windowed(0, 80, least=-128),
    "abdomen window, -128 to 127": windowed(-160, 240, least=-128),
    "bone window, -128 to 127": windowed(-500, 1500, least=-128),
    "all of CT, 0 to 65535": windowed(-1024, 3071, top=65535),
    "0 to 1": lambda hu: (hu + 1024) / 4095,
    "-1 to 1": lambda hu: (hu + 1024) / 2048 - 1,
    "mean 0, deviation 1": lambda hu: (hu - hu.mean()) / hu.std(),
    "attenuation, 1/cm": lambda hu: (hu / 1000 + 1) * 0.19,
    "one value": lambda hu: np.full(hu.shape, 40.0),
    "nothing but NaN": lambda hu: np.full(hu.shape, np.nan),
}
DOUBTED: dict[str, Spoil] = {
    "+200": lambda hu: hu + 200,
    "-150": lambda hu: hu - 150,
    "clipped to -160 to 240": lambda hu: np.clip(hu, -160, 240),
}
ACCEPTED: dict[str, Spoil] = {
    "as it is": lambda hu: hu,
    **{f"padded with {value}": padded(value) for value in (-1024, -1500, -2000, -3024, -32768)},
    "clipped to -1000 to 1000": lambda hu: np.clip(hu, -1000, 1000),
    "clipped to -1024 to 3071": lambda hu: np.clip(hu, -1024, 3071),
    "rounded by 12 bits": lambda hu: (hu / 2).round() * 2,
    "with metal": with_voxel(30000, lambda hu: hu),
    "with a voxel of -32768": with_voxel(-32768, lambda hu: hu),
    "with NaN": with_voxel(np.nan, lambda hu: hu),
    "turned": lambda hu: hu[::-1, :, ::-1],
}


def body(rng: np.random.Generator, *, air: float = -1000, noise: float = 12) -> np.ndarray:
    """Fat round muscle with bone and some lung, in air: (24, 48, 48) HU."""
    z, y, x = np.meshgrid(*[np.linspace(-1, 1, n) for n in (24, 48, 48)], indexing="ij")
    radius = np.hypot(y, x)
    hu = np.full(z.shape, float(air))
    for outer, tissue in ((0.85, -100), (0.7, 50), (0.15, 900)):
        hu[radius < outer] = tissue
    hu[np.hypot(y - 0.35, x) < 0.15] = -850
    bone = radius < 0.15
    hu[bone] += rng.uniform(-700, 600, bone.sum())
    return hu + rng.normal(0, noise, z.shape)


SYNTHETIC: dict[str, np.ndarray] = {
    "noisy": body(np.random.default_rng(0), noise=30),
    "smooth": body(np.random.default_rng(1), noise=5),
    "clipped at air": np.maximum(body(np.random.default_rng(2)), -1000),
    "masked": np.where(body(np.random.default_rng(3)) < -950, -1000, body(np.random.default_rng(3))),
    "integers": body(np.random.default_rng(4)).round().astype(np.int16).astype(np.float32),
}


@pytest.mark.parametrize(("scan", "kind"), list(itertools.product(SYNTHETIC, REFUSED)))
def test_what_is_clearly_no_hu_is_refused(scan: str, kind: str) -> None:
    verdict = judge_hounsfield(REFUSED[kind](SYNTHETIC[scan]))
    assert verdict.level == "not_hu"
    assert verdict.reason


@pytest.mark.parametrize(("scan", "kind"), list(itertools.product(SYNTHETIC, DOUBTED)))
def test_what_is_borderline_is_doubted(scan: str, kind: str) -> None:
    verdict = judge_hounsfield(DOUBTED[kind](SYNTHETIC[scan]))
    assert verdict.level == "doubtful"
    assert verdict.reason


@pytest.mark.parametrize(("scan", "kind"), list(itertools.product(SYNTHETIC, ACCEPTED)))
def test_what_scanners_and_tools_write_passes(scan: str, kind: str) -> None:
    assert judge_hounsfield(ACCEPTED[kind](SYNTHETIC[scan])).level == "hu"


def test_phantoms_pass_and_their_spoilt_copies_do_not() -> None:
    hu = make_case(PhantomSettings((40, 64, 64), (4, 3.6, 3.6), supersampling=1), seed=3, index=0).image.astype(
        np.float32
    )
    assert judge_hounsfield(hu).level == "hu"
    for kind in ("no intercept, 1024", "intercept twice, 1024", "+500", "times 2", "negated"):
        assert judge_hounsfield(REFUSED[kind](hu)).level == "not_hu", kind


REAL = (
    "openkbp/imagesTr/openkbp_001_0000.nii.gz",
    "openkbp/imagesTr/openkbp_091_0000.nii.gz",
    "sts/imagesTr/STS_002_0000.nii.gz",
    "sts/imagesTr/STS_018_0000.nii.gz",
    "sts/imagesTr/STS_041_0000.nii.gz",
    "slice_profile/thick_5mm.nii.gz",
    "totalseg/example_ct_3mm.nii.gz",
    "totalseg/aorta_ct_1p5mm_cropped.nii.gz",
)


@pytest.mark.parametrize("name", REAL)
def test_real_scans(real_ct_data: Path, name: str) -> None:
    """A body masked to -1000 with metal of 16438, a limb whose air is at -884, a plastic head, a piece of a thorax."""
    hu = sitk.GetArrayFromImage(sitk.ReadImage(str(real_ct_data / name))).astype(np.float32)
    for kind in ("as it is", "padded with -2000", "padded with -3024"):
        assert judge_hounsfield(ACCEPTED[kind](hu)).level == "hu", kind
    for kind in ("no intercept, 1024", "no intercept, padded with -2000", "no intercept, a voxel of -1",
                 "intercept twice, 1024", "+500", "times 2", "negated", "abdomen window, 0 to 255",
                 "abdomen window, -128 to 127", "0 to 1"):  # fmt: skip
        assert judge_hounsfield(REFUSED[kind](hu)).level == "not_hu", kind


def test_a_skull_stripped_brain_passes(real_ct_data: Path) -> None:
    """Its 0 round the brain is no air, and there is neither fat nor bone: nothing is out of place either."""
    file = real_ct_data / "head" / "totalseg_ct_brain_atlas_1mm.nii.gz"
    hu = sitk.GetArrayFromImage(sitk.ReadImage(str(file))).astype(np.float32)
    assert judge_hounsfield(hu).level == "hu"
    for kind in ("no intercept, 1024", "intercept twice, 1024", "+500", "0 to 1", "brain window, 0 to 255"):
        assert judge_hounsfield(REFUSED[kind](hu)).level == "not_hu", kind


@pytest.mark.parametrize("edge", [12, 24, 48])
def test_pieces_of_a_head_pass(real_ct_data: Path, edge: int) -> None:
    """Of brain alone, of bone, with the sinuses; pieces of brain and skull without fat may be warned of."""
    file = real_ct_data / "head" / "invesalius_0051_head_ct_raw.nii.gz"
    hu = sitk.GetArrayFromImage(sitk.ReadImage(str(file)))
    rng = np.random.default_rng(edge)
    levels = []
    while len(levels) < 40:
        corner = [rng.integers(0, side - edge + 1) for side in hu.shape]
        piece = hu[tuple(slice(first, first + edge) for first in corner)]
        if np.mean(piece > -500) > 0.3:
            levels.append(judge_hounsfield(piece).level)
    # A few thousand voxels of bone, or of the rest for the head, may have a peak of their own.
    assert levels.count("not_hu") <= (2 if edge == 12 else 0)
    assert levels.count("doubtful") <= 4
