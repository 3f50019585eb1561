"""Wall time and memory of ``cfseg evaluate`` on full-size scans, as a Markdown table.

    python experiments/evaluate.py -o evaluate_cases
    python experiments/evaluate.py -o evaluate_cases --profile

Draws cases of 512 x 512 x 160 voxels with five classes (an organ, a subdural crescent, a thin sheet, haematomas and
scattered small lesions) and predictions of them that are slightly off, miss some lesions and invent others. Existing
cases are kept. Memory is the peak sum of proportional set sizes over the command and its processes, which counts shared
pages once. Linux only. Exits with 1 if a case took more than 18 s (20 cases in 6 minutes) or all more than 3 GB.
"""

from __future__ import annotations

import argparse
import cProfile
import json
import pstats
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy import ndimage
from tqdm import tqdm

from nnunetv2_cfseg.benchmark.memory_monitor import measure
from nnunetv2_cfseg.evaluation.evaluate import evaluate_folders
from nnunetv2_cfseg.evaluation.metrics import MetricSettings
from nnunetv2_cfseg.imaging.geometry import STRAIGHT, VolumeGeometry
from nnunetv2_cfseg.imaging.write import write_volume

SHAPE = (160, 512, 512)
SPACING_MM = (1.0, 0.45, 0.45)
CLASSES = ("organ", "crescent", "sheet", "haematoma", "spots")
ENDING = ".nii.gz"
FACTOR = 5
SECONDS_A_CASE = 18.0
MOST_BYTES = 3e9


@dataclass(frozen=True)
class Ball:
    """A lesion: centre and radius in voxels, class, and whether truth and prediction show it."""

    centre: np.ndarray
    radius: np.ndarray
    label: int
    in_truth: bool
    in_prediction: bool


def main() -> int:
    """Draw cases, evaluate them and print the table; returns 1 if it took too much time or memory."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", type=Path, required=True, help="folder of the cases")
    parser.add_argument("-n", type=int, default=20, help="cases (default: %(default)s)")
    parser.add_argument("-np", type=int, default=2, help="processes (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="determines all cases (default: %(default)s)")
    parser.add_argument("--profile", action="store_true", help="print where the time of the first case is spent")
    args = parser.parse_args()
    write_cases(args.o, args.n, seed=args.seed)
    if args.profile:
        profile_case(args.o)
        return 0
    seconds, peak_bytes = measure_command(args.o, args.np)
    print("| cases | classes | voxels | processes | seconds | seconds a case | peak MB |")
    print("|---:|---:|---|---:|---:|---:|---:|")
    row = (args.n, len(CLASSES), "x".join(map(str, SHAPE)), args.np, f"{seconds:.0f}", f"{seconds / args.n:.1f}")
    print(f"| {' | '.join(map(str, row))} | {peak_bytes / 1e6:.0f} |")
    if seconds > SECONDS_A_CASE * args.n or peak_bytes > MOST_BYTES:
        print(f"a case took more than {SECONDS_A_CASE:g} s, or all {MOST_BYTES / 1e9:g} GB", file=sys.stderr)
        return 1
    return 0


def write_cases(folder: Path, cases: int, *, seed: int) -> None:
    """Write ``truth/``, ``prediction/`` and ``dataset.json`` with exactly these cases.

    Raises:
        ValueError: the folder holds other cases.
    """
    names = [f"case_{seed}_{number:03d}{ENDING}" for number in range(cases)]
    for part in ("truth", "prediction"):
        (folder / part).mkdir(parents=True, exist_ok=True)
        for file in sorted((folder / part).iterdir()):
            if file.name not in names:
                raise ValueError(f"the folder must only hold the {cases} cases of seed {seed}, but has: {file}")
    labels = {"background": 0} | {name: label for label, name in enumerate(CLASSES, 1)}
    dataset = {"labels": labels, "channel_names": {"0": "CT"}, "numTraining": cases, "file_ending": ENDING}
    (folder / "dataset.json").write_text(json.dumps(dataset))
    for number, name in enumerate(tqdm(names, desc="Drawing", unit="case")):
        files = [folder / part / name for part in ("truth", "prediction")]
        if all(file.exists() for file in files):
            continue
        for file, values in zip(files, draw_case(np.random.default_rng([seed, number])), strict=True):
            z, y, x = values.shape
            write_volume(values, VolumeGeometry((z, y, x), SPACING_MM, (0.0, 0.0, 0.0), STRAIGHT), file)


def draw_case(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Draw truth and prediction, (Z, Y, X) uint8."""
    depth = _depth() + np.float32(0.01) * _smooth_noise(rng, 24)
    error = np.float32(0.006) * _smooth_noise(rng, 12)
    balls = [_draw_ball(rng, 4, (8, 40)) for _ in range(3)] + [_draw_ball(rng, 5, (2, 7)) for _ in range(40)]
    truth = _draw_labels(depth, [ball for ball in balls if ball.in_truth], inflate=1.0)
    depth += error
    return truth, _draw_labels(depth, [ball for ball in balls if ball.in_prediction], inflate=1.15)


def measure_command(folder: Path, num_processes: int) -> tuple[float, int]:
    """Seconds that ``cfseg evaluate`` took, and the peak bytes of it and its processes."""
    with tempfile.TemporaryDirectory() as scratch:
        command = [sys.executable, "-m", "nnunetv2_cfseg.cli", "evaluate", folder / "truth", folder / "prediction"]
        flags = ["-djfile", folder / "dataset.json", "-o", Path(scratch) / "summary.json", "-np", num_processes]
        return measure([*command, *flags, "--factor", FACTOR, "--no_pbar"])


def profile_case(folder: Path) -> None:
    """Print the 15 functions in which one case spends most time, including the functions that they call."""
    name = next(file.name for file in sorted((folder / "truth").iterdir()))
    with tempfile.TemporaryDirectory() as scratch:
        for part in ("truth", "prediction"):
            Path(scratch, part).mkdir()
            Path(scratch, part, name).symlink_to((folder / part / name).resolve())
        profile = cProfile.Profile()
        profile.runcall(
            evaluate_folders,
            Path(scratch, "truth"),
            Path(scratch, "prediction"),
            dataset_json=folder / "dataset.json",
            plans_json=None,
            settings=MetricSettings(factor=FACTOR),
            num_processes=1,
            progress=False,
        )
    pstats.Stats(profile).strip_dirs().sort_stats("cumulative").print_stats(15)


def _depth() -> np.ndarray:
    """(Z, Y, X) float32: 0 in the middle, 1 at the surface of an ellipsoid that fills most of the grid."""
    z, y, x = (np.linspace(-1.1, 1.1, size, dtype=np.float32) for size in SHAPE)
    return np.sqrt(z[:, None, None] ** 2 + y[:, None] ** 2 + x**2)


def _smooth_noise(rng: np.random.Generator, step: int) -> np.ndarray:
    """(Z, Y, X) float32 with standard deviation of about one half, smooth over ``step`` voxels."""
    coarse = rng.standard_normal([size // step + 2 for size in SHAPE], dtype=np.float32)
    factors = [size / points for size, points in zip(SHAPE, coarse.shape, strict=True)]
    return ndimage.zoom(coarse, factors, order=1, grid_mode=True, mode="nearest")


def _draw_ball(rng: np.random.Generator, label: int, radii: tuple[float, float]) -> Ball:
    centre = (np.array(SHAPE) - 1) * (0.5 + rng.uniform(-0.25, 0.25, 3))
    radius = rng.uniform(*radii, 3) * SPACING_MM[1] / SPACING_MM
    chance = rng.random()  # one in ten is missed by the prediction, and one in ten invented
    return Ball(centre, radius, label, in_truth=chance > 0.1, in_prediction=chance < 0.9)


def _draw_labels(depth: np.ndarray, balls: list[Ball], *, inflate: float) -> np.ndarray:
    """Label map of organ, crescent and sheet at their depths, and of lesions with radii times ``inflate``."""
    labels = np.zeros(SHAPE, np.uint8)
    middle = SHAPE[2] // 2
    labels[depth < 0.62] = 1
    left, right = depth[..., :middle], depth[..., middle:]
    labels[..., :middle][(left > 0.93) & (left < 1)] = 2
    labels[..., middle:][(right > 0.79) & (right < 0.82)] = 3
    for ball in balls:
        radius = ball.radius * inflate
        starts = np.maximum(np.ceil(ball.centre - radius).astype(int), 0)
        stops = np.minimum(np.floor(ball.centre + radius).astype(int) + 1, SHAPE)
        box = tuple(slice(start, stop) for start, stop in zip(starts, stops, strict=True))
        z, y, x = np.ogrid[box]
        offsets = ((axis - c) / r for axis, c, r in zip((z, y, x), ball.centre, radius, strict=True))
        labels[box][sum(offset**2 for offset in offsets) < 1] = ball.label
    return labels


if __name__ == "__main__":
    sys.exit(main())
