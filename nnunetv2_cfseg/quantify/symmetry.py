"""Finds the midsagittal plane of a head CT by its symmetry, if that can be trusted."""

from __future__ import annotations

import numpy as np
import SimpleITK as sitk

from nnunetv2_cfseg.imaging.geometry import VolumeGeometry
from nnunetv2_cfseg.quantify.midline import SYMMETRY, Midline, image_centre_midline
from nnunetv2_cfseg.quantify.reflection import BODY_HU, Plane, correlation, find_symmetry

VOXEL_MM = 4.0
BONE_HU = (150.0, 600.0)
OUTSIDE_HU = -3000.0
#: Smoothing before bone is compared, so that bone still overlaps a mirror image this far away.
BLUR_MM = 2.0
#: Least correlation of a skull that is visibly symmetric. Heads have 0.45 to 0.92, most crops of limbs less.
LEAST_BONE_CORRELATION = 0.4
#: With less overlap, the body is cut off on one side. Heads have 0.98 to 1, crops of limbs down to 0.34.
LEAST_OVERLAP = 0.8
LARGEST_TILT_DEG = 40.0


def symmetry_midline(image: sitk.Image, grid: VolumeGeometry) -> Midline:
    """Find the plane about which a head CT, at about 4 mm, is most like its mirror image.

    It is trusted if the bone on either side agrees with the mirrored bone of the other (their correlation, between 150
    and 600 HU within the body, is 0.4 or more), if at least 0.8 of the body has its mirror image within the scan, and
    if the plane is tilted by at most 40 degrees. Otherwise the midline goes through the image's centre, and says why.
    This is made for heads and necks, but also finds the plane of symmetry of other symmetric parts, such as a leg.

    The same image always gives the same plane: nothing is random, and one thread computes it.

    Args:
        image: in HU.
        grid: of the segmentation.
    """
    coarse = _coarse(image)
    if not (sitk.GetArrayViewFromImage(coarse) > BODY_HU).any():
        return image_centre_midline(grid, reason="there is nothing denser than air")
    try:
        plane = find_symmetry(coarse)
    except RuntimeError:
        return image_centre_midline(grid, reason="the scan could not be registered to its mirror image")
    agreement = _agreement(coarse, plane)
    reason = _objection(agreement)
    if reason:
        return image_centre_midline(grid, reason=reason, agreement=agreement)
    x, y, z = plane.normal.tolist()
    return Midline((x, y, z), plane.offset_mm, SYMMETRY, agreement=agreement)


def _coarse(image: sitk.Image) -> sitk.Image:
    """The image with voxels of about 4 mm, each the mean of those it replaces."""
    factors = [
        min(size, max(1, round(VOXEL_MM / mm))) for size, mm in zip(image.GetSize(), image.GetSpacing(), strict=True)
    ]
    return sitk.Cast(sitk.BinShrink(image, factors), sitk.sitkFloat32)


def _agreement(coarse: sitk.Image, plane: Plane) -> dict[str, float]:
    """How similar a scan is to its mirror image."""
    smooth = sitk.DiscreteGaussian(coarse, BLUR_MM**2)
    mirror = sitk.AffineTransform(3)
    mirror.SetMatrix((np.eye(3) - 2 * np.outer(plane.normal, plane.normal)).ravel().tolist())
    mirror.SetTranslation((2 * plane.offset_mm * plane.normal).tolist())
    mirrored = sitk.GetArrayFromImage(sitk.Resample(smooth, mirror, sitk.sitkLinear, OUTSIDE_HU))
    hu = sitk.GetArrayFromImage(smooth)
    inside = mirrored > OUTSIDE_HU / 2
    body = inside & ((hu > BODY_HU) | (mirrored > BODY_HU))
    return {
        "bone_correlation": correlation(hu[body].clip(*BONE_HU), mirrored[body].clip(*BONE_HU)),
        "overlap": float(inside[hu > BODY_HU].mean()) if (hu > BODY_HU).any() else 0.0,
        "tilt_deg": float(np.degrees(np.arccos(np.clip(plane.normal[0], 0, 1)))),
    }


def _objection(agreement: dict[str, float]) -> str:
    """Why a plane is not trusted; empty if it is."""
    bone, overlap, tilt = (agreement[name] for name in ("bone_correlation", "overlap", "tilt_deg"))
    if bone < LEAST_BONE_CORRELATION:
        return f"bone_correlation must be at least {LEAST_BONE_CORRELATION:g}, and is {bone:.3g}"
    if overlap < LEAST_OVERLAP:
        return f"overlap must be at least {LEAST_OVERLAP:g}, and is {overlap:.3g}"
    if tilt > LARGEST_TILT_DEG:
        return f"tilt_deg must be at most {LARGEST_TILT_DEG:g}, and is {tilt:.3g}"
    return ""
