"""Finds the plane about which a scan is most like its mirror image."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk
from scipy import ndimage, optimize

from nnunetv2_cfseg.imaging.geometry import geometry_of

WINDOW_HU = (-500.0, 500.0)
BODY_HU = -300.0
#: Shrink factors and smoothing of the registration, from coarse to fine.
SHRINK = (4, 2)
SMOOTH_MM = (8.0, 4.0)
#: Smoothing of the last search, and about how many voxels it looks at.
LAST_SMOOTH_MM = 2.0
POINTS = 30000
#: First step of the last search, and where it ends.
STEP_MM = 4.0
PRECISION_MM = 0.02
#: Distance from a head's middle to its surface; tilts are measured in mm there.
LEVER_MM = 80.0
#: Fewest voxels that must have their mirror image within the scan.
FEWEST_POINTS = 100


@dataclass(frozen=True)
class Plane:
    """A plane in patient coordinates.

    Attributes:
        normal: (3,) unit vector x, y, z towards the patient's left.
        offset_mm: of the plane along its normal from the origin.
    """

    normal: np.ndarray
    offset_mm: float

    def reflect(self, points: np.ndarray) -> np.ndarray:
        """Mirror images of points (n, 3) in mm."""
        return points - 2 * np.outer(points @ self.normal - self.offset_mm, self.normal)


def find_symmetry(coarse: sitk.Image) -> Plane:
    """Register a scan to its mirror image, then refine the plane.

    The registration is rigid and starts from a sagittal plane; it only has to come close. The refinement tilts and
    moves the plane (Nelder and Mead) to maximise the correlation of the scan with its mirror image.

    Args:
        coarse: HU, with voxels of some mm, and a body in it.

    Raises:
        RuntimeError: SimpleITK's, if the mirror image ends up beside the scan.
    """
    windowed = sitk.Clamp(coarse, lowerBound=WINDOW_HU[0], upperBound=WINDOW_HU[1])
    body = sitk.GetArrayViewFromImage(coarse) > BODY_HU
    return _refine(windowed, body, _register(windowed, body))


def _register(windowed: sitk.Image, body: np.ndarray) -> Plane:
    middle = windowed.TransformContinuousIndexToPhysicalPoint(np.argwhere(body).mean(axis=0)[::-1].tolist())
    mirror = sitk.AffineTransform(3)
    mirror.SetMatrix([-1, 0, 0, 0, 1, 0, 0, 0, 1])
    mirror.SetCenter(middle)
    rigid = sitk.Euler3DTransform()
    rigid.SetCenter(middle)
    method = sitk.ImageRegistrationMethod()
    method.SetNumberOfThreads(1)  # sums in another order would give another plane
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
    method.Execute(windowed, windowed)
    # A point and its mirror image have equal distances to the plane; its normal is the eigenvector of -1.
    linear = np.reshape(mirror.GetMatrix(), (3, 3)) @ np.reshape(rigid.GetMatrix(), (3, 3))
    values, vectors = np.linalg.eig(linear)
    halfway = (np.array(middle) + mirror.TransformPoint(rigid.TransformPoint(middle))) / 2
    return _plane(np.real(vectors[:, np.argmin(np.abs(values + 1))]), halfway)


def _refine(windowed: sitk.Image, body: np.ndarray, start: Plane) -> Plane:
    smooth = sitk.GetArrayFromImage(sitk.DiscreteGaussian(windowed, LAST_SMOOTH_MM**2))
    grid = geometry_of(windowed)
    origin, to_index = np.array(grid.origin_mm), np.linalg.inv(grid.steps_mm)
    indices = np.argwhere(ndimage.binary_dilation(body, iterations=2))
    indices = indices[:: max(1, len(indices) // POINTS)]
    points = grid.position_mm(indices)
    values = smooth[tuple(indices.T)]
    middle = points.mean(axis=0)
    foot = middle + (start.offset_mm - middle @ start.normal) * start.normal
    tilts = np.linalg.svd(start.normal[None])[2][1:] / LEVER_MM

    def moved(change_mm: np.ndarray) -> Plane:
        return _plane(start.normal + change_mm[:2] @ tilts, foot + change_mm[2] * start.normal)

    def unlike(change_mm: np.ndarray) -> float:
        mirrored = (moved(change_mm).reflect(points) - origin) @ to_index
        there = ndimage.map_coordinates(smooth, mirrored.T, order=1, cval=np.nan)
        inside = ~np.isnan(there)
        return 1.0 if inside.sum() < FEWEST_POINTS else -correlation(values[inside], there[inside])

    simplex = np.concatenate([np.zeros((1, 3)), STEP_MM * np.eye(3)])
    options = {"initial_simplex": simplex, "xatol": PRECISION_MM, "fatol": 1e-7, "maxfev": 300}
    return moved(optimize.minimize(unlike, np.zeros(3), method="Nelder-Mead", options=options).x)


def correlation(first: np.ndarray, second: np.ndarray) -> float:
    """Pearson's correlation; 0 if either array is empty or constant."""
    if not first.size or np.ptp(first) == 0 or np.ptp(second) == 0:
        return 0.0
    return float(np.corrcoef(first, second)[0, 1])


def _plane(across: np.ndarray, point: np.ndarray) -> Plane:
    normal = across / np.linalg.norm(across) * (1 if across[0] >= 0 else -1)
    return Plane(normal, float(point @ normal))
