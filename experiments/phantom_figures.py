"""Pictures and statistics of the phantom, beside a real head CT if there is one.

    python experiments/phantom_figures.py -o figures [--real HEAD_CT]

writes ``classes.png`` (a case of each class, brain and bone window, axial and coronal; the real scan in the first
column), and, with a real scan, ``statistics.png`` (HU histograms and noise power spectra) and ``statistics.json``.
Do not publish pictures of a real scan without the patient's consent.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from pathlib import Path

import matplotlib as mpl
import numpy as np
from scipy import ndimage

from nnunetv2_cfseg.data.phantom.case import make_case
from nnunetv2_cfseg.data.phantom.settings import CLASSES, PhantomSettings
from nnunetv2_cfseg.imaging.orientation import LPS
from nnunetv2_cfseg.imaging.read import read_scan

mpl.use("Agg")
import matplotlib.pyplot as plt

WINDOWS = {"brain": (0, 80), "bone": (-500, 1500)}
#: Seed of the case shown for each class.
SHOWN = {"EDH": 6, "ICH": 5, "IVH": 6, "SAH": 5, "SDH": 3}
TISSUE_HU = np.arange(-150, 150.5, 1.0)
BONE_HU = np.arange(150, 2200, 20.0)
ROI_MM = 24.0


@dataclass(frozen=True)
class Scan:
    """A scan: image (Z, Y, X) in HU, spacing along z, y, x, and the slice and row to show."""

    name: str
    image: np.ndarray
    spacing_mm: tuple[float, float, float]
    cut: tuple[int, int]


def main() -> None:
    """Draw the classes and, with a real scan, the statistics."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("-o", type=Path, required=True, metavar="FOLDER")
    parser.add_argument("--real", type=Path, metavar="HEAD_CT", help="axes to the patient's left, back and head")
    args = parser.parse_args()
    args.o.mkdir(parents=True, exist_ok=True)
    real = [] if args.real is None else [read_real(args.real)]
    draw_classes([*real, *(phantom(name, index) for name, index in SHOWN.items())], args.o / "classes.png")
    if real:
        statistics(real[0], args.o)


def read_real(file: Path) -> Scan:
    """Read a head CT, to be shown at the bodies of the ventricles, about 75 mm below the vertex."""
    image = read_scan(file).turned(LPS)
    z, y, x = image.geometry.spacing_mm
    array = image.values.astype(np.float32)
    vertex = int(np.flatnonzero((array > 500).sum(axis=(1, 2)) > 20)[-1])
    rows = np.flatnonzero((array[vertex - int(75 / z)] > 500).any(axis=1))
    return Scan("real", array, (z, y, x), (vertex - int(65 / z), int(rows.mean())))


def phantom(name: str, seed: int) -> Scan:
    """Make a case with a single class, to be shown where there is most of it."""
    settings = PhantomSettings(matrix=(216, 320, 320), spacing_mm=(0.75, 0.72, 0.72), frequencies={name: 1.0})
    case = make_case(settings, seed=seed, index=0)
    lesion = case.labels == CLASSES[name]
    cut = int(lesion.sum(axis=(1, 2)).argmax()), int(lesion.sum(axis=(0, 2)).argmax())
    return Scan(name, case.image.astype(np.float32), case.geometry.spacing_mm, cut)


def draw_classes(scans: list[Scan], file: Path) -> None:
    """Draw each scan as a column: brain and bone window, axial and coronal."""
    figure, axes = plt.subplots(4, len(scans), figsize=(2.6 * len(scans), 9.2), facecolor="black")
    for column, scan in enumerate(scans):
        z, y, x = scan.spacing_mm
        for row, (window, plane) in enumerate([(w, p) for p in ("axial", "coronal") for w in WINDOWS]):
            axis = axes[row, column]
            low, high = WINDOWS[window]
            pixels, aspect = (
                (scan.image[scan.cut[0]], y / x) if plane == "axial" else (scan.image[::-1, scan.cut[1]], z / x)
            )
            axis.imshow(pixels, cmap="gray", vmin=low, vmax=high, aspect=aspect, interpolation="bilinear")
            axis.axis("off")
        axes[0, column].set_title(scan.name, color="white")
    figure.tight_layout(pad=0.3)
    figure.savefig(file, dpi=80)
    plt.close(figure)


def statistics(real: Scan, folder: Path) -> None:
    """Draw and write histograms and noise of the real scan and of eight phantoms with its shape and spacing."""
    shape = real.image.shape
    settings = PhantomSettings((shape[0], shape[1], shape[2]), real.spacing_mm, supersampling=1)
    phantoms = [
        Scan(f"phantom {index}", make_case(settings, seed=1, index=index).image.astype(np.float32), real.spacing_mm,
             (int(0.62 * shape[0]), 0))
        for index in range(8)
    ]  # fmt: skip
    figure, axes = plt.subplots(1, 3, figsize=(13, 3.8))
    numbers = {}
    for scan in [*phantoms, real]:
        style = {"color": "black", "lw": 2} if scan is real else {"color": "tab:blue", "lw": 0.7, "alpha": 0.7}
        axes[0].plot(TISSUE_HU[:-1] + 0.5, _share(scan, TISSUE_HU), **style)
        axes[1].plot(BONE_HU[:-1] + 10, _share(scan, BONE_HU), **style)
        frequency, power, noise_hu = noise_power(scan)
        axes[2].plot(frequency, power, **style)
        numbers[scan.name] = {
            "noise_hu": noise_hu,
            "noise_mean_per_mm": float((frequency * power).sum() / power.sum()),
            "mode_hu_of_brain": float(TISSUE_HU[150 + np.argmax(_share(scan, TISSUE_HU)[150:])]),
            "median_hu_of_bone": float(np.median(scan.image[scan.image > BONE_HU[0]])),
        }
    for axis, title, unit in zip(
        axes,
        ("soft tissue, share per HU", "bone, share per HU", "noise power in brain, HU² mm²"),
        ("HU", "HU", "cycles per mm"),
        strict=True,
    ):
        axis.set_title(title)
        axis.set_xlabel(unit)
    figure.tight_layout()
    figure.savefig(folder / "statistics.png", dpi=90)
    (folder / "statistics.json").write_text(json.dumps(numbers, indent=1))
    plt.close(figure)


def _share(scan: Scan, edges: np.ndarray) -> np.ndarray:
    """Fraction of the head's voxels per HU."""
    counts = np.histogram(scan.image, edges)[0]
    return counts / (scan.image > -300).sum() / (edges[1] - edges[0])


def noise_power(scan: Scan) -> tuple[np.ndarray, np.ndarray, float]:
    """Frequencies and radial noise power spectrum in the plane, and the standard deviation, from white matter.

    Differences between nearby slices remove the anatomy; regions with anything but brain are left out.
    """
    z, y, x = scan.spacing_mm
    size = round(ROI_MM / x)
    spectra, variances = [], []
    for slice_number in range(scan.cut[0] - int(8 / z), scan.cut[0] + int(14 / z), 2):
        smooth = ndimage.gaussian_filter(scan.image[slice_number], 1.5 / x)
        for row in range(0, scan.image.shape[1] - size, size // 2):
            for column in range(0, scan.image.shape[2] - size, size // 2):
                part = (slice(row, row + size), slice(column, column + size))
                if smooth[part].min() < 18 or smooth[part].max() > 48:
                    continue
                noise = (scan.image[slice_number][part] - scan.image[slice_number + 2][part]) / np.sqrt(2)
                noise = noise - noise.mean()
                variances.append(noise.var())
                window = np.outer(np.hanning(size), np.hanning(size))
                spectra.append(np.abs(np.fft.fft2(noise * window)) ** 2 * x * y / (window**2).sum())
    frequency = np.hypot(np.fft.fftfreq(size, y)[:, None], np.fft.fftfreq(size, x)[None])
    edges = np.arange(0, 0.9, 0.04)
    bins = np.digitize(frequency.ravel(), edges)
    mean = np.mean(spectra, axis=0).ravel()
    radial = np.array([mean[bins == i].mean() if (bins == i).any() else np.nan for i in range(1, len(edges))])
    return edges[:-1] + 0.02, radial, float(np.sqrt(np.mean(variances)))


if __name__ == "__main__":
    main()
