"""What paired training gains: thin segmentations from thick annotations, against copying them and against thin labels.

Rows, each trained for the same seconds on the same fold, and scored on a test set's thin truth:

    copy        ours, trained on the thick labels repeated over their slabs
    thick       ours, trained on thick slices alone, applied to thin ones
    repeated    the same network's thick predictions, repeated over their slabs
    mean        the slab's mean against the thick label, nothing else
    paper       thick supervision, the slab's mean and features, gradients through both sides (Gang 2025, section 3.6)
    annotator   thick supervision and features, and on slabs what an annotator would mark
    transition  thick supervision, and on slabs the copied label with a ramp where it changes:
                nnUNetTrainerCFSegThinThick as it is
    alone       the ramp on slabs, and no thick slices
    count       as transition, with the likelihood of the mark
    refined     ours, trained on what cfseg refine_labels makes of the thick labels and the network of copy, which was
                trained for as long: twice the seconds in all
    oracle      ours, trained on the thin labels
    stock       nnU-Net, trained on the repeated thick labels
    ceiling     the true thick labels, repeated: nothing is trained

    cfseg make_pairs -i RAW_DATASET -d 711 -n Pairs --factor 5 -o pairs
    python experiments/thin_thick.py -i pairs/Dataset711_Pairs -o out --budget 240 --seeds 1 2 3 --results out.csv

The dataset must have ``labelsTr_thin`` and ``labelsTs_thin``. Each cell's figures are added to the CSV, and what is in
it is not run again; ``experiments/thin_thick_tables.py`` makes the tables of it. A stopped run can be continued in the
same output folder; another budget needs another one. The environment it is installed in has to be active.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
from collections import defaultdict
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field, replace
from functools import cache
from math import nan
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
import pandas as pd
import SimpleITK as sitk
from thin_thick_tables import MEASURES, markdown
from tqdm import tqdm

from nnunetv2_cfseg.data.pairing.sidecar import read_pairing
from nnunetv2_cfseg.evaluation.z_smoothness import slab_step_share, z_roughness
from nnunetv2_cfseg.imaging.slabs import average_slabs
from nnunetv2_cfseg.nnunet.datasets import dataset_number
from nnunetv2_cfseg.nnunet.environment import EXT_FOLDER, EXT_TRAINER, FOLDERS
from nnunetv2_cfseg.trainers.seed import SEED_VARIABLE
from nnunetv2_cfseg.trainers.timed import BUDGET_VARIABLE

PAIRS, THIN = "Dataset711_Pairs", "Dataset712_Thin"
PLANS = "nnUNetThinThickPlans"
OURS, PAIRED, STOCK = "nnUNetTrainerCFSeg_timed", "nnUNetTrainerCFSegThinThick_timed", "nnUNetTrainer_timed"
#: Of the models that several rows need.
LOCKS: dict[str, Lock] = defaultdict(Lock)
TRAIN = """
import torch
from nnunetv2.run.run_training import get_trainer_from_args
if __name__ == "__main__":
    torch.set_num_threads({threads})
    device = torch.device("{device}")
    trainer = get_trainer_from_args("{dataset}", "3d_fullres", 0, "{trainer}", "{plans}", device=device)
    trainer.run_training()
"""


@dataclass(frozen=True)
class Row:
    """A way to train.

    Attributes:
        trainer: its name.
        dataset: whose labels it learns from.
        loss: changes to the plans' thin-thick loss; other plans are written for them.
        plans: name of the plans.
    """

    trainer: str
    dataset: str = PAIRS
    loss: Mapping[str, Any] = field(default_factory=dict)
    plans: str = PLANS


ROWS = {
    "copy": Row(OURS),
    "thick": Row(PAIRED, loss={"weights": {"thick": 1.0}}),
    "mean": Row(PAIRED, loss={"weights": {"slab": 1.0}, "operator": "mean"}),
    "paper": Row(
        PAIRED,
        loss={"weights": {"thick": 1.0, "slab": 1.0, "feature": 1.0}, "operator": "mean", "stop_gradient": "none"},
    ),
    "annotator": Row(PAIRED, loss={"operator": "annotator", "weights": {"thick": 0.5, "slab": 1.0, "feature": 0.1}}),
    "transition": Row(PAIRED, loss={"operator": "transition"}),
    "alone": Row(PAIRED, loss={"operator": "transition", "weights": {"slab": 1.0}}),
    "count": Row(PAIRED, loss={"operator": "count"}),
    "refined": Row(OURS, dataset="Dataset72{seed}_Refined"),
    "oracle": Row(OURS, dataset=THIN),
    "stock": Row(STOCK, plans="nnUNetPlans_1GB"),
}


def main() -> None:
    """Run what is not done yet and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-i", type=Path, required=True, help="a dataset of cfseg make_pairs with a test set")
    parser.add_argument("-o", type=Path, required=True, help="output folder")
    parser.add_argument("--results", type=Path, required=True, help="CSV to which figures are added")
    parser.add_argument("--budget", type=float, default=240, help="seconds of training for each row")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1])
    parser.add_argument("--rows", nargs="*", default=list(ROWS), choices=[*ROWS])
    parser.add_argument("--loss", nargs="+", default=[], metavar="NAME=JSON",
        help="rows of one's own: changes to the plans' thin-thick loss")  # fmt: skip
    parser.add_argument(
        "--jobs", type=int, default=os.cpu_count(), help="trainings at a time; they share cores and device"
    )
    parser.add_argument("--device", choices=["cpu", "cuda", "mps"], default="cpu", help="where to train and predict")
    args = parser.parse_args()
    rows = {name: ROWS[name] for name in args.rows}
    for text in args.loss:
        name, _, changes = text.partition("=")
        rows[name] = Row(PAIRED, loss=json.loads(changes))
    set_environment(args.o, args.budget)
    factor = prepare(args.i, args.o)
    done = finished(args.results)
    if ("ceiling", 0) not in done:
        add(
            args.results,
            "ceiling",
            0,
            nan,
            score(args.o / "nnUNet_raw" / PAIRS / "labelsTs", args.o / "ceiling", args.o),
        )
    threads = max(1, (os.cpu_count() or 1) // args.jobs)
    with ThreadPoolExecutor(args.jobs) as pool:
        cells = [(seed, name) for seed in args.seeds for name in rows if (name, seed) not in done]
        running = {
            pool.submit(run_row, name, rows[name], seed, args.o, factor, threads, args.device): seed
            for seed, name in cells
        }
        for row in tqdm(as_completed(running), total=len(running), unit="row"):
            seed = running[row]
            tables = {
                name: score(predictions, args.o / f"seed_{seed}" / name, args.o)
                for name, predictions in row.result().items()
            }
            for name, table in tables.items():  # once all are scored: a row in the CSV is not run again
                add(args.results, name, seed, args.budget, table)
    print(markdown(pd.read_csv(args.results)))


def finished(results: Path) -> set[tuple[str, int]]:
    """Rows and seeds that the CSV holds."""
    if not results.is_file():
        return set()
    return set(pd.read_csv(results)[["row", "seed"]].itertuples(index=False, name=None))


def add(results: Path, row: str, seed: int, budget_s: float, table: pd.DataFrame) -> None:
    """Write a cell's figures to the CSV."""
    cell = table[["case", "class", *MEASURES]].round(4)
    for name, value in (("budget_s", budget_s), ("seed", seed), ("row", row)):
        cell.insert(0, name, value)
    results.parent.mkdir(parents=True, exist_ok=True)
    cell.to_csv(results, mode="a", header=not results.is_file(), index=False)


def set_environment(output: Path, budget_s: float) -> None:
    """nnU-Net's folders below ``output``, our trainers and the budget, for all the commands that follow."""
    for name in FOLDERS:
        folder = output.resolve() / name
        folder.mkdir(parents=True, exist_ok=True)
        os.environ[name] = str(folder)
    os.environ[EXT_TRAINER] = EXT_FOLDER
    os.environ[BUDGET_VARIABLE] = str(budget_s)
    os.environ.setdefault("nnUNet_def_n_proc", str(os.cpu_count()))


def prepare(source: Path, output: Path) -> int:
    """Both datasets, planned and preprocessed for every row, and thick test images; returns the factor."""
    raw = output / "nnUNet_raw"
    factor = read_pairing(source)[0]
    for name, labels in ((PAIRS, "labelsTr"), (THIN, "labelsTr_thin")):
        if not (raw / name).exists():
            shutil.copytree(source, raw / name, ignore=shutil.ignore_patterns("pictures", "labelsTr*"))
            shutil.copytree(source / labels, raw / name / "labelsTr")
    write_thick_images(raw / PAIRS / "imagesTs", output / "images_thick", factor)
    for name in (PAIRS, THIN):
        if not (preprocessed(output, name) / f"{PLANS}_3d_fullres").exists():
            plan_for_pairs(name)
    if not (preprocessed(output, PAIRS) / "nnUNetPlans_1GB_3d_fullres").exists():
        run("nnUNetv2_plan_experiment", "-d", dataset_number(PAIRS), "-gpu_memory_target", "1", "-overwrite_plans_name",
            "nnUNetPlans_1GB")  # fmt: skip
        run("nnUNetv2_preprocess", "-d", dataset_number(PAIRS), "-plans_name", "nnUNetPlans_1GB", "-c", "3d_fullres",
            "-np", "2")  # fmt: skip
    return factor


def write_thick_images(thin: Path, thick: Path, factor: int) -> None:
    """The average over slabs of every image, on the thick grid."""
    thick.mkdir(exist_ok=True)
    for file in thin.iterdir():
        if (thick / file.name).exists():
            continue
        image = sitk.ReadImage(str(file))
        average = sitk.GetImageFromArray(average_slabs(sitk.GetArrayFromImage(image), factor))
        x, y, z = image.GetSpacing()
        average.SetSpacing((x, y, z * factor))
        average.SetOrigin(image.TransformContinuousIndexToPhysicalPoint((0, 0, (factor - 1) / 2)))
        average.SetDirection(image.GetDirection())
        sitk.WriteImage(average, str(thick / file.name))


def run_row(name: str, row: Row, seed: int, output: Path, factor: int, threads: int, device: str) -> dict[str, Path]:
    """Train and predict the test set; returns folders of thin segmentations by the name of their row."""
    results = output / f"seed_{seed}" / "nnUNet_results"
    results.mkdir(parents=True, exist_ok=True)
    environment = {
        "nnUNet_results": str(results.resolve()),
        SEED_VARIABLE: str(seed),
        **{variable: str(threads) for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "nnUNet_n_proc_DA")},
    }
    if name == "refined":
        row = replace(row, dataset=row.dataset.format(seed=seed))
        train(ROWS["copy"], PLANS, results, threads, device, environment)
        refine(row.dataset, output, device, environment)
    plans = plans_of(name, row, output)
    train(row, plans, results, threads, device, environment)
    folder = output / f"seed_{seed}" / "predictions"
    made = {name: folder / name}
    predict(output / "nnUNet_raw" / PAIRS / "imagesTs", folder / name, row, plans, "3d_fullres", device, environment)
    if name == "thick":
        predict(output / "images_thick", folder / "thick_slices", row, plans, "3d_thick", device, environment)
        repeat(folder / "thick_slices", folder / "repeated", output / "nnUNet_raw" / PAIRS / "labelsTs", factor)
        made["repeated"] = folder / "repeated"
    return made


def train(row: Row, plans: str, results: Path, threads: int, device: str, environment: Mapping[str, str]) -> None:
    """Train what is not trained yet; rows that need the same model wait for it."""
    model = results / row.dataset / f"{row.trainer}__{plans}__3d_fullres"
    with LOCKS[str(model)]:
        if not (model / "fold_0" / "checkpoint_final.pth").exists():
            script = TRAIN.format(dataset=row.dataset, trainer=row.trainer, plans=plans, threads=threads, device=device)
            run(sys.executable, "-c", script, **environment)


def refine(dataset: str, output: Path, device: str, environment: Mapping[str, str]) -> None:
    """Thin labels out of the thick ones and the network of copied labels, planned as the other datasets are."""
    raw = output / "nnUNet_raw"
    number, name = dataset_number(dataset), dataset.split("_")[1]
    model = ["-d", PAIRS, "-tr", OURS, "-p", PLANS, "-c", "3d_fullres", "-f", "0", "-device", device]
    if not (raw / dataset / "dataset.json").exists():
        run("cfseg", "refine_labels", "-i", raw / PAIRS, "-o", number, "-n", name, *model, "--disable_progress_bar",
            **environment)  # fmt: skip
    if not (preprocessed(output, dataset) / f"{PLANS}_3d_fullres").exists():
        plan_for_pairs(dataset)


def plan_for_pairs(dataset: str) -> None:
    """Plan and preprocess a dataset as one of pairs, whatever its labels."""
    run("cfseg", "plan_and_preprocess", "-d", dataset_number(dataset), "-pl", "ThinThickPlanner",
        "-gpu_memory_target", "1", "-np", "2", "-npfp", "2", "--no_pbar")  # fmt: skip


def plans_of(name: str, row: Row, output: Path) -> str:
    """The name of the row's plans, written if the row changes the loss."""
    if not row.loss:
        return row.plans
    folder = preprocessed(output, row.dataset)
    plans = json.loads((folder / f"{row.plans}.json").read_text())
    plans["plans_name"] = f"{row.plans}_{name}"
    plans["configurations"]["3d_fullres"]["cfseg"]["thin_thick"]["loss"].update(row.loss)
    (folder / f"{plans['plans_name']}.json").write_text(json.dumps(plans, indent=2))
    return plans["plans_name"]


def predict(
    images: Path, folder: Path, row: Row, plans: str, configuration: str, device: str, environment: Mapping[str, str]
) -> None:
    """Segment a folder, without mirrors: stock nnU-Net with its overlapping tiles, ours with four grids of blocks."""
    if folder.exists():
        return
    model = ["-d", row.dataset, "-tr", row.trainer, "-p", plans, "-c", configuration, "-f", "0", "-device", device]
    command = ["cfseg", "predict", "--shifts", "4"]
    if row.trainer == STOCK:
        command = ["nnUNetv2_predict", "--disable_tta", "-npp", "1", "-nps", "1"]
    part = folder.with_suffix(".part")
    run(*command, "-i", images, "-o", part, *model, **environment)
    part.rename(folder)


def repeat(thick: Path, thin: Path, like: Path, factor: int) -> None:
    """Thick segmentations, every slice repeated, on the thin grid of the files in ``like``."""
    thin.mkdir(exist_ok=True)
    for file in like.glob("*.nii.gz"):
        values = sitk.GetArrayFromImage(sitk.ReadImage(str(thick / file.name))).repeat(factor, axis=0)
        image = sitk.GetImageFromArray(values)
        image.CopyInformation(sitk.ReadImage(str(file)))
        sitk.WriteImage(image, str(thin / file.name))


def score(predictions: Path, summary: Path, output: Path) -> pd.DataFrame:
    """Our table of cases and classes against thin truth, and how smooth they are along z."""
    dataset = output / "nnUNet_raw" / PAIRS
    truth, factor = dataset / "labelsTs_thin", read_pairing(dataset)[0]
    summary = summary.with_suffix(".json")
    run("cfseg", "evaluate", truth, predictions, "-djfile", dataset / "dataset.json", "-o", summary, "-np", "2",
        "--factor", str(factor), "--no_pbar")  # fmt: skip
    table = pd.read_csv(summary.with_suffix(".csv"))
    smoothness = [
        smoothness_of(truth, predictions, *row, factor) for row in zip(table["case"], table["label"], strict=True)
    ]
    return table.assign(**pd.DataFrame(smoothness))


def smoothness_of(truth: Path, predictions: Path, case: str, label: int, factor: int) -> dict[str, float]:
    """The measures along z of one class in one case."""
    true, predicted = (read_labels(folder / f"{case}.nii.gz") == label for folder in (truth, predictions))
    return {
        "z_roughness": z_roughness(true, predicted, factor=factor),
        "slab_step_share": slab_step_share(predicted, factor=factor),
    }


@cache
def read_labels(file: Path) -> np.ndarray:
    """(Z, Y, X)."""
    return sitk.GetArrayFromImage(sitk.ReadImage(str(file)))


def run(*command: object, **environment: str) -> None:
    """Run a command, quietly, with more in its environment."""
    words = [str(word) for word in command]
    result = subprocess.run(words, env={**os.environ, **environment}, capture_output=True, text=True, check=False)
    if result.returncode:
        raise RuntimeError(f"{' '.join(words)} failed:\n{result.stdout[-2000:]}{result.stderr[-4000:]}")


def preprocessed(output: Path, name: str) -> Path:
    """nnU-Net's preprocessed folder of a dataset."""
    return output / "nnUNet_preprocessed" / name


if __name__ == "__main__":
    main()
