"""The midsagittal plane of a head CT: that about which the head is most like its mirror image."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk

from nnunetv2_cfseg.evaluation.quantify.grid import Grid
from nnunetv2_cfseg.evaluation.quantify.midline import SYMMETRY, Midline, image_centre_midline

STEP_MM = 4.0
WINDOW_HU = (-500.0, 500.0)
BODY_HU = -300.0
BONE_HU = (150.0, 600.0)
OUTSIDE_HU = -3000.0
#: Where the skull is compared: bone that lies this far from its mirror image still overlaps it.
BLUR_MM = 2.0
#: Shrink factors and smoothing of the registration, from coarse to fine.
SHRINK = (4, 2, 1)
SMOOTH_MM = (8.0, 4.0, 2.0)
#: Less is no skull that can be seen to be symmetric. Heads have 0.45 to 0.92, most crops of limbs less.
LEAST_BONE_CORRELATION = 0.4
#: Less is a body cut off on one side. Heads have 0.99 to 1, crops of limbs down to 0.34.
LEAST_OVERLAP = 0.8
LARGEST_TILT_DEG = 40.0


def symmetry_midline(image: sitk.Image, grid: Grid) -> Midline:
    """Find the plane by registering a head CT, at about 4 mm, to its mirror image.

    It is trusted if the bone on either side agrees with the mirrored bone of the other (their correlation, between 150
    and 600 HU within the body, is 0.4 or more), if at least 0.8 of the body has its mirror image within the scan, and
    if the plane is tilted by at most 40 degrees. Otherwise the midline is that of the image's centre, and says why.
    It is made for heads and necks: of other symmetric bodies, a leg's say, it finds the plane of symmetry as well.

    The same image gives the same plane: all voxels are used, in one thread, and nothing is drawn.

    Args:
        image: in HU.
        grid: of the segmentation.
    """
    coarse = _coarse(image)
    body = np.argwhere(sitk.GetArrayViewFromImage(coarse) > BODY_HU)
    if not len(body):
        return image_centre_midline(grid, reason="there is nothing denser than air")
    middle = coarse.TransformContinuousIndexToPhysicalPoint(body.mean(axis=0)[::-1].tolist())
    try:
        plane = _register(coarse, middle)
    except RuntimeError:  # SimpleITK's: the mirror image came to lie beside the scan
        return image_centre_midline(grid, reason="the scan could not be registered to its mirror image")
    agreement = _agreement(coarse, plane)
    for name, rule, holds in (
        ("bone_correlation", f"at least {LEAST_BONE_CORRELATION:g}", LEAST_BONE_CORRELATION.__le__),
        ("overlap", f"at least {LEAST_OVERLAP:g}", LEAST_OVERLAP.__le__),
        ("tilt_deg", f"at most {LARGEST_TILT_DEG:g}", LARGEST_TILT_DEG.__ge__),
    ):
        if not holds(agreement[name]):
            reason = f"{name} must be {rule}, and is {agreement[name]:.3g}"
            return image_centre_midline(grid, reason=reason, agreement=agreement)
    x, y, z = plane.normal.tolist()
    return Midline((x, y, z), plane.offset_mm, SYMMETRY, agreement=agreement)


@dataclass(frozen=True)
class _Plane:
    normal: np.ndarray
    offset_mm: float


def _coarse(image: sitk.Image) -> sitk.Image:
    """The image with voxels of about 4 mm, each the mean of those it replaces."""
    factors = [
        min(size, max(1, round(STEP_MM / mm))) for size, mm in zip(image.GetSize(), image.GetSpacing(), strict=True)
    ]
    return sitk.Cast(sitk.BinShrink(image, factors), sitk.sitkFloat32)


def _register(coarse: sitk.Image, middle: tuple[float, ...]) -> _Plane:
    mirror = sitk.AffineTransform(3)
    mirror.SetMatrix([-1, 0, 0, 0, 1, 0, 0, 0, 1])
    mirror.SetCenter(middle)
    rigid = sitk.Euler3DTransform()
    rigid.SetCenter(middle)
    method = sitk.ImageRegistrationMethod()
    method.SetNumberOfThreads(1)
    method.SetMetricAsCorrelation()
    method.SetMetricSamplingStrategy(method.NONE)
    method.SetInterpolator(sitk.sitkLinear)
    method.SetOptimizerAsRegularStepGradientDescent(
        learningRate=4.0, minStep=1e-3, numberOfIterations=200, gradientMagnitudeTolerance=1e-8
    )
    method.SetOptimizerScalesFromPhysicalShift()
    method.SetShrinkFactorsPerLevel(SHRINK)
    method.SetSmoothingSigmasPerLevel(SMOOTH_MM)
    method.SmoothingSigmasAreSpecifiedInPhysicalUnitsOn()
    method.SetMovingInitialTransform(mirror)
    method.SetInitialTransform(rigid, inPlace=True)
    windowed = sitk.Clamp(coarse, lowerBound=WINDOW_HU[0], upperBound=WINDOW_HU[1])
    method.Execute(windowed, windowed)
    image_of_middle = np.array(mirror.TransformPoint(rigid.TransformPoint(middle)))
    linear = np.reshape(mirror.GetMatrix(), (3, 3)) @ np.reshape(rigid.GetMatrix(), (3, 3))
    return _plane_of(linear, (np.asarray(middle) + image_of_middle) / 2)


def _plane_of(linear: np.ndarray, point: np.ndarray) -> _Plane:
    """The plane through a point that a mirroring rotation turns over: its eigenvector of -1."""
    values, vectors = np.linalg.eig(linear)
    normal = np.real(vectors[:, np.argmin(np.abs(values + 1))])
    normal = normal / np.linalg.norm(normal) * (1 if normal[0] >= 0 else -1)
    return _Plane(normal, float(point @ normal))


def _agreement(coarse: sitk.Image, plane: _Plane) -> dict[str, float]:
    """How much a scan is like its mirror image."""
    smooth = sitk.DiscreteGaussian(coarse, BLUR_MM**2)
    mirror = sitk.AffineTransform(3)
    mirror.SetMatrix((np.eye(3) - 2 * np.outer(plane.normal, plane.normal)).ravel().tolist())
    mirror.SetTranslation((2 * plane.offset_mm * plane.normal).tolist())
    mirrored = sitk.GetArrayFromImage(sitk.Resample(smooth, mirror, sitk.sitkLinear, OUTSIDE_HU))
    hu = sitk.GetArrayFromImage(smooth)
    inside = mirrored > (OUTSIDE_HU + WINDOW_HU[0]) / 2
    body = inside & ((hu > BODY_HU) | (mirrored > BODY_HU))
    return {
        "bone_correlation": _correlation(hu[body].clip(*BONE_HU), mirrored[body].clip(*BONE_HU)),
        "overlap": float(inside[hu > BODY_HU].mean()) if (hu > BODY_HU).any() else 0.0,
        "tilt_deg": float(np.degrees(np.arccos(np.clip(plane.normal[0], 0, 1)))),
    }


def _correlation(first: np.ndarray, second: np.ndarray) -> float:
    if not first.size or np.ptp(first) == 0 or np.ptp(second) == 0:
        return 0.0
    return float(np.corrcoef(first, second)[0, 1])
