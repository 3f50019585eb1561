"""Compare the planner's memory estimate with what a training step takes, as a Markdown table.

    python experiments/memory.py

Every plan is measured in its own process: peak resident memory during a few steps, minus resident memory before the
network was built. glibc is set to map every allocation above 64 KiB separately, so that memory freed by PyTorch leaves
the process at once and the peak counts live tensors, not gaps in the heap: with glibc's own settings a step took 15 to
40 % more than its tensors. Linux only. Exits with 1 if an estimate is off by more than 25 %.
"""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from nnunetv2.training.loss.compound_losses import DC_and_CE_loss
from nnunetv2.training.loss.dice import MemoryEfficientSoftDiceLoss

from nnunetv2_cfseg.networks import BlockCenterTransformer
from nnunetv2_cfseg.networks.presets import preset
from nnunetv2_cfseg.networks.windows import WINDOWS_HU
from nnunetv2_cfseg.planners.memory import estimate_step_bytes

TOLERANCE = 0.25
STEPS = 3
MIB = 1024**2


@dataclass(frozen=True)
class Plan:
    """What a planner decides, and what the dataset determines. ``blocks`` is M, the blocks of a step."""

    embed_dim: int
    depth: int
    num_heads: int
    patch_size: tuple[int, int, int]
    blocks: int
    block_patches: int = 3
    preset_name: str = "compact"
    channels: int = 1
    classes: int = 6

    @property
    def arch_kwargs(self) -> dict[str, Any]:
        """The network's keyword arguments; a preset's own sizes take precedence, as in the planner."""
        kwargs: dict[str, Any] = {
            "block_patches": self.block_patches,
            "embed_dim": self.embed_dim,
            "depth": self.depth,
            "num_heads": self.num_heads,
            "patch_size": list(self.patch_size),
            **preset(self.preset_name),
        }
        names = kwargs.pop("window_names")
        kwargs.pop("patch_voxels", None)
        bank = {"mean": 40.0, "std": 300.0, "windows_hu": [WINDOWS_HU[name] for name in names]}
        return {**kwargs, "windows": [bank] * self.channels if names else None}

    def estimate_bytes(self) -> int:
        """The planner's estimate for a step on a CPU, in bytes."""
        return estimate_step_bytes(
            self.arch_kwargs,
            input_channels=self.channels,
            num_classes=self.classes,
            blocks=self.blocks,
            foreach=False,
        )


#: The planner's sizes and presets over patches of isotropic, thin-slice, thick-slice and small-organ data.
PLANS = (
    Plan(128, 3, 4, (8, 8, 8), 64),
    Plan(128, 3, 4, (8, 8, 8), 256, channels=2, classes=2),
    Plan(128, 3, 4, (4, 6, 4), 64, block_patches=5, classes=4),
    Plan(192, 4, 6, (7, 11, 7), 256, classes=3),
    Plan(192, 4, 6, (8, 8, 8), 64, classes=60),
    Plan(192, 4, 6, (2, 18, 18), 128, preset_name="paper", classes=14),
    Plan(256, 6, 8, (8, 8, 8), 128, preset_name="paper", classes=2),
    Plan(256, 6, 8, (2, 18, 18), 256, channels=2, classes=6),
    Plan(256, 6, 8, (7, 11, 7), 32, block_patches=5, classes=25),
    Plan(384, 8, 12, (8, 8, 8), 256, classes=60),
    Plan(384, 8, 12, (4, 6, 4), 256, preset_name="paper", channels=2, classes=5),
    Plan(1024, 7, 4, (8, 8, 8), 32, preset_name="karimi", classes=2),
)


def measure_step_bytes(plan: Plan) -> int:
    """Peak memory in bytes of a training step, measured in a fresh process.

    Raises:
        RuntimeError: the process failed; the message has its stderr.
    """
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "MALLOC_MMAP_THRESHOLD_": str(64 * 1024)}
    command = [sys.executable, str(Path(__file__).resolve()), "--measure", json.dumps(asdict(plan))]
    finished = subprocess.run(command, env=environment, capture_output=True, text=True)
    if finished.returncode:
        raise RuntimeError(f"measuring {plan} failed:\n{finished.stderr}")
    return int(finished.stdout.split()[-1])  # nnU-Net may print its own lines before it


def train_steps(arch_kwargs: dict[str, Any], *, channels: int, classes: int, blocks: int, steps: int = STEPS) -> None:
    """Build the network and train it on noise, as ``nnUNetTrainerCFSeg.train_step`` does on a CPU."""
    network = BlockCenterTransformer(channels, classes, **arch_kwargs)
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3)
    loss = DC_and_CE_loss(
        {"batch_dice": True, "smooth": 1e-5, "do_bg": False, "ddp": False},
        {},
        dice_class=MemoryEfficientSoftDiceLoss,
    )
    data = torch.randn(blocks, channels, *network.block_size)
    target = torch.randint(classes, (blocks, 1, *network.center_size), dtype=torch.int16)
    for _ in range(steps):
        optimizer.zero_grad(set_to_none=True)
        loss(network(data, centers_only=True), target).backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()


def measure_here(plan: Plan) -> int:
    """Peak memory in bytes of a training step in this process, whose allocator must have been set up before."""
    torch.set_num_threads(1)
    # A small step first, so that libraries have allocated their own buffers.
    small = {**plan.arch_kwargs, "patch_size": 4, "embed_dim": 48, "depth": 2, "num_heads": 4}
    train_steps(small, channels=plan.channels, classes=plan.classes, blocks=2)
    gc.collect()
    Path("/proc/self/clear_refs").write_text("5")  # resets the peak of resident memory
    before = _status_bytes("VmRSS")
    train_steps(plan.arch_kwargs, channels=plan.channels, classes=plan.classes, blocks=plan.blocks)
    return _status_bytes("VmHWM") - before


def table_row(plan: Plan, *, estimate: int, measured: int) -> str:
    """One row of the table; estimate and measured in bytes."""
    kwargs = plan.arch_kwargs
    patch = kwargs["patch_size"]
    cells = (
        f"D {kwargs['embed_dim']}, K {kwargs['depth']}, C {plan.channels}, P {plan.classes}",
        "x".join(str(w) for w in ([patch] * 3 if isinstance(patch, int) else patch)),
        kwargs["block_patches"],
        plan.blocks,
        kwargs["decoder"],
        plan.preset_name,
        round(estimate / MIB),
        round(measured / MIB),
        f"{estimate / measured:.2f}",
    )
    return f"| {' | '.join(str(cell) for cell in cells)} |"


def main() -> int:
    """Print the table; returns 1 if an estimate is outside the tolerance."""
    print("| network | patch | block | M | decoder | preset | estimate MiB | measured MiB | ratio |")
    print("|---|---|---|---:|---|---|---:|---:|---:|")
    outside = 0
    for plan in PLANS:
        estimate, measured = plan.estimate_bytes(), measure_step_bytes(plan)
        outside += abs(estimate / measured - 1) > TOLERANCE
        print(table_row(plan, estimate=estimate, measured=measured), flush=True)
    if outside:
        print(f"{outside} of {len(PLANS)} estimates are off by more than {TOLERANCE:.0%}", file=sys.stderr)
    return int(outside > 0)


def _status_bytes(field: str) -> int:
    """A memory figure of this process from /proc/self/status (proc(5): VmRSS, VmHWM), in bytes."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError(f"/proc/self/status has no {field}")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--measure"]:
        print(measure_here(Plan(**json.loads(sys.argv[2]))))
    else:
        sys.exit(main())
