"""Adds a scanner's imperfections to the perfect image: blur, beam hardening and the noise of back projection.

The artefacts are computed from a coarse scan of the same scene: its parallel-beam projections give the error of beam
hardening, which grows with the square of the bone in a ray (Herman, Phys Med Biol 1979;24:81), and the noise, whose
variance grows with the exponential of a ray's attenuation. Filtered back projection turns both into images.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy import fft, ndimage, sparse

from nnunetv2_cfseg.data.phantom.render import Voxels, render
from nnunetv2_cfseg.data.phantom.scene import Scene

PIXEL_MM = 3.5
PIXELS = 72
SLICE_MM = 4.0
SLICES = 52
ANGLES = 90
#: Attenuation of water at 70 keV, per mm.
WATER = 0.0193
#: Fraction of a ray's attenuation that shows in the noise; the tube current compensates for the rest.
NOISE_ATTENUATION = 0.7
#: HU above which the coarse scan's voxels count as bone.
BONE_HU = 250.0


@dataclass(frozen=True)
class Scanner:
    """The imperfections of one scan.

    Attributes:
        noise_hu: standard deviation at the centre of the head, all frequencies, in slices of 1 mm.
        noise_peak_per_mm: frequency at which a soft head kernel's noise is strongest.
        blur_mm: standard deviation of the point spread in plane.
        hardening: error of a ray, per squared water-equivalent mm of bone in it, as attenuation.
        slice_correlation: of neighbouring thin slices' noise (helical interpolation).
        offset_hu: of soft tissue; scanners differ by 1 to 10 HU (Oh et al., Am J Emerg Med 2019;37:680).
    """

    noise_hu: float
    noise_peak_per_mm: float
    blur_mm: float
    hardening: float
    slice_correlation: float
    offset_hu: float

    @classmethod
    def draw(cls, rng: np.random.Generator, *, noise_hu: float | None = None) -> Scanner:
        """Draw a scanner and protocol; ``noise_hu``, if given, replaces the noise that is drawn."""
        drawn = float(rng.uniform(6, 10))
        return cls(
            noise_hu=drawn if noise_hu is None else noise_hu,
            noise_peak_per_mm=float(rng.uniform(0.2, 0.3)),
            blur_mm=float(rng.uniform(0.4, 0.55)),
            hardening=float(rng.uniform(1.5, 3)) * 1e-5,
            slice_correlation=float(rng.uniform(0.1, 0.3)),
            offset_hu=float(np.clip(rng.normal(0, 2), -4, 4)),
        )


@dataclass(frozen=True)
class Artefacts:
    """Artefacts on coarse voxels, (Z, Y, X).

    Attributes:
        voxels: the coarse voxels.
        hardening_hu: to be added to the image.
        noise: standard deviation relative to the centre of the head.
        power_by_angle: (ANGLES,) power of the noise's frequencies in each direction, mean 1: rays along the head are
            weaker than rays across it, and their noise runs along them.
    """

    voxels: Voxels
    hardening_hu: np.ndarray
    noise: np.ndarray
    power_by_angle: np.ndarray

    def at(self, voxels: Voxels, field: np.ndarray) -> np.ndarray:
        """A field's mean over each of the voxels' samples."""
        for axis in range(3):
            matrix = _mean_weights(self.voxels.centres_mm(axis), voxels, axis)
            field = np.moveaxis(np.tensordot(matrix, field, axes=(1, axis)), 0, axis)
        return field


def scan(scene: Scene, perfect: np.ndarray, voxels: Voxels, scanner: Scanner, rng: np.random.Generator) -> np.ndarray:
    """(Z, Y, X) int16 HU: the perfect image as this scanner would show it."""
    artefacts = find_artefacts(scene, scanner)
    image = blur(perfect, voxels, scanner.blur_mm)
    image += artefacts.at(voxels, artefacts.hardening_hu)
    image += scanner.offset_hu * np.clip((image + 1000) / 1000, 0, 1)
    noise = make_noise(voxels, scanner, rng, power_by_angle=artefacts.power_by_angle)
    noise *= artefacts.at(voxels, artefacts.noise)
    image += noise
    return np.clip(np.rint(image), -1024, 3071).astype(np.int16)


def blur(image: np.ndarray, voxels: Voxels, blur_mm: float) -> np.ndarray:
    """Apply the point spread in plane; along z the slice profile is a box, which the sampling gives already."""
    sigma = (0.0, blur_mm / voxels.spacing_mm[1], blur_mm / voxels.spacing_mm[2])
    return ndimage.gaussian_filter(image, sigma, truncate=3)


def make_noise(
    voxels: Voxels, scanner: Scanner, rng: np.random.Generator, *, power_by_angle: np.ndarray | None = None
) -> np.ndarray:
    """(Z, Y, X) float32 HU: noise whose power in plane is that of a ramp filter under a smooth window.

    Pixels that are too coarse for a frequency do not show it, and thick slices average noise away; both reduce the
    variance as in a real scanner.
    """
    depth, rows, columns = voxels.shape
    along_y, along_x = fft.fftfreq(rows, voxels.spacing_mm[1])[:, None], fft.rfftfreq(columns, voxels.spacing_mm[2])
    frequency = np.hypot(along_y, along_x)
    # Power f exp(-f^2 / 2 p^2) is strongest at p, and its integral over the plane is p^3 sqrt(2 pi^3).
    peak = scanner.noise_peak_per_mm
    power = frequency * np.exp(-0.5 * (frequency / peak) ** 2) / (peak**3 * np.sqrt(2 * np.pi**3))
    if power_by_angle is not None:
        angle = np.arctan2(along_y, along_x) % np.pi
        power = power * power_by_angle[np.rint(angle * (ANGLES / np.pi)).astype(int) % ANGLES]
    density = power / (voxels.spacing_mm[1] * voxels.spacing_mm[2])
    amplitude = (scanner.noise_hu * np.sqrt(density)).astype(np.float32)
    thin = voxels.spacing_mm[0] ** -0.5
    noise = np.empty(voxels.shape, np.float32)
    for z in range(depth):
        white = rng.standard_normal((rows, columns), dtype=np.float32)
        noise[z] = fft.irfft2(fft.rfft2(white) * amplitude, s=(rows, columns))
    c = scanner.slice_correlation
    # a + b of neighbours: correlation a b / (a^2 + b^2) = c
    ratio = (1 - np.sqrt(1 - 4 * c * c)) / (2 * c) if c > 0 else 0.0
    mixed = noise.copy()
    mixed[1:] += np.float32(ratio) * noise[:-1]
    mixed[1:] *= np.float32(thin / np.sqrt(1 + ratio**2))
    mixed[0] *= np.float32(thin)
    return mixed


def find_artefacts(scene: Scene, scanner: Scanner) -> Artefacts:
    """Compute beam hardening, and the noise's strength by place and direction, from a coarse scan."""
    voxels = Voxels((SLICES, PIXELS, PIXELS), (SLICE_MM, PIXEL_MM, PIXEL_MM), (1, 2, 2))
    coarse = render(scene, voxels).hu
    project = _projector()
    columns = coarse.reshape(SLICES, -1).T
    rays = project @ (np.clip(columns + 1000, 0, None) * (WATER / 1000))
    bone = project @ (np.clip(columns - BONE_HU, 0, None) / 1000)
    # Calibration removes the part of the error that is proportional to the bone.
    linear = float((bone**3).sum() / max((bone**2).sum(), 1e-6))
    error = -scanner.hardening * (bone**2 - linear * bone)
    hardening = _back_project(error) * (1000 / WATER)
    photons_lost = np.exp(NOISE_ATTENUATION * rays)
    noise = np.sqrt(project.T @ photons_lost).T.reshape(coarse.shape)
    in_head = coarse.max(axis=(1, 2)) > BONE_HU
    centre = slice(PIXELS // 2 - 4, PIXELS // 2 + 4)
    noise = noise / np.median(noise[in_head, centre, centre])
    middle = slice(_detectors() // 2 - 8, _detectors() // 2 + 8)
    by_angle = photons_lost.reshape(ANGLES, _detectors(), SLICES)[:, middle][:, :, in_head].mean(axis=(1, 2))
    return Artefacts(
        voxels,
        hardening.T.reshape(coarse.shape).astype(np.float32),
        noise.astype(np.float32),
        ndimage.gaussian_filter1d(by_angle / by_angle.mean(), 3, mode="wrap"),
    )


@lru_cache(maxsize=1)
def _projector() -> sparse.csr_matrix:
    """(angles * detectors, pixels): the length of each ray in each pixel in mm, interpolated between detectors."""
    angles = np.arange(ANGLES) * (np.pi / ANGLES)
    where = (np.arange(PIXELS) - (PIXELS - 1) / 2) * PIXEL_MM
    y, x = (axis.ravel() for axis in np.meshgrid(where, where, indexing="ij"))
    s = (np.cos(angles)[:, None] * x + np.sin(angles)[:, None] * y) / PIXEL_MM + (_detectors() - 1) / 2
    low = np.floor(s).astype(int)
    weight = s - low
    ray = np.arange(ANGLES)[:, None] * _detectors() + low
    pixel = np.broadcast_to(np.arange(PIXELS**2), ray.shape)
    entries = np.concatenate([(1 - weight).ravel(), weight.ravel()]) * PIXEL_MM
    positions = (np.concatenate([ray.ravel(), ray.ravel() + 1]), np.concatenate([pixel.ravel()] * 2))
    return sparse.csr_matrix((entries, positions), shape=(ANGLES * _detectors(), PIXELS**2))


def _detectors() -> int:
    return int(PIXELS * 1.42) + 3


def _back_project(rays: np.ndarray) -> np.ndarray:
    """(rays, slices) -> (pixels, slices), per mm: filtered back projection with a ramp under a Hann window."""
    detectors = _detectors()
    size = 2 * detectors
    frequency = fft.rfftfreq(size, PIXEL_MM)
    ramp = frequency * (0.5 + 0.5 * np.cos(np.pi * frequency / frequency[-1]))
    sinogram = rays.reshape(ANGLES, detectors, -1)
    filtered = fft.irfft(fft.rfft(sinogram, size, axis=1) * ramp[None, :, None], size, axis=1)[:, :detectors]
    return _projector().T @ filtered.reshape(rays.shape) * (np.pi / ANGLES / PIXEL_MM)


def _mean_weights(points_mm: np.ndarray, voxels: Voxels, axis: int) -> np.ndarray:
    """(voxels, points): linear interpolation, averaged over each voxel's samples; the nearest value beyond the ends."""
    samples = np.clip(voxels.samples_mm(axis), points_mm[0], points_mm[-1])
    step = points_mm[1] - points_mm[0]
    position = (samples - points_mm[0]) / step
    low = np.minimum(position.astype(int), len(points_mm) - 2)
    weights = np.zeros((len(samples), len(points_mm)), np.float32)
    rows = np.arange(len(samples))
    weights[rows, low] = 1 - (position - low)
    weights[rows, low + 1] = position - low
    return weights.reshape(voxels.shape[axis], -1, len(points_mm)).mean(axis=1)
