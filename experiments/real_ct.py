"""Ours against stock nnU-Net on real CT: equal wall-clock budgets, the same fold, the same machine, one after another.

Rows: ``nnUNetTrainerCFSeg_timed``; ``nnUNetTrainer_timed`` with its default plans, and with plans for the same memory
target as ours. The cases of fold 0 that were held out are predicted by ``nnUNetv2_predict`` without test-time
mirroring and scored by ``nnUNetv2_evaluate_folder``. Finished steps are skipped, so a stopped run can be continued.

    python experiments/real_ct.py -i $DATA/openkbp -d 501 -o real_ct --budget 1200

Needs the environment it is installed in to be active. nnU-Net's three folders are made below the output folder;
another budget needs another one.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from nnunetv2_cfseg.nnunet.environment import EXT_FOLDER, EXT_TRAINER, FOLDERS
from nnunetv2_cfseg.trainers.timed import BUDGET_VARIABLE

TRAIN = """
import os, torch
from nnunetv2.run.run_training import get_trainer_from_args
if __name__ == "__main__":
    torch.set_num_threads(os.cpu_count())
    trainer = get_trainer_from_args("{dataset}", "3d_fullres", 0, "{trainer}", "{plans}", device=torch.device("cpu"))
    trainer.run_training()
"""


@dataclass(frozen=True)
class Row:
    """One trainer with its plans."""

    trainer: str
    plans: str


def main() -> None:
    """Run what is not done yet and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-i", type=Path, required=True, help="a dataset in nnU-Net's raw layout")
    parser.add_argument("-d", type=int, default=501, help="dataset id to give it")
    parser.add_argument("-o", type=Path, required=True, help="output folder")
    parser.add_argument("--budget", type=float, default=1200, help="seconds of training for each row")
    parser.add_argument("--memory", type=float, default=1, help="GB, of ours and of the smaller stock plans")
    args = parser.parse_args()
    memory = f"{args.memory:g}GB"
    rows = [
        Row("nnUNetTrainerCFSeg_timed", "nnUNetCFSegPlans"),
        Row("nnUNetTrainer_timed", f"nnUNetPlans_{memory}"),
        Row("nnUNetTrainer_timed", "nnUNetPlans"),
    ]
    dataset = f"Dataset{args.d:03d}_{args.i.name}"
    set_environment(args.o, args.budget)
    prepare(args.i, dataset, args.d, args.memory, rows)
    print("| trainer | plans | steps | mean Dice | Dice by class | predicting, s |\n|---|---|---|---|---|---|")
    for row in rows:
        print(run_row(row, dataset, args.o), flush=True)


def set_environment(output: Path, budget_s: float) -> None:
    """nnU-Net's folders below ``output``, our trainers and the budget, for all the commands that follow."""
    for name in FOLDERS:
        folder = output.resolve() / name
        folder.mkdir(parents=True, exist_ok=True)
        os.environ[name] = str(folder)
    os.environ[EXT_TRAINER] = EXT_FOLDER
    os.environ[BUDGET_VARIABLE] = str(budget_s)
    os.environ.setdefault("nnUNet_def_n_proc", str(os.cpu_count()))


def prepare(source: Path, dataset: str, dataset_id: int, memory_gb: float, rows: list[Row]) -> None:
    """Copy the dataset, plan and preprocess it for every row."""
    raw = Path(os.environ["nnUNet_raw"]) / dataset
    if not raw.exists():
        shutil.copytree(source, raw, copy_function=shutil.copyfile)
    commands = {
        rows[0].plans: [["cfseg", "plan_and_preprocess", "-d", str(dataset_id), "-gpu_memory_target", str(memory_gb)]],
        rows[1].plans: [
            ["nnUNetv2_extract_fingerprint", "-d", str(dataset_id)],
            ["nnUNetv2_plan_experiment", "-d", str(dataset_id), "-gpu_memory_target", str(memory_gb),
             "-overwrite_plans_name", rows[1].plans],
            ["nnUNetv2_preprocess", "-d", str(dataset_id), "-plans_name", rows[1].plans,
             "-c", "3d_fullres", "-np", "2"],
        ],
        rows[2].plans: [["nnUNetv2_plan_and_preprocess", "-d", str(dataset_id), "-c", "3d_fullres", "-np", "2"]],
    }  # fmt: skip
    for plans, steps in commands.items():
        if not (preprocessed(dataset) / f"{plans}_3d_fullres").exists():
            for command in steps:
                subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def run_row(row: Row, dataset: str, output: Path) -> str:
    """Train, predict and evaluate; return the table's line."""
    model = Path(os.environ["nnUNet_results"]) / dataset / f"{row.trainer}__{row.plans}__3d_fullres"
    if not (model / "fold_0" / "checkpoint_final.pth").exists():
        script = TRAIN.format(dataset=dataset, trainer=row.trainer, plans=row.plans)
        subprocess.run([sys.executable, "-c", script], check=True, stdout=subprocess.DEVNULL)
    images, predictions = output / "held_out", output / "predictions" / row.plans
    link_held_out(dataset, images)
    if not (predictions / "seconds").exists():
        begun = time.monotonic()
        subprocess.run(
            ["nnUNetv2_predict", "-i", images, "-o", predictions, "-d", dataset, "-c", "3d_fullres", "-f", "0",
             "-tr", row.trainer, "-p", row.plans, "-device", "cpu", "--disable_tta", "-npp", "1", "-nps", "1"],
            check=True, stdout=subprocess.DEVNULL,
        )  # fmt: skip
        (predictions / "seconds").write_text(f"{time.monotonic() - begun:.0f}")
    truth = preprocessed(dataset) / "gt_segmentations"
    subprocess.run(
        ["nnUNetv2_evaluate_folder", truth, predictions, "-djfile", predictions / "dataset.json",
         "-pfile", predictions / "plans.json", "--chill"],
        check=True, stdout=subprocess.DEVNULL,
    )  # fmt: skip
    summary = json.loads((predictions / "summary.json").read_text())
    by_class = " ".join(f"{value['Dice']:.3f}" for value in summary["mean"].values())
    mean = summary["foreground_mean"]["Dice"]
    seconds = (predictions / "seconds").read_text()
    return f"| `{row.trainer}` | `{row.plans}` | {count_steps(model)} | {mean:.3f} | {by_class} | {seconds} |"


def link_held_out(dataset: str, folder: Path) -> None:
    """A folder with the images of fold 0's validation cases."""
    folder.mkdir(exist_ok=True)
    held_out = json.loads((preprocessed(dataset) / "splits_final.json").read_text())[0]["val"]
    for image in (Path(os.environ["nnUNet_raw"]) / dataset / "imagesTr").iterdir():
        link = folder / image.name
        if re.sub(r"_\d{4}\..*", "", image.name) in held_out and not link.exists():
            link.symlink_to(image)


def count_steps(model: Path) -> int:
    """Training steps of fold 0, from nnU-Net's newest log."""
    log = max((model / "fold_0").glob("training_log_*.txt"), key=lambda path: path.stat().st_mtime)
    return sum(int(n) for n in re.findall(r"Training steps in this epoch: (\d+)", log.read_text()))


def preprocessed(dataset: str) -> Path:
    """nnU-Net's preprocessed folder of the dataset."""
    return Path(os.environ["nnUNet_preprocessed"]) / dataset


if __name__ == "__main__":
    main()
