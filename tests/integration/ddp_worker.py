"""One of several processes of a distributed training on the CPU; started by ``test_ddp.py``, not by hand.

nnU-Net takes a process group to mean CUDA. Here the trainer is made before there is a group, and told of it after.
"""

from __future__ import annotations

import json
import os
import sys
from datetime import timedelta
from pathlib import Path
from time import sleep

import torch
from nnunetv2.run.run_training import get_trainer_from_args
from nnunetv2.training.nnUNetTrainer import nnUNetTrainer as stock
from torch import distributed as dist
from torch.nn.parallel import DistributedDataParallel

from nnunetv2_cfseg.networks import BlockCenterTransformer


def make_trainer(rank: int, name: str) -> stock.nnUNetTrainer:
    trainer = get_trainer_from_args("901", "3d_fullres", 0, name, "nnUNetTinyPlans", device=torch.device("cpu"))
    trainer.local_rank = rank
    return trainer


def checksum(trainer: stock.nnUNetTrainer) -> float:
    return sum(float(p.double().abs().sum()) for p in trainer.block_center_network().parameters())


def late(trainer: stock.nnUNetTrainer, delay_s: float) -> stock.nnUNetTrainer:
    """Let training begin later than in the other processes."""
    start = trainer.on_train_start

    def start_late() -> None:
        start()
        sleep(delay_s)

    trainer.on_train_start = start_late
    return trainer


def main(rank: int, world_size: int, folder: Path) -> None:
    trained, loaded = (make_trainer(rank, "nnUNetTrainerCFSegShort") for _ in range(2))
    timed = late(make_trainer(rank, "nnUNetTrainerCFSegShort_timed"), 0.3 * rank)
    stock.DDP = lambda network, device_ids: DistributedDataParallel(network)
    dist.init_process_group(
        "gloo",
        init_method=f"file://{folder / 'rendezvous'}",
        rank=rank,
        world_size=world_size,
        timeout=timedelta(seconds=60),
    )
    for trainer in (trained, loaded, timed):
        trainer.is_ddp = True

    trained.run_training()
    dist.barrier()
    final = Path(trained.output_folder) / "checkpoint_final.pth"
    loaded.load_checkpoint(str(final))
    timed.run_training()
    names = torch.load(final, weights_only=False)["network_weights"]
    report = {
        "wrapped": isinstance(trained.network, DistributedDataParallel),
        "network": type(trained.block_center_network()) is BlockCenterTransformer,
        "batch_size": trained.batch_size,
        "steps": trained.steps,
        "losses": [float(v) for v in trained.logger.get_value("train_losses", step=None)],
        "trained": checksum(trained),
        "loaded": checksum(loaded),
        "prefixed": any(name.startswith("module.") for name in names),
        "timed_steps": timed.steps,
        "timed": checksum(timed),
    }
    (folder / f"rank_{rank}.json").write_text(json.dumps(report))
    dist.destroy_process_group()


if __name__ == "__main__":
    main(int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"]), Path(sys.argv[1]))
