"""``cfseg predict`` compared with ``nnUNetv2_predict``: seconds, memory and agreement, as Markdown tables.

    python experiments/predict.py -d Dataset501_OpenKBP -i openkbp/imagesTs head_ct_0000.nii.gz -o out

The rows, all without test-time mirroring; commands run alone, one after another:

    cfseg             cfseg predict
    same network      nnUNetv2_predict of the same model
    nnU-Net           nnUNetv2_predict of nnU-Net's own 3d_fullres network, planned for the same memory
    Primus-S          nnUNetv2_predict of the transformer that comes with nnU-Net

The dataset needs a trained model of this package and its raw and preprocessed folders, where ``nnUNet_raw``,
``nnUNet_preprocessed`` and ``nnUNet_results`` point. The networks of the other two rows have random weights: their
segmentations are nonsense, but take as long. Seconds are those of the whole command, from start to end; memory is the
peak sum of proportional set sizes over its processes, which counts shared pages once. The network's seconds are those
of its forward passes (``stopwatch.py``). Linux only.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from nnunetv2_cfseg.benchmark.memory_monitor import measure
from nnunetv2_cfseg.imaging.read import read_volume
from nnunetv2_cfseg.inference.model import load_model
from nnunetv2_cfseg.inference.precision import PRECISIONS, faster_precision
from nnunetv2_cfseg.networks import BlockCenterTransformer
from nnunetv2_cfseg.nnunet.environment import EXT_FOLDER, EXT_TRAINER

STOPWATCH = Path(__file__).with_name("stopwatch.py")
#: Trainer and plans of the rows with other networks.
NNUNET, PRIMUS = ("nnUNetTrainer", "nnUNetPlans_1GB"), ("nnUNet_Primus_S_Trainer", "nnUNetPlans_1GB")
UNTRAINED = """
import json
import torch
from nnunetv2.run.run_training import get_trainer_from_args
trainer = get_trainer_from_args("{dataset}", "3d_fullres", 0, "{trainer}", "{plans}", device=torch.device("cpu"))
trainer.initialize()
trainer.save_checkpoint(trainer.output_folder + "/checkpoint_final.pth")
for name, content in (("plans", trainer.plans_manager.plans), ("dataset", trainer.dataset_json)):
    with open(trainer.output_folder_base + "/" + name + ".json", "w") as file:
        json.dump(content, file)
"""


def main() -> None:
    """Run every row on every input and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-d", required=True, help="name of the dataset that the model was trained on")
    parser.add_argument("-tr", default="nnUNetTrainerCFSeg_timed", help="default: %(default)s")
    parser.add_argument("-p", default="nnUNetCFSegPlans", help="default: %(default)s")
    parser.add_argument("-i", type=Path, nargs="+", required=True, help="scans, or folders of CASE_0000 files")
    parser.add_argument("-o", type=Path, required=True, help="folder for predictions and figures.csv")
    parser.add_argument(
        "--shifts", type=int, default=1, help="grids of blocks that cfseg predict averages (default: %(default)s)"
    )
    parser.add_argument("--rows", nargs="+", default=["cfseg", "same network", "nnU-Net", "Primus-S"])
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    args = parser.parse_args()
    os.environ[EXT_TRAINER] = EXT_FOLDER
    if not Path(os.environ["nnUNet_results"], args.d).is_dir():
        parser.error(f"-d must name a folder of $nnUNet_results, got {args.d}")
    trainers = {"cfseg": (args.tr, args.p), "same network": (args.tr, args.p), "nnU-Net": NNUNET, "Primus-S": PRIMUS}
    rows = []
    for scans in args.i:
        folder = as_folder(scans, args.o / "scans")
        for row in args.rows:
            trainer, plans = trainers[row]
            if trainers[row] in (NNUNET, PRIMUS):
                write_untrained(args.d, trainer, plans)
            out = args.o / row.replace(" ", "_") / folder.name
            flags = ["-i", folder, "-o", out, "-d", args.d, "-tr", trainer, "-p", plans, "-c", "3d_fullres", "-f", "0",
                "-device", args.device, "--disable_progress_bar"]  # fmt: skip
            command = (
                ["cfseg", "predict", "--shifts", args.shifts]
                if row == "cfseg"
                else ["nnUNetv2_predict", "--disable_tta"]
            )
            steps = args.o / f"{row.replace(' ', '_')}_{folder.name}.json"
            seconds, peak_bytes = measure([sys.executable, STOPWATCH, steps, *command, *flags])
            network_s = json.loads(steps.read_text())["network"]
            same = agreement(out, args.o / "cfseg" / folder.name) if row == "same network" else np.nan
            rows.append(
                {"scans": folder.name, "row": row, "seconds": seconds, "network_s": network_s,
                 "peak_mb": peak_bytes / 1e6, "agreement": same}
            )  # fmt: skip
            print(rows[-1], flush=True)
    table = pd.DataFrame(rows)
    table.to_csv(args.o / "figures.csv", index=False)
    print(markdown(table))
    print(profile(args.o, list(table["scans"].unique())))
    print(network_rate(args.d, args.tr, args.p, args.device))


def as_folder(scans: Path, parent: Path) -> Path:
    """A folder of cases as nnU-Net expects it; for a single file, a new folder with a link to it."""
    if scans.is_dir():
        return scans
    name = scans.name.removesuffix(".nii.gz").removesuffix("_0000")
    folder = parent / name
    folder.mkdir(parents=True, exist_ok=True)
    link = folder / f"{name}_0000.nii.gz"
    if not link.exists():
        link.symlink_to(scans.resolve())
    return folder


def write_untrained(dataset: str, trainer: str, plans: str) -> None:
    """Write a model folder with random weights, if there is none."""
    model = Path(os.environ["nnUNet_results"], dataset, f"{trainer}__{plans}__3d_fullres")
    if not (model / "fold_0" / "checkpoint_final.pth").exists():
        script = UNTRAINED.format(dataset=dataset, trainer=trainer, plans=plans)
        subprocess.run([sys.executable, "-c", script], check=True, capture_output=True)


def agreement(first: Path, second: Path) -> float:
    """Fraction of equal voxels among those that are foreground in either, over all files of two folders."""
    same = total = 0
    for file in sorted(first.glob("*.nii.gz")):
        labels, others = (read_volume(folder / file.name).values for folder in (first, second))
        foreground = (labels > 0) | (others > 0)
        same, total = same + int((labels == others)[foreground].sum()), total + int(foreground.sum())
    return same / total


def profile(output: Path, scans: Sequence[str]) -> str:
    """Table of the seconds of each step of ``cfseg predict``; steps in other threads overlap."""
    tables = {name: json.loads((output / f"cfseg_{name}.json").read_text()) for name in scans}
    steps = list(next(iter(tables.values())))
    lines = [f"| cfseg predict | {' | '.join(steps)} |", "|---" * (1 + len(steps)) + "|"]
    lines += [f"| {name} | {' | '.join(f'{t[step]:.2f}' for step in steps)} |" for name, t in tables.items()]
    return "\n".join(lines)


def network_rate(dataset: str, trainer: str, plans: str, device: str) -> str:
    """Table of the encoder's operations per second as a fraction of the machine's, for each precision."""
    folder = Path(os.environ["nnUNet_results"], dataset, f"{trainer}__{plans}__3d_fullres")
    network = load_model(folder, ["0"]).networks[0].to(device)
    _, microseconds = faster_precision(network, chunk_blocks=32 if device == "cpu" else 1024, repeats=10)
    operations = encoder_operations(network)
    lines = ["| precision | encoder GFLOP/s | matrix product GFLOP/s | share |", "|---|---|---|---|"]
    for name, value in microseconds.items():
        rate, peak = operations / value / 1e3, product_rate(PRECISIONS[name], device)
        lines.append(f"| {name} | {rate:.0f} | {peak:.0f} | {rate / peak:.0%} |")
    return "\n".join(lines)


def encoder_operations(network: BlockCenterTransformer) -> float:
    """Floating-point operations to encode a block, two per multiplication of a matrix product, as torch counts."""
    from torch.utils.flop_counter import FlopCounterMode

    tokens = network.block_patches[0] * network.block_patches[1] * network.block_patches[2]
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        network.encode(torch.zeros(1, tokens, network.embed_dim, device=network.embedding.weight.device))
    return float(counter.get_total_flops())


def product_rate(dtype: torch.dtype, device: str, size: int = 2048, repeats: int = 5) -> float:
    """GFLOP/s of a square matrix product."""
    from time import perf_counter

    a, b = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
    times = []
    for _ in range(repeats + 1):
        begun = perf_counter()
        a @ b
        if device == "cuda":
            torch.cuda.synchronize()
        times.append(perf_counter() - begun)
    return 2 * size**3 / min(times[1:]) / 1e9


def markdown(table: pd.DataFrame) -> str:
    """Table of seconds and memory, also as multiples of those of ``cfseg``."""
    lines = [
        "| scans | | seconds | times cfseg's | of them network | times cfseg's | peak MB | times cfseg's | agreement |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for scans, group in table.groupby("scans", sort=False):
        ours = group[group["row"] == "cfseg"].iloc[0]
        for _, row in group.iterrows():
            same = "" if np.isnan(row["agreement"]) else f"{row['agreement']:.4f}"
            lines.append(
                f"| {scans} | {row['row']} | {row['seconds']:.1f} | {row['seconds'] / ours['seconds']:.1f} | "
                f"{row['network_s']:.1f} | {row['network_s'] / ours['network_s']:.1f} | "
                f"{row['peak_mb']:.0f} | {row['peak_mb'] / ours['peak_mb']:.1f} | {same} |"
            )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
