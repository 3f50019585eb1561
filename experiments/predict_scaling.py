"""Seconds and memory of ``cfseg predict`` against the number of voxels, on synthetic scans, as a Markdown table.

    python experiments/predict_scaling.py -m MODEL_FOLDER -o out

The scans have 512 x 512 pixels of 0.7 mm and 62 to 1000 slices of 1 mm: an ellipsoid of soft tissue with noise in air.
Each is predicted by its own command; memory is the peak sum of proportional set sizes over its processes. The last line
has the seconds per million voxels and how well a straight line fits the seconds (r^2). Linux only.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from nnunetv2_cfseg.benchmark.memory_monitor import measure
from nnunetv2_cfseg.imaging.geometry import STRAIGHT, VolumeGeometry
from nnunetv2_cfseg.imaging.write import write_volume

SLICES = (62, 125, 250, 500, 1000)
PIXELS = 512
SPACING_MM = (1.0, 0.7, 0.7)


def main() -> None:
    """Draw missing scans, segment each and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-m", type=Path, required=True, help="a model folder of this package's network, or a bundle")
    parser.add_argument("-o", type=Path, required=True, help="folder for scans and segmentations")
    parser.add_argument("--slices", type=int, nargs="+", default=SLICES, help="default: %(default)s")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    args = parser.parse_args()
    (args.o / "scans").mkdir(parents=True, exist_ok=True)
    print("| slices | million voxels | seconds | peak MB |\n|---|---|---|---|")
    figures = []
    for slices in args.slices:
        scan = args.o / "scans" / f"scan_{slices}.nii.gz"
        if not scan.exists():
            volume = draw(slices)
            write_volume(volume, VolumeGeometry((slices, PIXELS, PIXELS), SPACING_MM, (0.0, 0.0, 0.0), STRAIGHT), scan)
        command = ["cfseg", "predict", "-i", scan, "-o", args.o / "segmentations", "-m", args.m, "-device", args.device]
        seconds, peak_bytes = measure([*command, "--disable_progress_bar"])
        voxels = slices * PIXELS**2 / 1e6
        figures.append((voxels, seconds))
        print(f"| {slices} | {voxels:.0f} | {seconds:.1f} | {peak_bytes / 1e6:.0f} |", flush=True)
    voxels, seconds = np.array(figures).T
    slope, start = np.polyfit(voxels, seconds, 1)
    r_squared = np.corrcoef(voxels, seconds)[0, 1] ** 2
    print(f"\n{start:.1f} s and {slope:.3f} s a million voxels, r^2 = {r_squared:.4f}")


def draw(slices: int) -> np.ndarray:
    """Draw a scan, (Z, Y, X) int16 HU, one plane at a time to save memory."""
    rng = np.random.default_rng(0)
    volume = np.empty((slices, PIXELS, PIXELS), dtype=np.int16)
    y, x = np.ogrid[-1 : 1 : PIXELS * 1j, -1 : 1 : PIXELS * 1j]
    for index, z in enumerate(np.linspace(-1, 1, slices)):
        body = (x / 0.7) ** 2 + (y / 0.5) ** 2 < 1 - (z / 1.2) ** 2
        volume[index] = np.where(body, 40, -1000) + rng.normal(0, 20, body.shape)
    return volume


if __name__ == "__main__":
    main()
