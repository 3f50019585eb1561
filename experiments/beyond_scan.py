"""What should blocks see beyond the ends of a scan: the mean, repeated last voxels, air, or a reflection?

    python experiments/beyond_scan.py train -d 501 --mode edge --steps 2500 --seed 1 -o results/edge_1
    python experiments/beyond_scan.py score -m results/*_* -i scans -l labels -o beyond_scan.csv
    python experiments/beyond_scan.py table beyond_scan.csv

``train`` takes a fixed number of steps on fold 0 of a dataset that `cfseg plan_and_preprocess` has prepared. ``score``
segments each scan in each mode as a whole, in two halves cut through the middle of the organs, and a few slices around
that middle alone. The Dice of a piece is measured next to the cut, and on the same slices of the whole scan.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from nnunetv2_cfseg.evaluation.bootstrap import bootstrap_mean
from nnunetv2_cfseg.imaging.geometry import Volume
from nnunetv2_cfseg.imaging.read import read_scan, read_volume
from nnunetv2_cfseg.inference.model import Model, load_model
from nnunetv2_cfseg.inference.precision import PRECISIONS, faster_precision
from nnunetv2_cfseg.inference.predict_volume import PredictionSettings, predict_volume
from nnunetv2_cfseg.networks.beyond_scan import MODES
from nnunetv2_cfseg.nnunet.datasets import find_dataset

PLANS = "nnUNetCFSegPlans"
#: Slices next to a cut whose Dice is measured, and the thicknesses of pieces cut on both sides.
NEXT_TO_CUT = 24
SHORT = (3, 6, 12)
COLUMNS = ("model", "training", "seed", "steps", "prediction", "case", "piece", "dice", "dice_whole")
PIECES = ("whole", "cut", *(f"{slices} slices" for slices in SHORT))

Slices = tuple[int, int]


def main() -> None:
    """Run one of the three steps."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    steps = parser.add_subparsers(required=True)
    train = steps.add_parser("train")
    train.add_argument("-d", required=True, help="id of the dataset")
    train.add_argument("--mode", choices=MODES, required=True)
    train.add_argument("--steps", type=int, default=2500)
    train.add_argument("--seed", type=int, default=1)
    train.add_argument("-o", type=Path, required=True, help="folder of this training, MODE_SEED")
    train.set_defaults(run=run_training)
    score = steps.add_parser("score")
    score.add_argument("-m", type=Path, nargs="+", required=True, help="folders of trainings")
    score.add_argument("-i", type=Path, required=True, help="scans that were not used for training")
    score.add_argument("-l", type=Path, required=True, help="their labels")
    score.add_argument("--cases", nargs="+", help="names, if not all")
    score.add_argument("-o", type=Path, required=True, help="CSV; rows already in it are not computed again")
    score.set_defaults(run=run_scoring)
    table = steps.add_parser("table")
    table.add_argument("csv", type=Path)
    table.set_defaults(run=run_table)
    args = parser.parse_args()
    args.run(args)


def run_training(args: argparse.Namespace) -> None:
    """Train, and write ``checkpoint_final.pth`` and the number of steps."""
    os.environ.update(CFSEG_SEED=str(args.seed), nnUNet_results=str(args.o.resolve()))
    from nnunetv2.run.run_training import get_trainer_from_args

    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    folder = find_dataset(args.d).preprocessed
    plans = json.loads((folder / f"{PLANS}.json").read_text())
    plans["plans_name"] = f"{PLANS}_{args.mode}"
    plans["configurations"]["3d_fullres"]["architecture"]["arch_kwargs"]["beyond_scan"] = args.mode
    (folder / f"{plans['plans_name']}.json").write_text(json.dumps(plans))
    trainer = get_trainer_from_args(
        args.d, "3d_fullres", 0, "nnUNetTrainerCFSeg", plans["plans_name"], device=torch.device("cpu")
    )
    trainer.num_epochs, trainer.num_val_iterations_per_epoch = 10, 1
    trainer.num_iterations_per_epoch = args.steps // trainer.num_epochs
    trainer.run_training()
    (args.o / "steps").write_text(str(trainer.num_iterations_per_epoch * trainer.num_epochs))


def run_scoring(args: argparse.Namespace) -> None:
    """Add missing rows to the CSV."""
    done = set()
    if args.o.is_file():
        with args.o.open(newline="") as file:
            done = {(row["model"], row["prediction"], row["case"]) for row in csv.DictReader(file)}
    else:
        args.o.write_text(",".join(COLUMNS) + "\n")
    scans = {re.sub(r"_0000\..*", "", file.name): file for file in sorted(args.i.glob("*_0000.nii.gz"))}
    for folder in args.m:
        model = read_model(folder)
        training, _, seed = folder.name.rpartition("_")
        steps = (folder / "steps").read_text().strip()
        for case in args.cases or scans:
            image = read_scan(scans[case])
            truth = read_volume(args.l / f"{case}.nii.gz").values
            for mode in MODES:
                if (folder.name, mode, case) in done:
                    continue
                rows = [
                    (folder.name, training, seed, steps, mode, case, piece, f"{dice:.4f}", f"{whole:.4f}")
                    for piece, dice, whole in score_case(model, image, truth, mode)
                ]
                with args.o.open("a", newline="") as file:
                    csv.writer(file).writerows(rows)


def read_model(folder: Path) -> Model:
    """Load the only model below a folder, in the faster precision."""
    checkpoint = next(folder.glob("*/*/fold_0/checkpoint_final.pth"))
    model = load_model(checkpoint.parent.parent, ["0"])
    precision, _ = faster_precision(model.networks[0])
    for network in model.networks:
        network.to(PRECISIONS[precision])
    return model


def score_case(
    model: Model, image: Volume, truth: NDArray[np.integer], mode: str
) -> Iterator[tuple[str, float, float]]:
    """Yield each piece's name, its Dice, and the Dice of the same slices of the whole scan."""
    voxels, spacing_mm = image.values, image.geometry.spacing_mm

    def predict(first: int, last: int) -> NDArray[np.integer]:
        settings = PredictionSettings(shifts=2, beyond_scan=mode)
        return predict_volume([voxels[first:last]], spacing_mm, model.networks, model.configuration, settings)

    whole = predict(0, len(voxels))
    score = mean_dice(truth, whole)
    yield "whole", score, score
    organs = np.flatnonzero(truth.any(axis=(1, 2)))
    middle = int(organs[0] + organs[-1] + 1) // 2
    lower, upper = predict(0, middle), predict(middle, len(voxels))
    below, above = slice(max(middle - NEXT_TO_CUT, 0), middle), slice(middle, middle + NEXT_TO_CUT)
    for part, slices in ((lower[below], below), (upper[:NEXT_TO_CUT], above)):
        yield "cut", mean_dice(truth[slices], part), mean_dice(truth[slices], whole[slices])
    for count in SHORT:
        slices = slice(middle - count // 2, middle - count // 2 + count)
        part = predict(slices.start, slices.stop)
        yield f"{count} slices", mean_dice(truth[slices], part), mean_dice(truth[slices], whole[slices])


def mean_dice(truth: NDArray[np.integer], prediction: NDArray[np.integer]) -> float:
    """Mean Dice over the classes in the truth."""
    scores = []
    for label in np.unique(truth[truth > 0]):
        a, b = truth == label, prediction == label
        scores.append(2 * np.count_nonzero(a & b) / (np.count_nonzero(a) + np.count_nonzero(b)))
    return float(np.mean(scores))


def run_table(args: argparse.Namespace) -> None:
    """Print means over cases and seeds, and differences to training and predicting with the mean."""
    with args.csv.open(newline="") as file:
        rows = list(csv.DictReader(file))
    values: dict[tuple[str, str, str], dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    uncut: dict[tuple[str, str], list[float]] = defaultdict(list)
    seeds = defaultdict(set)
    for row in rows:
        values[row["training"], row["prediction"], row["piece"]][row["case"]].append(float(row["dice"]))
        seeds[row["training"]].add((row["seed"], row["steps"]))
        if row["training"] == row["prediction"]:
            uncut[row["training"], row["piece"]].append(float(row["dice_whole"]))
    cases = sorted({row["case"] for row in rows})
    print("| training (seeds, steps) | prediction | " + " | ".join(PIECES) + " |\n|---|---|" + "---|" * len(PIECES))
    for training in [mode for mode in MODES if mode in seeds]:
        steps = ", ".join(sorted({count for _, count in seeds[training]}))
        head = f"{training} ({len(seeds[training])}, {steps})"
        print(f"| {head} | slices of the whole scan | " + " | ".join(
            f"{np.mean(uncut[training, piece]):.3f}" for piece in PIECES) + " |")  # fmt: skip
        for mode in MODES:
            cells = []
            for piece in PIECES:
                by_case = of_cases(values[training, mode, piece], cases)
                difference = by_case - of_cases(values["mean", "mean", piece], cases)
                low, high = bootstrap_mean(difference, resamples=2000, seed=0)
                cells.append(f"{by_case.mean():.3f} ({difference.mean():+.3f}, {low:+.3f} to {high:+.3f})")
            print(f"| {head} | {mode} | " + " | ".join(cells) + " |")


def of_cases(values: dict[str, list[float]], cases: Sequence[str]) -> NDArray[np.floating]:
    """Each case's mean over seeds and both sides of a cut."""
    return np.array([np.mean(values[case]) for case in cases])


if __name__ == "__main__":
    main()
