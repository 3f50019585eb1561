"""Train one cell as ``nnUNetv2_train`` does, and write the size and costs of its network.

    python -m nnunetv2_cfseg.benchmark.train RECORD DATASET CONFIGURATION FOLD -tr TRAINER -p PLANS -device DEVICE

``nnUNetv2_train`` itself would end with a prediction of the fold's validation cases, which a benchmark makes
afterwards, with the command that it compares.
"""

from __future__ import annotations

import argparse
import os
from math import prod
from pathlib import Path
from typing import Any

import torch
from nnunetv2.run.run_training import get_trainer_from_args, maybe_load_checkpoint
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from torch.utils.flop_counter import FlopCounterMode

from nnunetv2_cfseg.benchmark.system_info import describe_machine
from nnunetv2_cfseg.files.atomic_files import write_json
from nnunetv2_cfseg.trainers.seed import read_seed, seed_everything


def main() -> None:
    """Train to the end, from the last checkpoint if there is one."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("record", type=Path)
    parser.add_argument("dataset")
    parser.add_argument("configuration")
    parser.add_argument("fold")
    parser.add_argument("-tr", required=True)
    parser.add_argument("-p", required=True)
    parser.add_argument("-device", default="cpu")
    parser.add_argument("-pretrained_weights", help="checkpoint of the same network, to start from")
    args = parser.parse_args()
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", os.cpu_count() or 1)))
    seed = read_seed()
    if seed is not None:
        seed_everything(seed)  # nnU-Net's trainers and baselines do not seed; ours does again
    trainer = make_trainer(args)
    if any(Path(trainer.output_folder).glob("checkpoint_*.pth")) and not continues(trainer):
        trainer = make_trainer(args)
    if args.pretrained_weights and not trainer.was_initialized:
        maybe_load_checkpoint(trainer, False, False, args.pretrained_weights)
    trainer.run_training()
    write_json(args.record, {**describe(trainer), "machine": describe_machine()})


def continues(trainer: nnUNetTrainer) -> bool:
    """Load the last checkpoint; False if it is broken, as when nnU-Net's trainers are killed while they write it."""
    try:
        maybe_load_checkpoint(trainer, True, False, None)
    except Exception as error:
        print(f"The checkpoint cannot be read, training starts again: {error}")
        return False
    return True


def make_trainer(args: argparse.Namespace) -> nnUNetTrainer:
    """Make the trainer as ``nnUNetv2_train`` does."""
    fold = args.fold if args.fold == "all" else int(args.fold)
    device = torch.device(args.device)
    return get_trainer_from_args(args.dataset, args.configuration, fold, args.tr, args.p, device=device)


def describe(trainer: nnUNetTrainer) -> dict[str, Any]:
    """Parameters of the network, operations of a forward pass per voxel of a crop, and peak GPU memory of training."""
    peak_gpu = torch.cuda.max_memory_allocated(trainer.device) if trainer.device.type == "cuda" else 0
    network = getattr(trainer.network, "module", trainer.network)
    network = getattr(network, "_orig_mod", network).eval()
    crop = trainer.configuration_manager.patch_size
    data = torch.zeros(1, trainer.num_input_channels, *crop, device=trainer.device)
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        network(data)
    return {
        "parameters": sum(parameter.numel() for parameter in network.parameters()),
        "flops_per_voxel": counter.get_total_flops() / prod(crop),
        "peak_gpu_bytes": peak_gpu,
    }


if __name__ == "__main__":
    main()
