"""How much Dice is lost if scans store their axes in another order than the training scans, as a Markdown table.

    python experiments/storage_order.py -m MODEL_FOLDER -i IMAGES -l LABELS -o out [--cases CASE ...]

Each scan is stored in several orders, with correct headers, and segmented twice: as stored, like nnU-Net, and turned to
the model's order, like ``cfseg predict``. Dice is the mean over classes and cases.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np

from nnunetv2_cfseg.imaging.orientation import LPS
from nnunetv2_cfseg.imaging.read import read_volume
from nnunetv2_cfseg.imaging.write import write_volume
from nnunetv2_cfseg.inference.load_models import load_models
from nnunetv2_cfseg.inference.model import Model
from nnunetv2_cfseg.inference.predict import predict
from nnunetv2_cfseg.inference.predict_volume import PredictionSettings
from nnunetv2_cfseg.inference.records import Recipe
from nnunetv2_cfseg.inference.scans import find_cases

#: Orders from SimpleITK, a mirrored export, dcm2niix and nibabel, and of DICOM with the patient feet first and prone.
ORDERS = ("LPS", "RPS", "LAS", "RAS", "RPI")


def main() -> None:
    """Store, segment and score the cases in each order, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-m", type=Path, required=True, help="a model folder of this package's network, or a bundle")
    parser.add_argument("-i", type=Path, required=True, help="images, CASE_0000 and the ending of the dataset")
    parser.add_argument("-l", type=Path, required=True, help="labels, CASE and the ending")
    parser.add_argument("-o", type=Path, required=True, help="folder for scans and segmentations")
    parser.add_argument("--cases", nargs="+", help="default: all")
    args = parser.parse_args()
    (model,) = load_models(args.m, checkpoint="checkpoint_final.pth", configuration="3d_fullres")
    ending = model.configuration.file_ending
    names = args.cases or sorted(file.name.removesuffix(ending) for file in args.l.glob(f"*{ending}"))
    print(f"{len(names)} cases, model in {model.configuration.storage_order}\n")
    print("| stored | as stored | turned | voxels that differ from those of the first order, turned |")
    print("|---|---|---|---|")
    first: dict[str, np.ndarray] = {}
    for order in ORDERS:
        scans = args.o / order / "scans"
        scans.mkdir(parents=True, exist_ok=True)
        for name in names:
            stored = read_volume(args.i / f"{name}_0000{ending}").turned(order)
            write_volume(np.ascontiguousarray(stored.values), stored.geometry, scans / f"{name}_0000{ending}")
        dices, differ = {}, 0.0
        for how, trained_in in (("as stored", order), ("turned", model.configuration.storage_order)):
            labels = segmentations(in_order(model, trained_in), scans, args.o / order / how.replace(" ", "_"))
            dices[how] = np.mean([mean_dice(labels[name], truth(args.l / f"{name}{ending}")) for name in names])
            if how == "turned":
                first = first or labels
                differ = float(np.mean([(labels[name] != first[name]).mean() for name in names]))
        print(f"| {order} | {dices['as stored']:.3f} | {dices['turned']:.3f} | {differ:.2%} |", flush=True)


def in_order(model: Model, order: str | None) -> Model:
    """The model as if it had been trained in an order, so that scans stored in it are not turned."""
    return replace(model, configuration=replace(model.configuration, storage_order=order))


def segmentations(model: Model, scans: Path, output: Path) -> dict[str, np.ndarray]:
    """Segment the cases; returns the labels of each in LPS."""
    cases = find_cases(scans, file_ending=model.configuration.file_ending, channels=1)
    settings = PredictionSettings(shifts=2)
    recipe = Recipe.of([model], settings, name="model")
    for outcome in predict(cases, [model], output, settings, recipe=recipe, progress=False):
        if outcome.error is not None:
            raise ValueError(outcome.error)
    return {case.name: truth(output / f"{case.name}{model.configuration.file_ending}") for case in cases}


def truth(file: Path) -> np.ndarray:
    """Read labels in LPS."""
    return read_volume(file).turned(LPS).values


def mean_dice(labels: np.ndarray, expected: np.ndarray) -> float:
    """Mean Dice over the classes in either."""
    values = sorted({*np.unique(labels), *np.unique(expected)} - {0})
    dices = [
        2 * ((labels == value) & (expected == value)).sum() / ((labels == value).sum() + (expected == value).sum())
        for value in values
    ]
    return float(np.mean(dices))


if __name__ == "__main__":
    main()
