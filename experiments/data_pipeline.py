"""Which is slower in training, augmentation or network?

Times nnU-Net's augmentation of one batch on one core, including drawing blocks, and one training step of the network
on all cores, for a planned and preprocessed dataset:

    python experiments/data_pipeline.py -d 501 -p nnUNetCFSegPlans -device cpu
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable

import torch


def main() -> None:
    """Print seconds per batch of augmentation and network."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-d", default="501", help="dataset id")
    parser.add_argument("-p", default="nnUNetCFSegPlans", help="plans")
    parser.add_argument("-tr", default="nnUNetTrainerCFSeg", help="trainer")
    parser.add_argument("-device", default="cpu")
    parser.add_argument("--batches", type=int, default=100)
    args = parser.parse_args()
    os.environ["nnUNet_n_proc_DA"] = "0"  # augmentation in this process, where it can be timed
    with tempfile.TemporaryDirectory() as results:
        os.environ["nnUNet_results"] = results
        from nnunetv2.run.run_training import get_trainer_from_args

        torch.set_num_threads(os.cpu_count() or 1)
        trainer = get_trainer_from_args(args.d, "3d_fullres", 0, args.tr, args.p, device=torch.device(args.device))
        trainer.on_train_start()
        trainer.network.train()
        augment = timed(lambda: next(trainer.dataloader_train), args.batches)
        batch = next(trainer.dataloader_train)
        step = timed(lambda: trainer.train_step(batch), args.batches)
    workers = os.cpu_count() or 1
    print(f"| augmentation of a batch, one core | {augment:.3f} s |")
    print(f"| training step, {workers} cores | {step:.3f} s |")
    print(f"| augmentation's share of all core seconds | {augment / (augment + step * workers):.0%} |")


def timed(call: Callable[[], object], repeats: int) -> float:
    """Mean seconds of a call, after two to warm up; not the median, as augmentation rotates only one crop in five."""
    for _ in range(2):
        call()
    begun = time.perf_counter()
    for _ in range(repeats):
        call()
    return (time.perf_counter() - begun) / repeats


if __name__ == "__main__":
    main()
